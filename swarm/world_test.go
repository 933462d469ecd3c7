package swarm

import (
	"bytes"
	"container/heap"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"torrente/metainfo"
	"torrente/payment"
	"torrente/peerwire"
	"torrente/piece"
)

// world runs many Swarms in virtual time: messages pass through their bytes on
// the wire and arrive after a delay, disks are memory. The same seed gives the
// same run.
type world struct {
	t      *testing.T
	now    time.Time
	rnd    *rand.Rand
	queue  happenings
	serial int
	nodes  []*citizen
	last   PeerID
	trace  []byte // digest of all that happened
	delay  time.Duration
}

// citizen is a Swarm with what it needs to live.
type citizen struct {
	w       *world
	name    string
	addr    netip.AddrPort
	s       *Swarm
	layout  *piece.Layout
	have    *piece.Bitfield
	content *content
	drafts  map[uint32]map[int][]byte
	links   map[PeerID]*link
	books   map[payment.Account]*payment.Book
	ledger  *fakeLedger
	lies    func(b piece.Block) bool // blocks that it serves falsified
	keeps   func(b piece.Block) bool // blocks that it promises and does not serve
	v2      bool
	fast    bool
	dropped []error
	served  int

	// Of members: units that it owes, what it can redeem, and its commitments.
	owed       int
	redeemable map[payment.CommitmentID]uint32
	deals      []payment.CommitmentID
	closes     []payment.SignedClose // that sellers signed
	wallet     *fakeWallet
	key        *ecdsa.PrivateKey
	spki       []byte
	last       byte
	listed     []uint32 // units that were lost on their way to who came last
	forgetful  bool     // it forgets which those are
	holders    map[payment.Account]PeerID
	frozen     uint32 // units that its coins suffice for; 0: any number
	short      uint32 // links of its chains, at most; 0: any number
}

// link is one side of a connection.
type link struct {
	other   *citizen
	otherID PeerID
	closed  bool
}

// happening is something that will happen.
type happening struct {
	at     time.Time
	serial int
	do     func()
}

type happenings []happening

func (h happenings) Len() int { return len(h) }
func (h happenings) Less(i, j int) bool {
	if !h[i].at.Equal(h[j].at) {
		return h[i].at.Before(h[j].at)
	}
	return h[i].serial < h[j].serial
}
func (h happenings) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *happenings) Push(x any)   { *h = append(*h, x.(happening)) }
func (h *happenings) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

func newWorld(t *testing.T, seed uint64) *world {
	return &world{
		t: t, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		rnd: rand.New(rand.NewPCG(seed, 2)), delay: 10 * time.Millisecond,
	}
}

func (w *world) after(d time.Duration, do func()) {
	w.serial++
	heap.Push(&w.queue, happening{w.now.Add(d), w.serial, do})
}

// run lets time pass until done says so, or fails the test after a while.
func (w *world) run(patience time.Duration, done func() bool) {
	w.t.Helper()
	end := w.now.Add(patience)
	for !done() {
		if w.queue.Len() == 0 || w.now.After(end) {
			for _, c := range w.nodes {
				w.t.Logf("%s: %+v dropped %v", c.name, c.s.Status(), c.dropped)
			}
			w.t.Fatalf("nothing came of it in %v", patience)
		}
		h := heap.Pop(&w.queue).(happening)
		w.now = h.at
		h.do()
	}
}

// pass lets an amount of time pass.
func (w *world) pass(d time.Duration) {
	end := w.now.Add(d)
	w.after(d, func() {})
	w.run(d+time.Second, func() bool { return !w.now.Before(end) })
}

// content is a torrent and its data in the piece space.
type content struct {
	torrent *metainfo.Torrent
	data    []byte
	leaves  map[[32]byte][]byte // of files, by pieces root, as far as asked for
}

// settle adds a node. It knows the torrent file unless magnet is set.
func (w *world) settle(name string, c *content, cfg Config, complete, magnet bool) *citizen {
	n := len(w.nodes) + 1
	z := &citizen{
		w: w, name: name, content: c, drafts: map[uint32]map[int][]byte{}, links: map[PeerID]*link{}, redeemable: map[payment.CommitmentID]uint32{},
		addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}), 9003),
		v2:   c.torrent.Info.HasV2, fast: true, layout: piece.NewLayout(c.torrent.Info),
	}
	binary.BigEndian.PutUint32(cfg.Self[:], uint32(n))
	cfg.Seed = uint64(n)
	z.have = piece.NewBitfield(z.layout.Pieces())
	if complete {
		z.have = piece.FullBitfield(z.layout.Pieces())
	}
	if magnet {
		id := c.torrent.Info.ID()
		cfg.Proves = func(raw []byte) bool { return sha256.Sum256(raw) == id }
	} else {
		cfg.Info, cfg.Layers = c.torrent.Info, c.torrent.Layers
	}
	z.s = New(cfg)
	if !magnet {
		z.s.Opened(w.now, z.have.Clone(), nil)
	}
	w.nodes = append(w.nodes, z)
	z.tick()
	return z
}

