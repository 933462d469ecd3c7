package swarm

import (
	"crypto/sha256"
	"net/netip"
	"slices"
	"testing"
	"time"

	"torrente/bencode"
	"torrente/metainfo"
	"torrente/peerwire"
	"torrente/piece"
)

// stage is a Swarm whose peers the test plays.
type stage struct {
	t   *testing.T
	s   *Swarm
	now time.Time
}

func newStage(t *testing.T, cfg Config, have func(n int) *piece.Bitfield) *stage {
	g := &stage{t: t, s: New(cfg), now: time.Unix(1e9, 0)}
	if have != nil {
		g.s.Opened(g.now, have(g.s.layout.Pieces()), nil)
	}
	return g
}

// from is an address of the n-th peer.
func from(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 9, byte(n >> 8), byte(n)}), 1000)
}

// join lets a peer in that has an id and address of its own, and returns what
// it is dropped for.
func (g *stage) join(id PeerID, about Peer) []Dropping {
	if about.ID == [20]byte{} {
		about.ID = [20]byte{1, byte(id), byte(id >> 8)}
	}
	if !about.Addr.IsValid() {
		about.Addr = from(int(id))
	}
	g.s.Join(g.now, id, about)
	return slices.Clone(g.s.Take().Drop)
}

func (g *stage) says(id PeerID, m ...peerwire.Message) {
	for i := range m {
		g.s.Receive(g.now, id, m[i])
	}
}

// second lets one pass, in which all peers show that they are there.
func (g *stage) second(ids ...PeerID) {
	g.now = g.now.Add(time.Second)
	for _, id := range ids {
		g.says(id, peerwire.Of(peerwire.KeepAlive))
	}
	g.s.Advance(g.now)
}

// sent takes what was sent to a peer.
func (g *stage) sent(to PeerID) (out []peerwire.Message) {
	for _, m := range g.s.Take().Send {
		if m.Peer == to {
			out = append(out, m.Message)
		}
	}
	return out
}

// serve answers what a peer is asked for, and tells that whole pieces are as
// good says.
func (g *stage) serve(id PeerID, good bool) {
	for _, r := range g.sent(id) {
		if r.ID != peerwire.Request {
			continue
		}
		g.says(id, peerwire.Message{ID: peerwire.Piece, Index: r.Index, Begin: r.Begin, Length: r.Length, Data: make([]byte, r.Length)})
		if !g.s.picker.Missing(int(r.Index)) {
			g.s.Verified(g.now, Verdict{Block: piece.Block{Piece: r.Index}, OK: true, Whole: true, Good: good})
		}
	}
}

func hybridContent(t *testing.T) *content { return makeContent(t, 32<<10, true, true, 1_000_000) }

// What a peer said before the metadata was known is counted whole or not at
// all.
func TestEarlyHavesBeyondTheEnd(t *testing.T) {
	c := hybridContent(t)
	g := newStage(t, Config{Info: c.torrent.Info, Layers: c.torrent.Layers}, nil)
	g.join(1, Peer{})
	g.says(1, peerwire.HaveMessage(0), peerwire.HaveMessage(1<<31))
	g.s.Opened(g.now, piece.NewBitfield(g.s.layout.Pieces()), nil)
	if d := g.s.Take().Drop; len(d) != 1 || d[0].Why != errBadIndex {
		t.Errorf("dropped: %v", d)
	}
	g.s.Leave(g.now, 1)
	// A later bitfield that is false takes nothing back that was counted.
	g.join(2, Peer{})
	g.says(2, peerwire.HaveMessage(3), peerwire.Message{ID: peerwire.Bitfield, Data: []byte{1}})
	g.s.Leave(g.now, 2)
	g.join(3, Peer{})
	g.says(3, peerwire.HaveMessage(3))
	g.s.Leave(g.now, 3)
}

func TestBannedAddressesAreRefused(t *testing.T) {
	c := hybridContent(t)
	g := newStage(t, Config{Info: c.torrent.Info, Layers: c.torrent.Layers}, piece.NewBitfield)
	g.s.book.ban(from(1).Addr())
	if d := g.join(1, Peer{}); len(d) != 1 || d[0].Why != errBanned {
		t.Errorf("dropped: %v", d)
	}
}

