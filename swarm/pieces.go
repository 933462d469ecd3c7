package swarm

import (
	"fmt"
	"time"

	"torrente/peerwire"
	"torrente/piece"
)

// greet sends what comes first: what we have, then the extension handshake.
func (s *Swarm) greet(now time.Time, p *peer) {
	if s.picker != nil {
		p.has = piece.NewBitfield(s.layout.Pieces())
		s.announceAll(p)
	} else {
		p.early.told = true
		if p.about.Fast {
			s.send(now, p, peerwire.Of(peerwire.HaveNone))
		}
	}
	if p.about.Extended {
		s.send(now, p, s.extendedHandshake())
	}
}

// announceAll tells a peer all that we have, in the shortest form.
func (s *Swarm) announceAll(p *peer) {
	have := s.picker.Have()
	switch {
	case p.early.told: // the bitfield may only come first
		for i := range have.Len() {
			if have.Has(i) {
				s.send(p.lastSent, p, peerwire.HaveMessage(uint32(i)))
			}
		}
	case p.about.Fast && have.Full():
		s.send(p.lastSent, p, peerwire.Of(peerwire.HaveAll))
	case p.about.Fast && have.Count() == 0:
		s.send(p.lastSent, p, peerwire.Of(peerwire.HaveNone))
	case have.Count() > 0:
		// A copy: the set changes before the message is written.
		bits := append([]byte(nil), have.Wire()...)
		s.send(p.lastSent, p, peerwire.Message{ID: peerwire.Bitfield, Data: bits})
	}
}

// onBitfield takes all that a peer has. BEP 3 wants it first; some clients
// send it later, which harms nobody.
func (s *Swarm) onBitfield(now time.Time, p *peer, m *peerwire.Message) error {
	switch m.ID {
	case peerwire.HaveAll:
		p.early = earlyPieces{all: true, told: p.early.told}
	case peerwire.HaveNone:
		p.early = earlyPieces{told: p.early.told}
	default:
		p.early = earlyPieces{bits: m.Data, told: p.early.told}
	}
	if s.picker == nil {
		return nil
	}
	s.picker.Left(p.has)
	if err := s.learnPieces(p); err != nil {
		return err
	}
	s.updateInterest(now, p)
	return s.checkBothSeeds(p)
}

// learnPieces turns what a peer said it has into its set of pieces.
func (s *Swarm) learnPieces(p *peer) (err error) {
	n := s.layout.Pieces()
	switch {
	case p.early.all:
		p.has = piece.FullBitfield(n)
	case p.early.bits != nil:
		if p.has, err = piece.ParseBitfield(p.early.bits, n); err != nil {
			return fmt.Errorf("%w: %w", errBadBitfield, err)
		}
	default:
		p.has = piece.NewBitfield(n)
	}
	for _, i := range p.early.haves {
		if int(i) >= n {
			return errBadIndex
		}
		p.has.Set(int(i))
	}
	p.early = earlyPieces{told: p.early.told}
	s.picker.Joined(p.has)
	p.lacks = 0
	for i := range n {
		if p.has.Has(i) && !s.picker.Have().Has(i) {
			p.lacks++
		}
	}
	return nil
}

func (s *Swarm) onHave(now time.Time, p *peer, index uint32) error {
	if s.picker == nil {
		if len(p.early.haves) < maxEarlyHaves {
			p.early.haves = append(p.early.haves, index)
		}
		return nil
	}
	i := int(index)
	if i >= s.layout.Pieces() {
		return errBadIndex
	}
	if p.has.Has(i) {
		return nil
	}
	s.addPiece(p, i)
	if !s.picker.Have().Has(i) {
		p.lacks++
		s.updateInterest(now, p)
	}
	return s.checkBothSeeds(p)
}

// addPiece counts one more piece of a peer. Peers with everything are not
// counted in the picker's availability, so the last piece takes all back.
func (s *Swarm) addPiece(p *peer, i int) {
	if p.has.Count() == p.has.Len()-1 {
		s.picker.Left(p.has)
		p.has.Set(i)
		return
	}
	p.has.Set(i)
	s.picker.Announced(i)
}

// checkBothSeeds ends connections in which neither side can want anything.
func (s *Swarm) checkBothSeeds(p *peer) error {
	if s.picker.Have().Full() && p.has.Full() && s.layout.Pieces() > 0 {
		return errBothSeeds
	}
	return nil
}

// completed counts a verified piece and tells everybody.
func (s *Swarm) completed(now time.Time, index int) {
	s.picker.Completed(index)
	s.totals.Verified += s.layout.Size(index)
	for _, p := range s.snapshot() {
		if p.has == nil || p.dropped {
			continue
		}
		if p.has.Has(index) {
			p.lacks--
			s.updateInterest(now, p)
		}
		s.send(now, p, peerwire.HaveMessage(uint32(index)))
		if err := s.checkBothSeeds(p); err != nil {
			s.drop(p, err)
		}
	}
}

// updateInterest says interested or not interested when that has changed.
func (s *Swarm) updateInterest(now time.Time, p *peer) {
	want := p.lacks > 0 && s.picker != nil
	if want == p.weInterested || p.dropped {
		return
	}
	p.weInterested = want
	if want {
		s.send(now, p, peerwire.Of(peerwire.Interested))
		s.buy(p)
		s.refill(now, p)
	} else {
		s.send(now, p, peerwire.Of(peerwire.NotInterested))
	}
}