// tick calls Advance when it is due.
func (z *citizen) tick() {
	z.s.Advance(z.w.now)
	z.perform()
	z.w.after(max(time.Millisecond, z.s.Deadline().Sub(z.w.now)), z.tick)
}

func (w *world) find(at netip.AddrPort) *citizen {
	i := slices.IndexFunc(w.nodes, func(z *citizen) bool { return z.addr == at })
	if i < 0 {
		return nil
	}
	return w.nodes[i]
}

// meet tells a where b is; a will dial.
func (a *citizen) meet(b *citizen) {
	a.s.Found(a.w.now, []netip.AddrPort{b.addr}, FromTracker)
	a.perform()
}

func (a *citizen) dial(at netip.AddrPort) {
	b := a.w.find(at)
	if b == nil {
		a.w.after(a.w.delay, func() { a.s.FailedDial(a.w.now, at); a.perform() })
		return
	}
	a.w.after(2*a.w.delay, func() {
		ida, idb := a.w.last+1, a.w.last+2
		a.w.last += 2
		a.links[ida] = &link{other: b, otherID: idb}
		b.links[idb] = &link{other: a, otherID: ida}
		about := func(z *citizen, out bool) Peer {
			return Peer{
				Addr: z.addr, ID: z.s.cfg.Self, Outgoing: out, Extended: true,
				Fast: a.fast && b.fast, V2: a.v2 && b.v2, Pay: a.ledger != nil && b.ledger != nil,
			}
		}
		a.s.Join(a.w.now, ida, about(b, true))
		b.s.Join(b.w.now, idb, about(a, false))
		a.perform()
		b.perform()
		if a.ledger != nil && b.ledger != nil {
			a.s.Authenticated(a.w.now, ida, b.s.cfg.Account)
			b.s.Authenticated(b.w.now, idb, a.s.cfg.Account)
			a.perform()
			b.perform()
		}
	})
}

func (z *citizen) hangUp(id PeerID, why error) {
	l := z.links[id]
	if l == nil || l.closed {
		return
	}
	z.dropped = append(z.dropped, why)
	l.closed = true
	z.w.after(0, func() { z.s.Leave(z.w.now, id); z.perform() })
	z.w.after(z.w.delay, func() { // behind what was said before
		if o := l.other.links[l.otherID]; !o.closed {
			o.closed = true
			l.other.s.Leave(z.w.now, l.otherID)
			l.other.perform()
		}
	})
}

// transmit carries a message as bytes.
func (z *citizen) transmit(id PeerID, m peerwire.Message) {
	l := z.links[id]
	if l == nil || l.closed {
		return
	}
	raw := peerwire.Append(nil, m)
	z.w.note(z.name, raw)
	z.w.after(z.w.delay, func() {
		if l.other.links[l.otherID].closed {
			return
		}
		var limits peerwire.Limits
		if l.other.s.picker != nil {
			limits.Pieces = l.other.layout.Pieces()
		}
		r := peerwire.NewReader(bytes.NewReader(raw), func() []byte { return make([]byte, piece.BlockSize) })
		r.Limits = limits
		got, err := r.Next()
		if err != nil {
			l.other.hangUp(l.otherID, err)
			return
		}
		l.other.s.Receive(z.w.now, l.otherID, got)
		l.other.perform()
	})
}

func (w *world) note(who string, raw []byte) {
	h := fnv.New64a()
	h.Write(w.trace)
	fmt.Fprintf(h, "%d %s", w.now.UnixNano(), who)
	h.Write(raw)
	w.trace = h.Sum(w.trace[:0])
}