// One address cannot take all places, and those that it has and does not use
// go to others; we always have some to dial from.
func TestOneAddressCannotCrowdOthersOut(t *testing.T) {
	c := hybridContent(t)
	g := newStage(t, Config{Info: c.torrent.Info, Layers: c.torrent.Layers, MaxPeers: 40}, piece.NewBitfield)
	let := 0
	for i := range 40 {
		if len(g.join(PeerID(i+1), Peer{Addr: netip.AddrPortFrom(from(1).Addr(), uint16(1+i))})) == 0 {
			let++
		}
	}
	if let != 20 {
		t.Errorf("%d connections of one address in 40 places", let)
	}
	for i := range 20 {
		g.join(PeerID(100+i), Peer{})
	}
	if n := g.s.connected(); n != 30 {
		t.Errorf("%d of 40 places are taken by incoming connections, want three quarters", n)
	}
	g.s.Found(g.now, []netip.AddrPort{from(500)}, FromUser)
	if n := len(g.s.Take().Dial); n != 1 {
		t.Error("what the user named is not dialled")
	}
	g.now = g.now.Add(idleTime)
	d := g.join(200, Peer{})
	if len(d) != 1 || d[0].Peer != 1 || d[0].Why != errIdle {
		t.Errorf("for a new peer %v is dropped, want the first, which is idle", d)
	}
}

// Nobody keeps a peer out by taking its id.
func TestBorrowedPeerID(t *testing.T) {
	c := hybridContent(t)
	g := newStage(t, Config{Info: c.torrent.Info}, piece.NewBitfield)
	g.join(1, Peer{ID: [20]byte{7}, Addr: from(1)})
	if d := g.join(2, Peer{ID: [20]byte{7}, Addr: from(2), Outgoing: true}); len(d) > 0 {
		t.Errorf("dropped: %v", d)
	}
	if d := g.join(3, Peer{ID: [20]byte{7}, Addr: from(2)}); len(d) != 1 || d[0].Why != errDuplicate {
		t.Errorf("the same twice: %v", d)
	}
}

func metadataOffer(size int) peerwire.Message {
	b, _ := bencode.Encode(map[string]any{"m": map[string]any{"ut_metadata": 3}, "metadata_size": size})
	return peerwire.ExtendedMessage(0, b)
}

// askedForMetadata reports whether a peer was asked since the last Take.
func (g *stage) askedForMetadata(id PeerID) bool {
	return slices.ContainsFunc(g.sent(id), func(m peerwire.Message) bool { return m.ID == peerwire.Extended && m.Index == 3 })
}

// A peer that claims much and gives little has a minute.
func TestMetadataInDribbles(t *testing.T) {
	c := hybridContent(t)
	id := sha256.Sum256(c.torrent.Info.Raw)
	g := newStage(t, Config{Proves: func(b []byte) bool { return sha256.Sum256(b) == id }}, nil)
	g.join(1, Peer{Extended: true})
	g.says(1, metadataOffer(maxMetadata))
	g.join(2, Peer{Extended: true})
	g.says(2, metadataOffer(len(c.torrent.Info.Raw)))
	next := 0
	for i := range 90 {
		if g.askedForMetadata(2) {
			return
		}
		if i%10 == 0 {
			b, _ := bencode.Encode(map[string]any{"msg_type": metadataData, "piece": next, "total_size": maxMetadata})
			g.says(1, peerwire.ExtendedMessage(extMetadata, append(b, make([]byte, metadataPiece)...)))
			next++
		}
		g.second(1, 2)
	}
	t.Errorf("the honest peer is not asked in 90 s; the other gave %d pieces", next)
}

// The only peer there is is asked again for what it did not give.
func TestMetadataIsAskedAgain(t *testing.T) {
	g := newStage(t, Config{Proves: func([]byte) bool { return false }}, nil)
	g.join(1, Peer{Extended: true})
	g.says(1, metadataOffer(1000))
	b, _ := bencode.Encode(map[string]any{"msg_type": metadataReject, "piece": 0})
	g.says(1, peerwire.ExtendedMessage(extMetadata, b))
	g.s.Take()
	for range 65 {
		g.second(1)
		if g.askedForMetadata(1) {
			return
		}
	}
	t.Error("it is not asked again")
}

