package swarm

import (
	"net/netip"
	"slices"
	"time"

	"torrente/payment"
	"torrente/peerwire"
	"torrente/piece"
)

const (
	// defaultReqq is how many requests a peer that does not say takes at once.
	defaultReqq = 250
	// maxDepth is the most blocks we keep asked of one peer: 8 MiB.
	maxDepth = 500
	// maxUnwanted is how many unasked blocks end a connection; some come in
	// good faith, after a cancel or a choke.
	maxUnwanted = 1000
	// snubTime is the silence after which a peer's blocks are asked of others.
	snubTime = 60 * time.Second
)

// contributors tells who sent which block of an unverified piece, by number,
// and, after the piece failed, who sent those of the failed copy.
type contributors struct{ now, failed []contributor }

// nobody contributed to a piece that is not begun.
var nobody contributors

// sent tells who contributed to a piece.
func (s *Swarm) sent(index uint32) *contributors {
	if c, ok := s.contributors.get(index); ok {
		return c
	}
	return &nobody
}

// contributor is a peer and its address, by which it is banned if it has left.
type contributor struct {
	id   PeerID
	addr netip.Addr
	owed payment.CommitmentID // that pays the block; zero: none
}

// refill asks a peer for blocks until enough are under way. Nothing is asked
// until a quarter is due, so that requests go out many at a time.
func (s *Swarm) refill(now time.Time, p *peer) {
	if p.choking || !p.weInterested || p.dropped || s.picker == nil || s.stopped != nil || s.draining {
		return
	}
	if len(p.buy.lost) > 0 && s.askLost(now, p) {
		return
	}
	depth := min(p.depth, p.ext.reqq)
	due := depth - p.asked.len()
	if s.sold {
		due = min(due, s.affordable(now, p))
		depth = min(depth, s.inUse(p)+due)
	}
	if due <= 0 || due < depth/4 {
		return
	}
	s.picks = s.picker.Pick(s.picks[:0], uint32(p.id), p.has, due, p.asked.has)
	if p.asked.len() == 0 && len(s.picks) > 0 {
		p.since = now
	}
	s.payAhead(now, p, len(s.picks))
	for _, b := range s.picks {
		p.asked.push(b)
		s.send(now, p, peerwire.BlockMessage(peerwire.Request, b.Piece, b.Begin, b.Length))
	}
}

// inUse is how much of what a seller lends is under way: what is being verified
// is too, where that does not wait for more blocks to come.
func (s *Swarm) inUse(p *peer) int {
	if s.judgedWhole() {
		return p.asked.len()
	}
	return int(p.buy.outstanding(p))
}

func (s *Swarm) refillAll(now time.Time) {
	if s.picker == nil || s.picker.Have().Full() {
		return
	}
	for _, p := range s.order {
		s.refill(now, p)
	}
}

// onPiece takes a block. It costs no allocation.
func (s *Swarm) onPiece(now time.Time, p *peer, m *peerwire.Message) error {
	b := blockOf(m)
	if !p.asked.take(b) {
		if s.sold && s.late(now, p, m) {
			return nil
		}
		s.free(m)
		s.totals.Wasted += int64(b.Length)
		if p.unwanted++; p.unwanted > maxUnwanted {
			return errUnasked
		}
		return nil
	}
	p.delivered += int64(b.Length)
	p.since = now
	p.snubbing = false
	p.down.add(int(b.Length))
	s.totals.Downloaded += int64(b.Length)
	if p.depth < maxDepth {
		p.depth++
	}
	wanted, others := s.picker.Received(b)
	if !wanted {
		s.free(m)
		s.totals.Wasted += int64(b.Length)
		s.refill(now, p)
		return nil
	}
	if others > 0 {
		s.cancelOthers(now, p, b)
	}
	s.contributed(p, b)
	s.arrived(p)
	s.out.Verify = append(s.out.Verify, Verification{Block: b, Data: m.Data, Leaf: s.trees.leaf(b)})
	s.refill(now, p)
	return nil
}

// cancelOthers takes a block back that was asked of several peers.
func (s *Swarm) cancelOthers(now time.Time, from *peer, b piece.Block) {
	for _, o := range s.order {
		if o != from && !o.dropped && o.asked.take(b) {
			s.send(now, o, peerwire.BlockMessage(peerwire.Cancel, b.Piece, b.Begin, b.Length))
			s.refill(now, o)
		}
	}
}

// onReject takes the answer that a block will not come (BEP 6).
func (s *Swarm) onReject(now time.Time, p *peer, b piece.Block) error {
	if p.asked.take(b) {
		s.picker.GiveUp(b)
		p.depth = max(1, p.depth/2) // it has reasons: ask less
	}
	return nil
}

func (s *Swarm) onChoke(now time.Time, p *peer, choking bool) error {
	if p.choking == choking {
		return nil
	}
	p.choking = choking
	if choking {
		s.abandon(p)
		// With BEP 6 every request is answered by itself; without, all are void.
		if !p.about.Fast {
			s.giveUpAll(p)
			s.refillAll(now)
		}
		return nil
	}
	p.since = now
	s.refill(now, p)
	return nil
}

