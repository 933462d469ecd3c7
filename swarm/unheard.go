package swarm

import "time"

// unheardRest is how much of a commitment's life must be left for us to serve
// on it while the ledger is not heard of (section 5): links that cannot be
// redeemed before the end are worth nothing, and nobody knows when it is back.
const unheardRest = 3 * time.Hour

// Unheard tells whether the ledger has been silent for too long. Links still
// count, in case it comes back in time; what they pay for ahead is served then.
func (s *Swarm) Unheard(now time.Time, silent bool) {
	s.input()
	s.unheard = silent
	if !s.sold {
		return
	}
	for _, p := range s.order {
		s.doubt(now, p)
	}
	s.fillSlots(now)
}

// doubt stops serving a buyer whose links may not be redeemed in time.
func (s *Swarm) doubt(now time.Time, p *peer) {
	p.doubted = s.unheard && p.sale.endsBefore(now.Add(unheardRest))
	if p.doubted {
		s.choke(now, p)
	}
}

// endsBefore reports whether the commitment that is paid on ends before a time.
// Others beside it do not count: one that lasts, with a cap of one unit, would let
// all the rest be paid with links that are worth nothing. If that one is over, all
// that could be paid on must end.
func (s *sale) endsBefore(t time.Time) bool {
	end := uint64(t.Unix())
	if c := s.paying; c != nil && !c.ended {
		return c.commit.Expiry < end
	}
	live := false
	for _, alias := range sortedAliases(s.claims) {
		c := s.claims[alias]
		if c.cap == 0 || c.ended {
			continue
		}
		if c.commit.Expiry >= end {
			return false
		}
		live = true
	}
	return live
}
