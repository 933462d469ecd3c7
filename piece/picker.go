package piece

import (
	"math/rand/v2"
	"slices"
)

// maxAsked is how many peers may be asked for one block in the endgame.
const maxAsked = 3

// Picker decides which blocks to ask for: those of pieces already begun, then
// the rarest piece, then, when every missing block has been asked of somebody,
// once more from others (BEP 3 "end game"). It does not know the peers: the
// caller reports every block it asks for, receives or gives up.
type Picker struct {
	// Ready, if set, tells whether a piece may be begun: whether its hashes are
	// known.
	Ready func(piece int) bool
	// Once keeps a block from being asked of two peers at a time: where blocks
	// are paid for, the end is waited for.
	Once bool
	// Alone keeps the blocks of a piece from being asked of two peers, until
	// Abandon: if such a piece is false, it is known who sent it.
	Alone bool

	layout *Layout
	have   *Bitfield
	// prepared are pieces that became ready, perhaps begun since; barren says
	// that no other was ready when all were looked at.
	prepared []uint32
	barren   bool
	rare     *availability
	begun    map[uint32]*progress
	open     []*progress // begun, with blocks nobody was asked for; oldest first
}

// progress is a piece that was begun and is not verified.
type progress struct {
	piece    uint32
	asked    []uint8 // by block: how many peers hold a request
	received []bool  // by block: it is here, verified or on its way to be
	unasked  int     // blocks neither asked for nor received
	missing  int     // blocks not received
	restored bool    // of an earlier run
	owned    bool    // by the peer that alone is asked for it
	owner    uint32
}

// NewPicker picks the pieces that have lacks; it owns have from now on. The
// seed decides between pieces that are equally rare.
func NewPicker(l *Layout, have *Bitfield, seed uint64) *Picker {
	var want []uint32
	for i := range l.Pieces() {
		if !have.Has(i) {
			want = append(want, uint32(i))
		}
	}
	rnd := rand.New(rand.NewPCG(seed, 0))
	return &Picker{layout: l, have: have, rare: newAvailability(want, l.Pieces(), rnd), begun: map[uint32]*progress{}}
}

// Have is the set of verified pieces; it must not be changed.
func (p *Picker) Have() *Bitfield { return p.have }

// Announced counts a peer that has one more piece.
func (p *Picker) Announced(piece int) { p.rare.more(piece) }

// Joined counts a peer's pieces. One with every piece makes none rarer than
// another and need not be counted.
func (p *Picker) Joined(has *Bitfield) { p.each(has, p.rare.more) }

// Left takes back what Joined and Announced counted of a peer.
func (p *Picker) Left(has *Bitfield) { p.each(has, p.rare.fewer) }

func (p *Picker) each(has *Bitfield, f func(int)) {
	if has.Full() || has.Count() == 0 {
		return
	}
	for i := range has.Len() {
		if has.Has(i) {
			f(i)
		}
	}
}

// Pick appends to dst up to n blocks to ask a peer for that has the given
// pieces, and counts them as asked. by is the caller's number for it. pending tells which blocks that peer has
// been asked for already; it is consulted only in the endgame.
func (p *Picker) Pick(dst []Block, by uint32, has *Bitfield, n int, pending func(Block) bool) []Block {
	want := len(dst) + n
	if p.Alone { // what it has begun is judged, and paid for, before more is begun
		dst = p.goOn(dst, by, has, want, func(g *progress) bool { return g.owned })
	}
	dst = p.goOn(dst, by, has, want, nil)
	for len(dst) < want {
		g := p.begin(has)
		if g == nil {
			break
		}
		g.own(by)
		dst = p.take(dst, g, want)
		if g.unasked > 0 {
			p.open = append(p.open, g)
		}
	}
	if len(dst) < want && len(p.rare.order) == 0 && len(p.open) == 0 && !p.Once {
		dst = p.endgame(dst, has, want, pending)
	}
	return dst
}