// Who gives up its slot and asks for it again waits behind those who wait.
func TestTogglingInterestKeepsNoSlot(t *testing.T) {
	c := hybridContent(t)
	g := newStage(t, Config{Info: c.torrent.Info, Layers: c.torrent.Layers, Slots: 2}, piece.FullBitfield)
	for id := range PeerID(3) {
		g.join(id+1, Peer{})
		g.says(id+1, peerwire.Of(peerwire.Interested))
	}
	g.s.Take()
	g.says(1, peerwire.Of(peerwire.NotInterested), peerwire.Of(peerwire.Interested))
	if !slices.ContainsFunc(g.sent(3), func(m peerwire.Message) bool { return m.ID == peerwire.Unchoke }) {
		t.Error("the slot does not go to the peer that waits")
	}
}

// Each row of a piece's leaves is proven by itself: who sent a false one is
// banned, and nobody else.
func TestFalseLeafRowIsItsSendersFault(t *testing.T) {
	c := makeContent(t, 16<<20, false, true, 32<<20, 1)
	g := newStage(t, Config{Info: c.torrent.Info, Layers: c.torrent.Layers, Leaves: true}, piece.NewBitfield)
	rows := func(id PeerID) (asked []peerwire.HashRange) {
		for _, m := range g.sent(id) {
			if m.ID == peerwire.HashRequest {
				asked = append(asked, m.Rare.(peerwire.HashRange))
			}
		}
		return asked
	}
	w := newWorld(t, 1)
	seed := w.settle("seed", c, Config{}, true, false)
	g.join(1, Peer{V2: true, Fast: true})
	g.says(1, peerwire.Of(peerwire.HaveAll))
	g.second()
	asked := rows(1)
	if len(asked) != 4 {
		t.Fatalf("%d rows are asked for, want the 4 of two pieces", len(asked))
	}
	g.join(2, Peer{V2: true, Fast: true})
	g.says(2, peerwire.Of(peerwire.HaveAll))
	g.says(1, peerwire.Message{ID: peerwire.Hashes, Rare: asked[0], Data: seed.hashes(asked[0])})
	g.says(1, peerwire.Message{ID: peerwire.Hashes, Rare: asked[1], Data: make([]byte, len(seed.hashes(asked[1])))})
	g.s.Leave(g.now, 1)
	g.second(2)
	for _, r := range rows(2) {
		g.says(2, peerwire.Message{ID: peerwire.Hashes, Rare: r, Data: seed.hashes(r)})
	}
	if !g.s.book.banned[from(1).Addr()] || g.s.book.banned[from(2).Addr()] {
		t.Errorf("banned: %v", g.s.book.banned)
	}
	if len(g.s.trees.leaves.all) != 2 {
		t.Errorf("the leaves of %d pieces are known, want 2", len(g.s.trees.leaves.all))
	}
}

// The leaves of a piece of which most lies beyond the end of its file.
func TestLeavesOfAShortLastPiece(t *testing.T) {
	for _, size := range []int64{16<<20 + 100_000, 12 << 20} {
		w := newWorld(t, 1)
		c := makeContent(t, 16<<20, false, true, size, 1)
		seed := w.settle("seed", c, Config{}, true, false)
		leech := w.settle("leech", c, Config{Leaves: true}, false, false)
		leech.meet(seed)
		w.run(time.Minute, leech.s.Complete)
	}
}

// Leaves are asked for of pieces that somebody has, of peers that have them.
func TestLeavesOfAPeerWithLittle(t *testing.T) {
	c := makeContent(t, 1<<20, false, true, 64<<20, 1)
	g := newStage(t, Config{Info: c.torrent.Info, Layers: c.torrent.Layers, Leaves: true}, piece.NewBitfield)
	w := newWorld(t, 1)
	seed := w.settle("seed", c, Config{}, true, false)
	has := piece.NewBitfield(g.s.layout.Pieces())
	for i := range 4 {
		has.Set(i * 9)
	}
	g.join(1, Peer{V2: true, Fast: true})
	g.says(1, peerwire.Message{ID: peerwire.Bitfield, Data: has.Wire()}, peerwire.Of(peerwire.Unchoke))
	for range 5 {
		g.second(1)
		for _, m := range g.sent(1) {
			switch m.ID {
			case peerwire.HashRequest:
				r := m.Rare.(peerwire.HashRange)
				if !has.Has(int(r.Index) / 64) {
					t.Fatalf("the leaves of piece %d are asked of a peer without it", r.Index/64)
				}
				g.says(1, peerwire.Message{ID: peerwire.Hashes, Rare: r, Data: seed.hashes(r)})
			}
		}
	}
	if n := len(g.s.trees.leaves.all); n != has.Count() {
		t.Errorf("the leaves of %d pieces are known, want %d", n, has.Count())
	}
}