// perform does what the Swarm wants, as package node does.
func (z *citizen) perform() {
	e := z.s.Take()
	if e.Metadata != nil {
		z.w.after(time.Millisecond, func() { z.s.Opened(z.w.now, z.have.Clone(), nil); z.perform() })
	}
	z.performPays(&e.Pays)
	for _, m := range e.Send {
		z.transmit(m.Peer, m.Message)
		if Heavy(&m.Message) {
			z.w.after(time.Millisecond, func() { z.s.Written(z.w.now, m.Peer, 1); z.perform() })
		}
	}
	for _, sv := range e.Serve {
		z.serve(sv)
	}
	for _, h := range e.Hashes {
		row := z.hashes(h.Range)
		z.w.after(0, func() { z.s.HashesRead(z.w.now, h.Peer, h.Range, row); z.perform() })
	}
	for _, v := range e.Verify {
		z.verify(v)
	}
	for _, a := range e.Dial {
		z.dial(a)
	}
	for _, d := range e.Drop {
		z.hangUp(d.Peer, d.Why)
	}
}

func (c *content) block(l *piece.Layout, b piece.Block) []byte {
	at := l.Start(int(b.Piece)) + int64(b.Begin)
	return c.data[at : at+int64(b.Length)]
}

func (z *citizen) serve(sv Serving) {
	data := slices.Clone(z.content.block(z.layout, sv.Block))
	if z.lies != nil && z.lies(sv.Block) {
		data[0] ^= 1
	}
	if z.keeps != nil && z.keeps(sv.Block) {
		return
	}
	z.served++
	z.transmit(sv.Peer, peerwire.Message{ID: peerwire.Piece, Index: sv.Block.Piece, Begin: sv.Block.Begin, Data: data})
	z.w.after(time.Millisecond, func() {
		z.s.Sent(z.w.now, sv.Peer, 1, int64(sv.Block.Length))
		z.perform()
	})
}

// verify judges a block as the store does.
func (z *citizen) verify(v Verification) {
	out := Verdict{Block: v.Block, OK: v.Leaf == nil || sha256.Sum256(v.Data) == *v.Leaf}
	if out.OK {
		d := z.drafts[v.Block.Piece]
		if d == nil {
			d = map[int][]byte{}
			z.drafts[v.Block.Piece] = d
		}
		d[int(v.Block.Begin/piece.BlockSize)] = v.Data
		if len(d) < z.layout.Blocks(int(v.Block.Piece)) {
			if v.Leaf != nil { // a verdict for each block that its leaf has proven
				z.w.after(time.Millisecond, func() { z.s.Verified(z.w.now, out); z.perform() })
			}
			return
		}
		out.Whole, out.Good = true, z.whole(v.Block.Piece, d, &out.False)
	}
	z.w.after(time.Millisecond, func() { z.s.Verified(z.w.now, out); z.perform() })
}

func (z *citizen) whole(index uint32, d map[int][]byte, wrong *[]int) bool {
	good := true
	for k := range z.layout.Blocks(int(index)) {
		good = good && bytes.Equal(d[k], z.content.block(z.layout, z.layout.Block(int(index), k)))
	}
	old := z.drafts[index|1<<31]
	delete(z.drafts, index)
	if !good {
		z.drafts[index|1<<31] = d
		return false
	}
	for k := range len(old) {
		if !bytes.Equal(old[k], d[k]) {
			*wrong = append(*wrong, k)
		}
	}
	z.have.Set(int(index))
	return true
}

// hashes answers a hash request from the data.
func (z *citizen) hashes(r peerwire.HashRange) []byte {
	i := slices.IndexFunc(z.content.torrent.Info.Files, func(f metainfo.File) bool { return f.Root == r.Root })
	if i < 0 {
		return nil
	}
	f := z.content.torrent.Info.Files[i]
	rng := metainfo.Range{Base: int(r.Base), Index: int(r.Index), Length: int(r.Length), ProofLayers: int(r.Proofs)}
	row := z.content.torrent.Layers[r.Root]
	if r.Base == 0 {
		if row = z.content.leaves[r.Root]; row == nil {
			row = leavesOf(z.content.data[f.Offset : f.Offset+f.Length])
			if z.content.leaves == nil {
				z.content.leaves = map[[32]byte][]byte{}
			}
			z.content.leaves[r.Root] = row
		}
	}
	out, err := metainfo.Prove(row, f.Length, rng)
	if err != nil {
		z.w.t.Errorf("%s was asked for %+v: %v", z.name, r, err)
		return nil
	}
	return out
}

func leavesOf(data []byte) (row []byte) {
	for len(data) > 0 {
		n := min(len(data), piece.BlockSize)
		sum := sha256.Sum256(data[:n])
		row = append(row, sum[:]...)
		data = data[n:]
	}
	return row
}
