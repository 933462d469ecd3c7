package federation

import "sync"

// places counts what is taken up, over all and by whom: one alone must not use
// up the places of all others.
type places[K comparable] struct {
	most, each int

	mu    sync.Mutex // guards the following
	taken int
	of    map[K]int
}

func newPlaces[K comparable](most, each int) *places[K] {
	return &places[K]{most: most, each: each, of: map[K]int{}}
}

// enter takes a place, if there is one.
func (p *places[K]) enter(who K) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken >= p.most || p.of[who] >= p.each {
		return false
	}
	p.taken++
	p.of[who]++
	return true
}

// leave gives it back.
func (p *places[K]) leave(who K) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken--
	if p.of[who]--; p.of[who] == 0 {
		delete(p.of, who)
	}
}