// A failed piece does not wait for leaves that nobody can tell, and not for
// long for those that nobody tells.
func TestFailedPieceWithoutLeaves(t *testing.T) {
	for _, tells := range []bool{false, true} {
		c := hybridContent(t)
		g := newStage(t, Config{Info: c.torrent.Info, Layers: c.torrent.Layers}, piece.NewBitfield)
		g.join(1, Peer{Fast: true})
		g.join(2, Peer{Fast: true, V2: true})
		if tells { // so it seems: it never answers
			g.says(2, peerwire.Of(peerwire.HaveAll))
		}
		g.says(1, peerwire.Of(peerwire.HaveAll), peerwire.Of(peerwire.Unchoke))
		g.serve(1, false)
		if g.s.totals.Wasted == 0 || (len(g.s.trees.failed) > 0) != tells {
			t.Fatalf("wasted %d bytes, waits for the leaves of %d pieces", g.s.totals.Wasted, len(g.s.trees.failed))
		}
		g.s.Leave(g.now, 1)
		g.join(3, Peer{Fast: true})
		g.says(3, peerwire.Of(peerwire.HaveAll), peerwire.Of(peerwire.Unchoke))
		for range 40 {
			g.serve(3, true)
			g.second(2, 3)
		}
		if !g.s.Complete() {
			t.Errorf("with an honest seed: %d of %d pieces", g.s.picker.Have().Count(), g.s.layout.Pieces())
		}
	}
}

func TestPoisonerThatLeftIsBanned(t *testing.T) {
	c := makeContent(t, 32<<10, true, false, 1_000_000)
	g := newStage(t, Config{Info: c.torrent.Info}, piece.NewBitfield)
	g.join(1, Peer{Fast: true})
	g.says(1, peerwire.Of(peerwire.HaveAll), peerwire.Of(peerwire.Unchoke))
	var first uint32
	for i, r := range slices.DeleteFunc(g.sent(1), func(m peerwire.Message) bool { return m.ID != peerwire.Request }) {
		if i == 0 {
			first = r.Index
		}
		if r.Index == first {
			g.says(1, peerwire.Message{ID: peerwire.Piece, Index: r.Index, Begin: r.Begin, Length: r.Length, Data: make([]byte, r.Length)})
		}
	}
	g.s.Leave(g.now, 1)
	g.s.Verified(g.now, Verdict{Block: piece.Block{Piece: first}, OK: true, Whole: true})
	if !g.s.book.banned[from(1).Addr()] {
		t.Error("who sent a whole false piece and left is not banned")
	}
}

// A refusal of hashes is not for life.
func TestRefusedHashesAreAskedAgain(t *testing.T) {
	c := makeContent(t, 32<<10, false, true, 1_000_000, 1)
	g := newStage(t, Config{Info: c.torrent.Info}, piece.NewBitfield) // layers unknown, as after a magnet link
	g.join(1, Peer{V2: true, Fast: true})
	g.says(1, peerwire.Of(peerwire.HaveAll))
	var times []int
	for i := range 150 {
		for _, m := range g.sent(1) {
			if m.ID == peerwire.HashRequest {
				times = append(times, i)
				g.says(1, peerwire.Message{ID: peerwire.HashReject, Rare: m.Rare})
			}
		}
		g.second(1)
	}
	if n := len(times); n < 4 || n > 6 || times[n-1] < 100 {
		t.Errorf("asked at seconds %v, want every 30", times)
	}
}