// goOn picks of begun pieces, those that which chooses; nil: all.
func (p *Picker) goOn(dst []Block, by uint32, has *Bitfield, want int, which func(*progress) bool) []Block {
	for i := 0; i < len(p.open) && len(dst) < want; {
		g := p.open[i]
		if has.Has(int(g.piece)) && p.resumable(g) && p.belongsTo(g, by) && (which == nil || which(g)) {
			g.own(by)
			dst = p.take(dst, g, want)
		}
		if g.unasked == 0 {
			p.open = slices.Delete(p.open, i, i+1)
		} else {
			i++
		}
	}
	return dst
}

// resumable reports whether more may be asked of a begun piece: one of an
// earlier run has to be ready like others.
func (p *Picker) resumable(g *progress) bool {
	return !g.restored || p.Ready == nil || p.Ready(int(g.piece))
}

// belongsTo reports whether more of a piece may be asked of a peer.
func (p *Picker) belongsTo(g *progress, by uint32) bool {
	return !p.Alone || !g.owned || g.owner == by
}

func (g *progress) own(by uint32) { g.owned, g.owner = true, by }

// Abandon lets others be asked for the pieces that a peer alone was asked for.
func (p *Picker) Abandon(by uint32) {
	if !p.Alone {
		return
	}
	for _, g := range p.begun {
		if g.owner == by {
			g.owned = false
		}
	}
}

// Owned is how many begun pieces a peer alone is asked for.
func (p *Picker) Owned(by uint32) (n int) {
	for _, g := range p.begun {
		if g.owned && g.owner == by {
			n++
		}
	}
	return n
}

// Prepared tells that a piece has become ready. Those are begun first, in that
// order: where few pieces are ready, they need not be looked for.
func (p *Picker) Prepared(piece int) {
	p.prepared = append(p.prepared, uint32(piece))
	p.barren = false
}

// Changed tells that any piece may have become ready.
func (p *Picker) Changed() { p.barren = false }

// begin starts a prepared piece that the peer has, or else the rarest that is
// ready.
func (p *Picker) begin(has *Bitfield) *progress {
	for k := 0; k < len(p.prepared); {
		switch i := p.prepared[k]; {
		case p.rare.place[i] < 0: // begun
			p.prepared = slices.Delete(p.prepared, k, k+1)
		case has.Has(int(i)) && p.Ready(int(i)):
			return p.start(i)
		default:
			k++
		}
	}
	if p.barren {
		return nil
	}
	p.barren = true
	for _, i := range p.rare.order {
		if p.Ready != nil && !p.Ready(int(i)) {
			continue
		}
		p.barren = false
		if has.Has(int(i)) {
			return p.start(i)
		}
	}
	return nil
}

// Next are the first n pieces that will be begun or, if they are of an earlier
// run, gone on with, of those in reach.
func (p *Picker) Next(n int, reach *Bitfield) (next []uint32) {
	for _, g := range p.open {
		if g.restored && len(next) < n && reach.Has(int(g.piece)) {
			next = append(next, g.piece)
		}
	}
	for _, i := range p.rare.order {
		if len(next) >= n {
			break
		}
		if reach.Has(int(i)) {
			next = append(next, i)
		}
	}
	return next
}

func (p *Picker) start(piece uint32) *progress {
	p.rare.drop(int(piece))
	n := p.layout.Blocks(int(piece))
	g := &progress{piece: piece, asked: make([]uint8, n), received: make([]bool, n), unasked: n, missing: n}
	p.begun[piece] = g
	return g
}

// take asks for the unasked blocks of a piece, in order.
func (p *Picker) take(dst []Block, g *progress, want int) []Block {
	for k := 0; k < len(g.asked) && g.unasked > 0 && len(dst) < want; k++ {
		if g.asked[k] == 0 && !g.received[k] {
			g.asked[k] = 1
			g.unasked--
			dst = append(dst, p.layout.Block(int(g.piece), k))
		}
	}
	return dst
}

func (p *Picker) endgame(dst []Block, has *Bitfield, want int, pending func(Block) bool) []Block {
	for _, piece := range p.sortedBegun() {
		g := p.begun[piece]
		if g.missing == 0 || !has.Has(int(piece)) {
			continue
		}
		for k := range g.asked {
			b := p.layout.Block(int(piece), k)
			if g.received[k] || g.asked[k] >= maxAsked || pending(b) || slices.Contains(dst, b) {
				continue
			}
			g.asked[k]++
			if dst = append(dst, b); len(dst) == want {
				return dst
			}
		}
	}
	return dst
}

