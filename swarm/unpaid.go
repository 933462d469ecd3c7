package swarm

import (
	"time"

	"torrente/peerwire"
	"torrente/piece"
)

// Units that were on their way when a connection or a buyer died are charged,
// and nobody has them. The seller lists them at the next meeting (BD) and
// serves them again without a charge; once they are there they are paid like
// others, and nobody has lost anything.

const (
	// lostPatience is how long the leaves of lost units are waited for.
	lostPatience = 5 * time.Second
	// maxLostPieces is how many pieces of a v1 torrent are begun for lost units
	// of one seller at a time: others are not asked for those.
	maxLostPieces = 2
)

// listUnpaid tells a buyer which units it owes from before.
func (s *Swarm) listUnpaid(now time.Time, p *peer, units []uint32) {
	if len(units) == 0 {
		return
	}
	p.sale.lost = make(map[uint32]bool, len(units))
	for _, unit := range units {
		p.sale.lost[unit] = true
	}
	s.send(now, p, peerwire.Message{ID: peerwire.PayUnpaidID, Rare: peerwire.PayUnpaid{Units: units}})
}

// unpaid is how many units this connection was served that no link has paid.
func (s *sale) unpaid() uint64 { return uint64(s.charged.len()) }

// repeats reports whether a unit is served again free; once.
func (s *sale) repeats(unit uint32) bool {
	if len(s.lost) == 0 || !s.lost[unit] {
		return false
	}
	delete(s.lost, unit)
	return true
}

// lostIn finds a request for a unit that is served again free behind one that
// waits for a link.
func (s *Swarm) lostIn(p *peer) (b piece.Block, ok bool) {
	if len(p.sale.lost) == 0 {
		return b, false
	}
	for _, b := range p.queue.all() {
		if p.sale.repeats(s.layout.Unit(b)) {
			return b, true
		}
	}
	return b, false
}

// onUnpaid takes a seller's list of what it served us before. What is here of
// it was owed when it came.
func (s *Swarm) onUnpaid(now time.Time, p *peer, u peerwire.PayUnpaid) error {
	b := &p.buy
	if b.lostTold || !s.cfg.Pays {
		return errPayAgain
	}
	b.lostTold, b.lost = true, u.Units
	if s.picker != nil {
		s.beginLost(p)
		s.trees.advance(s, now)
	}
	return nil
}

// beginLost begins the pieces of lost units, so that their leaves are asked for
// first.
func (s *Swarm) beginLost(p *peer) {
	for _, unit := range p.buy.lost {
		if b, ok := s.layout.UnitBlock(unit); ok {
			s.picker.Restored(int(b.Piece), nil)
		}
	}
}

// askLost asks for lost units again, in the order in which they were served:
// links pay in that order, so that what is lost once more is known again. The
// seller lends us as many more, for it charged them long ago. It reports whether
// some have to wait: then nothing else is asked of this seller, for a while. Who
// was paid nothing by us before has nothing to list.
func (s *Swarm) askLost(now time.Time, p *peer) (wait bool) {
	k := &p.buy
	switch {
	case k.deal == nil || !k.agreed:
		return true
	case !k.deal.Resumed:
		k.lost = nil
		return false
	}
	for ; len(k.lost) > 0; k.lost = k.lost[1:] {
		b, ok := s.layout.UnitBlock(k.lost[0])
		switch {
		case !ok || !p.has.Has(int(b.Piece)):
			continue
		case p.asked.len() >= min(p.depth, p.ext.reqq):
			return true
		case k.verified+k.outstanding(p) >= uint64(k.deal.Cap), s.picker.Owned(uint32(p.id)) >= maxLostPieces && s.judgedWhole():
			return false // until the cap is raised, or the pieces are whole
		}
		s.picker.Restored(int(b.Piece), nil) // it may have failed since
		switch asked, later := s.picker.Ask(b, uint32(p.id)); {
		case later && now.Sub(k.agreedAt) < lostPatience:
			return true
		case asked:
			if p.asked.len() == 0 {
				p.since = now
			}
			k.window++
			p.asked.push(b)
			s.send(now, p, peerwire.BlockMessage(peerwire.Request, b.Piece, b.Begin, b.Length))
		}
	}
	return false
}