// giveUpAll frees the blocks asked of a peer for others to be asked.
func (s *Swarm) giveUpAll(p *peer) {
	s.abandon(p)
	for p.asked.len() > 0 {
		s.picker.GiveUp(p.asked.pop())
	}
}

// abandon lets others be asked for the pieces that a peer alone was asked for.
func (s *Swarm) abandon(p *peer) {
	if s.picker != nil {
		s.picker.Abandon(uint32(p.id))
	}
}

// checkSnub gives a silent peer's blocks to others; it is asked for one at a
// time until it delivers.
func (s *Swarm) checkSnub(now time.Time, p *peer) {
	if p.asked.len() == 0 || now.Sub(p.since) < snubTime {
		return
	}
	p.snubbing = true
	p.since = now
	p.depth = 1
	s.abandon(p)
	for p.asked.len() > 0 {
		b := p.asked.pop()
		s.picker.GiveUp(b)
		s.expectLate(p, b)
		s.send(now, p, peerwire.BlockMessage(peerwire.Cancel, b.Piece, b.Begin, b.Length))
	}
	s.refillAll(now)
}

// contributed remembers who sent a block until its piece is verified.
func (s *Swarm) contributed(p *peer, b piece.Block) {
	c := s.sent(b.Piece)
	if c == &nobody {
		c = new(contributors)
		s.contributors.put(b.Piece, c)
	}
	if c.now == nil {
		c.now = make([]contributor, s.layout.Blocks(int(b.Piece)))
	}
	c.now[b.Begin/piece.BlockSize] = contributor{p.id, p.about.Addr.Addr(), p.commitment()}
}

// Verdict is what became of a block given to Verify.
type Verdict struct {
	Block piece.Block
	// OK is false for a block with a wrong leaf hash (BEP 52).
	OK bool
	// Whole says that the block was the last of its piece, Good that the piece
	// is right and on disk.
	Whole, Good bool
	// False are the blocks, by number, of the piece's earlier failed copy that
	// were false.
	False []int
}

// Verified tells what became of a block.
func (s *Swarm) Verified(now time.Time, v Verdict) {
	s.input()
	index := v.Block.Piece
	if s.judgedWhole() {
		s.judgedPiece(now, v)
	} else if p := s.sender(v.Block); p != nil && v.OK {
		s.deliveredUnit(now, p, v.Block)
	} else if v.OK {
		s.deliveredBefore(now, v.Block)
	}
	switch {
	case !v.OK:
		s.picker.Spoiled(v.Block)
		if p := s.sender(v.Block); p != nil {
			s.spoiledUnit(p)
		}
		s.blame(s.sent(index).now, []int{int(v.Block.Begin / piece.BlockSize)})
		s.refillAll(now)
	case v.Whole && v.Good:
		s.blame(s.sent(index).failed, v.False)
		s.contributors.delete(index)
		s.trees.verified(index)
		s.trees.ahead(s) // the next leaves are wanted before the next tick
		s.trees.ask(s, now)
		s.completed(now, int(index))
	case v.Whole:
		s.failedPiece(now, index)
	}
}

// sender is who sent a block of an unverified piece, if still there.
func (s *Swarm) sender(b piece.Block) *peer {
	c := s.sent(b.Piece).now
	if k := int(b.Begin / piece.BlockSize); k < len(c) {
		return s.peers[c[k].id]
	}
	return nil
}

// failedPiece starts a piece again. If one peer sent all of it, that peer is
// to blame; else a good copy will tell.
func (s *Swarm) failedPiece(now time.Time, index uint32) {
	c := s.sent(index)
	s.totals.Wasted += s.layout.Size(int(index))
	s.picker.Failed(int(index))
	one := len(c.now) > 0 && !slices.ContainsFunc(c.now, func(x contributor) bool { return !s.sameSender(x, c.now[0]) })
	if one {
		s.blame(c.now, []int{0})
		if p := s.payingOn(c.now[0]); p != nil && s.sold { // on a newer connection
			s.book.ban(p.about.Addr.Addr())
			s.drop(p, errFalseData)
		}
	}
	s.contributors.put(index, &contributors{failed: c.now})
	if s.anyV2() {
		s.trees.failed[index] = now
	}
	s.trees.advance(s, now)
	s.refillAll(now)
}

// anyV2 reports whether some peer may tell us leaf hashes.
func (s *Swarm) anyV2() bool {
	return slices.ContainsFunc(s.order, func(p *peer) bool { return p.about.V2 && !p.dropped })
}

// blame bans the peers that sent the given blocks, and drops those that are
// still there.
func (s *Swarm) blame(sent []contributor, blocks []int) {
	for _, k := range blocks {
		if k >= len(sent) {
			continue
		}
		s.book.ban(sent[k].addr)
		if p := s.peers[sent[k].id]; p != nil {
			s.drop(p, errFalseData)
		}
	}
}
