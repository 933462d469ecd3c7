package node

import "sync"

// pool lends buffers of one size, at most limit at a time. It makes them when
// first needed and hands out the one that came back last, which is warm.
type pool struct {
	size, limit int
	back        chan struct{} // holds a token when a buffer may be free

	mu   sync.Mutex // guards the following
	free [][]byte
	made int
}

func newPool(size, limit int) *pool {
	return &pool{size: size, limit: limit, back: make(chan struct{}, 1)}
}

// get waits for a buffer. Who gives up, since done is closed, gets one beyond
// the limit, which put does not keep: a reader whose connection is closed must
// not wait for what others hold.
func (p *pool) get(done <-chan struct{}) []byte {
	for {
		if b := p.take(false); b != nil {
			return b
		}
		select {
		case <-p.back:
		case <-done:
			return p.take(true)
		}
	}
}

// take returns a buffer that is free or may be made, else nil.
func (p *pool) take(beyond bool) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		b := p.free[n-1]
		p.free = p.free[:n-1]
		if n > 1 {
			p.wake() // one token may stand for several buffers: pass it on
		}
		return b
	}
	if p.made >= p.limit && !beyond {
		return nil
	}
	p.made++
	return make([]byte, p.size)
}

// put takes a buffer back, cut or whole.
func (p *pool) put(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.made > p.limit {
		p.made--
		return
	}
	p.free = append(p.free, b[:p.size])
	p.wake()
}

func (p *pool) wake() {
	select {
	case p.back <- struct{}{}:
	default:
	}
}

// lent is how many buffers are out.
func (p *pool) lent() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.made - len(p.free)
}