// Hashes of what we have not cost no reading, and not without end.
func TestHashRequestsInVain(t *testing.T) {
	c := hybridContent(t)
	g := newStage(t, Config{Info: c.torrent.Info, Layers: c.torrent.Layers}, piece.NewBitfield)
	g.join(1, Peer{V2: true, Fast: true})
	leaves := peerwire.HashRange{Root: c.torrent.Info.Files[0].Root, Length: 2}
	for range maxIdleAsks + 1 {
		g.says(1, peerwire.Message{ID: peerwire.HashRequest, Rare: leaves})
	}
	e := g.s.Take()
	if len(e.Hashes) > 0 {
		t.Errorf("%d rows of a piece that we lack are to be read", len(e.Hashes))
	}
	if len(e.Drop) != 1 || e.Drop[0].Why != errBadRequests {
		t.Errorf("dropped: %v", e.Drop)
	}
}

// What a peer asks for and does not read stays bounded: rows of hashes and
// pieces of the metadata wait until those before are written.
func TestRepliesWaitForTheReader(t *testing.T) {
	c := hybridContent(t)
	g := newStage(t, Config{Info: c.torrent.Info, Layers: c.torrent.Layers}, piece.FullBitfield)
	g.join(1, Peer{V2: true, Fast: true})
	row := peerwire.HashRange{Root: c.torrent.Info.Files[0].Root, Length: 2}
	for range 100 {
		g.says(1, peerwire.Message{ID: peerwire.HashRequest, Rare: row})
	}
	if n := len(g.s.Take().Hashes); n != heavyWindow {
		t.Fatalf("%d rows are to be read", n)
	}
	for range heavyWindow {
		g.s.HashesRead(g.now, 1, row, make([]byte, 64))
	}
	if n := len(g.s.Take().Hashes); n != 0 {
		t.Errorf("%d more rows are to be read, before the first are written", n)
	}
	g.s.Written(g.now, 1, 3)
	if n := len(g.s.Take().Hashes); n != 3 {
		t.Errorf("%d more rows are to be read, 3 were written", n)
	}
	for range maxReplies {
		g.says(1, peerwire.Message{ID: peerwire.HashRequest, Rare: row})
	}
	if d := g.s.Take().Drop; len(d) != 1 || d[0].Why != errTooManyAsks {
		t.Errorf("dropped: %v", d)
	}
}

// A choke comes behind the blocks that were handed on before it.
func TestChokeDoesNotOvertakeBlocks(t *testing.T) {
	c := hybridContent(t)
	g := newStage(t, Config{Info: c.torrent.Info, Layers: c.torrent.Layers}, piece.FullBitfield)
	g.join(1, Peer{})
	g.says(1, peerwire.Of(peerwire.Interested))
	g.s.Take()
	g.says(1, peerwire.BlockMessage(peerwire.Request, 0, 0, 16384), peerwire.Of(peerwire.NotInterested))
	e := g.s.Take()
	if len(e.Send) != 1 || len(e.Serve) != 1 || e.Serve[0].After != 0 {
		t.Errorf("sends %v, serves %v", e.Send, e.Serve)
	}
}

// Unasked blocks are forgiven in time.
func TestUnaskedBlocksAreForgiven(t *testing.T) {
	h := newHostile(t, Peer{})
	block := peerwire.Message{ID: peerwire.Piece, Index: 1, Length: 16, Data: make([]byte, 16)}
	for range maxUnwanted / forgiven * 2 {
		h.says(repeat(forgiven, block)...)
		h.now = h.now.Add(time.Second)
		h.s.Advance(h.now)
	}
	if d := h.s.Take().Drop; len(d) > 0 {
		t.Errorf("dropped: %v", d)
	}
}

// Who came before the files were open is told what we have bit by bit.
func TestManyPiecesAreToldInTurns(t *testing.T) {
	const pieces = announceAtOnce + 10
	g := newStage(t, Config{Info: &metainfo.Info{
		Raw: []byte("x"), Name: "many", HasV1: true, PieceLength: 16 << 10, Length: pieces * 16 << 10, Pieces: make([]byte, pieces*20),
	}}, nil)
	g.join(1, Peer{})
	g.s.Opened(g.now, piece.FullBitfield(g.s.layout.Pieces()), nil)
	told := map[uint32]bool{}
	hear := func() {
		for _, m := range g.sent(1) {
			if m.ID == peerwire.Have {
				told[m.Index] = true
			}
		}
	}
	if hear(); len(told) != announceAtOnce {
		t.Errorf("%d pieces are told at once", len(told))
	}
	g.second(1)
	if hear(); len(told) != pieces {
		t.Errorf("%d pieces are told in all", len(told))
	}
}
