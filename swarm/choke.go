package swarm

import (
	"slices"
	"time"

	"torrente/choker"
	"torrente/peerwire"
)

func (s *Swarm) onInterested(now time.Time, p *peer, interested bool) error {
	if p.interested == interested {
		return nil
	}
	p.interested = interested
	if interested {
		s.unchokeIfFree(now, p)
	} else {
		s.choke(now, p)
		s.fillSlots(now)
	}
	return nil
}

// fillSlots gives what is free to those who wait, longest first: not to the one
// that gave up its slot and asks for it again.
func (s *Swarm) fillSlots(now time.Time) {
	waiting := slices.DeleteFunc(s.snapshot(), func(p *peer) bool { return !p.interested || !p.weChoke })
	slices.SortStableFunc(waiting, func(a, b *peer) int { return a.chokeChanged.Compare(b.chokeChanged) })
	for _, p := range waiting {
		s.unchokeIfFree(now, p)
	}
}

// unchokeIfFree gives a free slot at once; otherwise the peer waits for the
// next choice.
func (s *Swarm) unchokeIfFree(now time.Time, p *peer) {
	if !s.mayServe(p) {
		return
	}
	taken := 0
	for _, o := range s.order {
		if !o.weChoke && !o.dropped {
			taken++
		}
	}
	if taken < s.choker.Slots() {
		s.unchoke(now, p)
	}
}

// rechoke chooses anew who is served (BEP 3: every ten seconds).
func (s *Swarm) rechoke(now time.Time) {
	if s.picker == nil {
		return
	}
	chosen := s.choose(now)
	for _, p := range s.order {
		if !slices.Contains(chosen, uint32(p.id)) {
			s.choke(now, p)
		}
	}
	for _, p := range s.order {
		if slices.Contains(chosen, uint32(p.id)) {
			s.unchoke(now, p)
		}
	}
}

func (s *Swarm) choose(now time.Time) []uint32 {
	var all []choker.Candidate
	for _, p := range s.order {
		if p.interested && !p.dropped && s.mayServe(p) {
			all = append(all, choker.Candidate{
				ID: uint32(p.id), Rate: uint64(p.down.rate), Unchoked: !p.weChoke, Since: p.chokeChanged, Came: p.joined,
			})
		}
	}
	if s.picker.Have().Full() {
		return s.choker.Seeding(now, all)
	}
	return s.choker.Downloading(now, all)
}

// choke stops serving a peer. With BEP 6 each queued request is rejected.
func (s *Swarm) choke(now time.Time, p *peer) {
	if p.weChoke || p.dropped {
		return
	}
	p.weChoke, p.chokeChanged = true, now
	s.send(now, p, peerwire.Of(peerwire.Choke))
	for p.queue.len() > 0 {
		s.reject(now, p, p.queue.pop())
	}
}

func (s *Swarm) unchoke(now time.Time, p *peer) {
	if !p.weChoke || p.dropped {
		return
	}
	p.weChoke, p.chokeChanged = false, now
	s.send(now, p, peerwire.Of(peerwire.Unchoke))
}