// sortedBegun keeps the choice independent of the order of a map.
func (p *Picker) sortedBegun() []uint32 {
	s := make([]uint32, 0, len(p.begun))
	for i := range p.begun {
		s = append(s, i)
	}
	slices.Sort(s)
	return s
}

// GiveUp takes back one request for a block that will not be answered.
func (p *Picker) GiveUp(b Block) {
	g, k := p.at(b)
	if g == nil || g.asked[k] == 0 {
		return
	}
	if g.asked[k]--; g.asked[k] == 0 && !g.received[k] {
		p.reopen(g, 1)
	}
}

// Received marks a block as here. It reports whether it was still wanted, and
// how many other peers hold a request for it that can be cancelled.
func (p *Picker) Received(b Block) (wanted bool, others int) {
	g, k := p.at(b)
	if g == nil || g.received[k] {
		return false, 0
	}
	if g.asked[k] == 0 {
		g.unasked-- // it came after we gave it up
	} else {
		others = int(g.asked[k]) - 1
	}
	g.received[k], g.asked[k] = true, 0
	g.missing--
	return true, others
}

// Spoiled takes back a received block that turned out to be wrong.
func (p *Picker) Spoiled(b Block) {
	if g, k := p.at(b); g != nil && g.received[k] {
		g.received[k] = false
		g.missing++
		p.reopen(g, 1)
	}
}

// Restored marks blocks of a piece, given by number, as verified and on disk
// from an earlier run.
func (p *Picker) Restored(piece int, blocks []int) {
	if p.have.Has(piece) || p.begun[uint32(piece)] != nil {
		return
	}
	g := p.start(uint32(piece))
	g.restored = true
	for _, k := range blocks {
		if !g.received[k] {
			g.received[k] = true
			g.unasked--
			g.missing--
		}
	}
	if g.unasked > 0 {
		p.open = append(p.open, g)
	}
}

// Ask counts one block as asked for, out of turn, if nobody was asked for it and
// it is not here. later says that its piece is not ready, or not begun.
func (p *Picker) Ask(b Block, by uint32) (asked, later bool) {
	g, k := p.at(b)
	switch {
	case g == nil:
		return false, !p.have.Has(int(b.Piece))
	case g.received[k] || g.asked[k] > 0 || !p.belongsTo(g, by):
		return false, false
	case !p.resumable(g):
		return false, true
	}
	g.own(by)
	g.asked[k] = 1
	if g.unasked--; g.unasked == 0 {
		p.open = slices.DeleteFunc(p.open, func(o *progress) bool { return o == g })
	}
	return true, false
}

// Failed forgets all that came of a piece whose hash was wrong.
func (p *Picker) Failed(piece int) {
	if g := p.begun[uint32(piece)]; g != nil {
		delete(p.begun, uint32(piece))
		p.open = slices.DeleteFunc(p.open, func(o *progress) bool { return o == g })
		p.rare.add(piece)
		p.barren = false
	}
}

// Completed marks a piece as verified.
func (p *Picker) Completed(piece int) {
	p.have.Set(piece)
	p.rare.drop(piece)
	if g := p.begun[uint32(piece)]; g != nil {
		delete(p.begun, uint32(piece))
		p.open = slices.DeleteFunc(p.open, func(o *progress) bool { return o == g })
	}
}

// Missing reports whether any block of the piece has not been received.
func (p *Picker) Missing(piece int) bool {
	g := p.begun[uint32(piece)]
	return !p.have.Has(piece) && (g == nil || g.missing > 0)
}

func (p *Picker) reopen(g *progress, blocks int) {
	if g.unasked == 0 {
		p.open = append(p.open, g)
	}
	g.unasked += blocks
}

// at finds a block among the begun pieces.
func (p *Picker) at(b Block) (*progress, int) {
	g := p.begun[b.Piece]
	if g == nil || !p.layout.IsUnit(b) {
		return nil, 0
	}
	return g, int(b.Begin / BlockSize)
}
