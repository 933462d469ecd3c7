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
		s.send(now, p, s.extendedHandshake(p))
	}
}

// announceAll tells a peer all that we have, in the shortest form.
func (s *Swarm) announceAll(p *peer) {
	have := s.picker.Have()
	switch {
	case p.early.told: // the bitfield may only come first
		p.untold = have.Clone()
		s.announceMore(p)
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

// announceAtOnce is how many have messages go out in one second to a peer that
// cannot be sent a bitfield any more.
const announceAtOnce = 4096

// announceMore goes on telling such a peer what we had when the files were
// opened.
func (s *Swarm) announceMore(p *peer) {
	for n := 0; p.untold != nil && n < announceAtOnce; p.toldTo++ {
		if p.toldTo >= p.untold.Len() {
			p.untold = nil
		} else if p.untold.Has(p.toldTo) {
			s.send(p.lastSent, p, peerwire.HaveMessage(uint32(p.toldTo)))
			n++
		}
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
	if err := s.learnPieces(p); err != nil {
		return err
	}
	s.updateInterest(now, p)
	return s.checkBothSeeds(p)
}

// learnPieces turns what a peer said it has into its set of pieces. Nothing
// changes if what it said is false: the picker's counts are those of p.has.
func (s *Swarm) learnPieces(p *peer) error {
	n := s.layout.Pieces()
	has, err := p.early.pieces(n)
	if err != nil {
		return err
	}
	if p.has != nil {
		s.picker.Left(p.has)
	}
	p.refusedHashes, p.askHashes = 0, time.Time{}
	p.has, p.early = has, earlyPieces{told: p.early.told}
	s.picker.Joined(p.has)
	p.lacks = 0
	for i := range n {
		if p.has.Has(i) && !s.picker.Have().Has(i) {
			p.lacks++
		}
	}
	return nil
}

// pieces is what was said as a set of n pieces.
func (e *earlyPieces) pieces(n int) (has *piece.Bitfield, err error) {
	switch {
	case e.all:
		has = piece.FullBitfield(n)
	case e.bits != nil:
		if has, err = piece.ParseBitfield(e.bits, n); err != nil {
			return nil, fmt.Errorf("%w: %w", errBadBitfield, err)
		}
	default:
		has = piece.NewBitfield(n)
	}
	for _, i := range e.haves {
		if int64(i) >= int64(n) {
			return nil, errBadIndex
		}
		has.Set(int(i))
	}
	return has, nil
}

func (s *Swarm) onHave(now time.Time, p *peer, index uint32) error {
	if s.picker == nil {
		if len(p.early.haves) < maxEarlyHaves {
			p.early.haves = append(p.early.haves, index)
		}
		return nil
	}
	if int64(index) >= int64(s.layout.Pieces()) {
		return errBadIndex
	}
	i := int(index)
	if p.has.Has(i) {
		return nil
	}
	s.addPiece(p, i)
	p.refusedHashes, p.askHashes = 0, time.Time{} // it has more to tell
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

// checkBothSeeds ends connections in which neither side can want anything, and
// no commitment waits for its close.
func (s *Swarm) checkBothSeeds(p *peer) error {
	if s.picker.Have().Full() && p.has.Full() && s.layout.Pieces() > 0 && !p.settling() {
		return errBothSeeds
	}
	return nil
}

// completed counts a verified piece and tells everybody.
func (s *Swarm) completed(now time.Time, index int) {
	s.picker.Completed(index)
	s.totals.Verified += s.layout.Size(index)
	if s.picker.Have().Full() {
		s.payAll(now) // before others hear of it: a seed that has seen us complete leaves
		s.askCloses(now)
	}
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
		s.trees.advance(s, now) // it may tell the leaves that are waited for
		s.refill(now, p)
	} else {
		s.send(now, p, peerwire.Of(peerwire.NotInterested))
	}
}
