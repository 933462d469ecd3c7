package node

import "sync"

// pool lends buffers of one size, at most limit at a time. It makes them when
// first needed and hands out the one that came back last, which is warm.
type pool struct {
	size, limit int

	mu   sync.Mutex // guards the following
	free [][]byte
	made int
	back sync.Cond
}

func newPool(size, limit int) *pool {
	p := &pool{size: size, limit: limit}
	p.back.L = &p.mu
	return p
}

// get waits for a buffer.
func (p *pool) get() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.free) == 0 && p.made == p.limit {
		p.back.Wait()
	}
	if n := len(p.free); n > 0 {
		b := p.free[n-1]
		p.free = p.free[:n-1]
		return b
	}
	p.made++
	return make([]byte, p.size)
}

// put takes a buffer back, cut or whole.
func (p *pool) put(b []byte) {
	p.mu.Lock()
	p.free = append(p.free, b[:p.size])
	p.mu.Unlock()
	p.back.Signal()
}
