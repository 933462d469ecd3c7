package swarm

import (
	"slices"
	"time"

	"torrente/metainfo"
	"torrente/payment"
	"torrente/piece"
)

// In a v1 torrent nothing judges a block but the hash of its piece. So a piece
// is asked of one seller alone, and what has come of it may be paid before it is
// judged, when the seller waits for that: a liar takes a piece's price with it,
// once, and is banned (section 4). A piece that several sent, since the first
// left in the middle, and that is false, is paid to nobody before a good copy
// tells which blocks were right.

// judgedWhole reports whether the units of this torrent are judged with their
// pieces.
func (s *Swarm) judgedWhole() bool { return s.sold && !s.info.HasV2 }

// tooLong reports whether a piece would cost too much before it is judged.
func (s *Swarm) tooLong() bool {
	return s.judgedWhole() && s.info.PieceLength > metainfo.MaxSoldPieceLengthV1
}

// letGo lets others be asked for the rest of the pieces of a seller whose cap is
// used up and could not be raised. All that is frozen may be promised to those
// others, so that nothing else finishes these pieces.
func (s *Swarm) letGo(p *peer) {
	b := &p.buy
	if !s.judgedWhole() || b.deal == nil || p.asked.len() > 0 {
		return
	}
	if b.verified+s.disputed[b.id]+b.outstanding(p) >= uint64(b.deal.Cap) {
		s.abandon(p)
	}
}

// wholePiece is how many units a cap has to cover for a piece to be judged.
func (s *Swarm) wholePiece(b *purchase) uint64 {
	if !s.judgedWhole() {
		return 0
	}
	most := uint64(s.layout.UnitsPerPiece())
	return b.verified + min(s.disputed[b.id], most) + most + prepaid
}

// unproven is how many units came that are not judged and may be paid: those of
// one piece at the most, whatever a seller leaves unfinished, and of one that is
// disputed.
func (s *Swarm) unproven(b *purchase) uint64 {
	if !s.judgedWhole() {
		return 0
	}
	most := uint64(s.layout.UnitsPerPiece())
	return min(uint64(b.pending), most) + min(s.disputed[b.id], most)
}

// judgedPiece counts the units of a piece that is right; those of one that is
// false are disputed.
func (s *Swarm) judgedPiece(now time.Time, v Verdict) {
	c := s.sent(v.Block.Piece)
	switch {
	case v.Whole && v.Good:
		for k, from := range c.now {
			s.deliveredBy(now, from, s.layout.Block(int(v.Block.Piece), k))
		}
		if len(v.False) > 0 { // else nothing is known of the copy that failed
			s.settleDispute(now, v, c.failed)
		}
	case v.Whole:
		for _, from := range c.now {
			if p := s.payingOn(from); p != nil {
				p.buy.pending = max(0, p.buy.pending-1)
			}
			if from.owed != (payment.CommitmentID{}) {
				s.disputed[from.owed]++
			}
		}
	}
}

// settleDispute counts the blocks of a copy that failed, of those who sent
// nothing false.
func (s *Swarm) settleDispute(now time.Time, v Verdict, failed []contributor) {
	lied := func(from contributor) bool {
		return slices.ContainsFunc(v.False, func(k int) bool { return k < len(failed) && failed[k].owed == from.owed })
	}
	for k, from := range failed {
		if lied(from) {
			continue
		}
		if s.disputed[from.owed] > 0 {
			s.disputed[from.owed]--
			if p := s.payingOn(from); p != nil {
				p.buy.pending++
			}
		}
		s.deliveredBy(now, from, s.layout.Block(int(v.Block.Piece), k))
	}
}

// deliveredBy counts a unit on the commitment on which it was bought.
func (s *Swarm) deliveredBy(now time.Time, from contributor, b piece.Block) {
	switch p := s.payingOn(from); {
	case p != nil:
		s.deliveredUnit(now, p, b)
	case from.owed != payment.CommitmentID{}:
		s.owe(from.owed, b)
	}
}

// sameSender reports whether two blocks are of one sender: of one commitment,
// where units are paid, however often its connection broke.
func (s *Swarm) sameSender(a, b contributor) bool {
	if s.sold && a.owed != (payment.CommitmentID{}) {
		return a.owed == b.owed
	}
	return a.id == b.id
}

// payingOn is the connection on which a block can be paid; nil: there is none
// now.
func (s *Swarm) payingOn(from contributor) *peer {
	pays := func(p *peer) bool {
		return p != nil && p.buy.deal != nil && p.buy.id == from.owed && !p.dropped
	}
	if p := s.peers[from.id]; pays(p) {
		return p
	}
	if i := slices.IndexFunc(s.order, pays); i >= 0 {
		return s.order[i]
	}
	return nil
}

// receivedOn sets how many units came on a peer's commitment that are not
// judged, those of earlier connections included, and returns it with those that
// are disputed.
func (s *Swarm) receivedOn(p *peer) (n uint64) {
	if !s.judgedWhole() {
		return 0
	}
	for i := range s.layout.Pieces() {
		for _, from := range s.sent(uint32(i)).now {
			if from.owed == p.buy.id {
				n++
			}
		}
	}
	p.buy.pending = int(n)
	return n + s.disputed[p.buy.id]
}

// delivered is how many units came, at least, since they were paid: all but the
// one paid ahead (P2) and those that are not judged. A unit that had to come
// twice is owed once by the record, and a v1 piece that was not whole when we
// died is lost, and was paid.
func (b *purchase) delivered(received uint64) uint64 {
	return b.links - min(b.links, prepaid+received)
}
