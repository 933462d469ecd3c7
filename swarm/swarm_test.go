package swarm

import (
	"bytes"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"torrente/metainfo"
	"torrente/payment"
	"torrente/peerwire"
	"torrente/piece"
)

// kinds are the torrents that every download is tried with.
var kinds = []struct {
	name   string
	v1, v2 bool
}{{"v1", true, false}, {"hybrid", true, true}, {"v2", false, true}}

var sizes = []int64{700_000, 1, 16384, 0, 65_537, 300_000}

func TestDownload(t *testing.T) {
	for _, k := range kinds {
		for _, magnet := range []bool{false, true} {
			for _, leaves := range []bool{false, true} {
				name := k.name + map[bool]string{true: " magnet"}[magnet] + map[bool]string{true: " by leaves"}[leaves]
				t.Run(name, func(t *testing.T) {
					w := newWorld(t, 1)
					c := makeContent(t, 64<<10, k.v1, k.v2, sizes...)
					seed := w.settle("seed", c, Config{}, true, false)
					leech := w.settle("leech", c, Config{Leaves: leaves}, false, magnet)
					leech.meet(seed)
					w.run(time.Minute, leech.s.Complete)
					if !leech.have.Full() {
						t.Error("complete without having every piece")
					}
					if st := leech.s.Status(); st.Wasted > 0 || st.Left != 0 || st.Downloaded != leech.layout.Bytes() {
						t.Errorf("status at the end: %+v", st)
					}
				})
			}
		}
	}
}

// Two that have different halves and one that has nothing all get everything,
// the halves from each other; a seed that both finish with is left.
func TestSwarmOfMany(t *testing.T) {
	w := newWorld(t, 3)
	c := makeContent(t, 32<<10, true, true, 3_000_000)
	seed := w.settle("seed", c, Config{Slots: 2}, true, false)
	var leeches []*citizen
	for range 6 {
		z := w.settle("leech", c, Config{}, false, false)
		z.meet(seed)
		for _, o := range leeches {
			z.meet(o)
		}
		leeches = append(leeches, z)
	}
	w.run(10*time.Minute, func() bool {
		return !slices.ContainsFunc(leeches, func(z *citizen) bool { return !z.s.Complete() })
	})
	given := 0
	for _, z := range leeches {
		given += z.served
	}
	if given == 0 {
		t.Error("the leeches gave each other nothing")
	}
	w.pass(5 * time.Second)
	for _, z := range leeches {
		if st := z.s.Status(); st.Peers != 0 {
			t.Errorf("seeds stay connected to %d seeds", st.Peers)
		}
	}
}

// The same seed gives the same run, byte for byte; another seed another.
func TestRunsRepeat(t *testing.T) {
	run := func(seed uint64) []byte {
		w := newWorld(t, seed)
		w.delay += time.Duration(seed) * time.Millisecond
		c := makeContent(t, 32<<10, true, true, 1_000_000)
		s := w.settle("seed", c, Config{}, true, false)
		a, b := w.settle("a", c, Config{}, false, false), w.settle("b", c, Config{}, false, true)
		a.meet(s)
		b.meet(s)
		b.meet(a)
		w.run(time.Minute, func() bool { return a.s.Complete() && b.s.Complete() })
		return w.trace
	}
	if !bytes.Equal(run(1), run(1)) {
		t.Error("two runs with one seed differ")
	}
	if bytes.Equal(run(1), run(2)) {
		t.Error("runs with two seeds are the same")
	}
}

// A liar among honest peers is found and dropped, and the download completes:
// by the leaf in v2 torrents, in v1 torrents by comparing with a good copy.
func TestLiarIsDropped(t *testing.T) {
	for _, k := range kinds {
		for _, leaves := range []bool{false, true} {
			t.Run(k.name, func(t *testing.T) {
				w := newWorld(t, 5)
				c := makeContent(t, 256<<10, k.v1, k.v2, 2_000_000, 100)
				var honest []*citizen
				for range 3 {
					honest = append(honest, w.settle("honest", c, Config{}, true, false))
				}
				liar := w.settle("liar", c, Config{}, true, false)
				liar.lies = func(b piece.Block) bool { return b.Begin/piece.BlockSize%3 == 0 }
				leech := w.settle("leech", c, Config{Leaves: leaves}, false, false)
				for _, z := range append(honest, liar) {
					leech.meet(z)
				}
				w.run(10*time.Minute, leech.s.Complete)
				if !slices.ContainsFunc(leech.dropped, func(e error) bool { return errors.Is(e, errFalseData) }) {
					t.Errorf("nobody was dropped for false data: %v", leech.dropped)
				}
				if !leech.s.book.banned[liar.addr.Addr()] {
					t.Error("the liar is not banned")
				}
				for _, z := range honest {
					if leech.s.book.banned[z.addr.Addr()] {
						t.Error("an honest peer is banned")
					}
				}
			})
		}
	}
}

// Take gives nothing twice: what it names is done once.
func TestTakeIsOnce(t *testing.T) {
	w := newWorld(t, 1)
	c := makeContent(t, 32<<10, true, false, 100_000)
	s := New(Config{Info: c.torrent.Info})
	s.Opened(w.now, piece.FullBitfield(s.layout.Pieces()), nil)
	s.Join(w.now, 1, Peer{ID: [20]byte{1}})
	if n := len(s.Take().Send); n == 0 {
		t.Fatal("nothing is sent to a new peer")
	}
	if e := s.Take(); len(e.Send)+len(e.Verify)+len(e.Serve)+len(e.Drop)+len(e.Free) != 0 {
		t.Errorf("a second Take gives %+v", e)
	}
}

func fullOf(s *Swarm) *piece.Bitfield { return piece.FullBitfield(s.layout.Pieces()) }

// hostile plays one peer against a Swarm that has half of the pieces.
type hostile struct {
	t   *testing.T
	s   *Swarm
	now time.Time
}

func newHostile(t *testing.T, about Peer) *hostile {
	c := makeContent(t, 32<<10, true, true, 1_000_000)
	h := &hostile{t: t, s: New(Config{Info: c.torrent.Info, Layers: c.torrent.Layers}), now: time.Unix(1e9, 0)}
	have := piece.NewBitfield(h.s.layout.Pieces())
	for i := 0; i < have.Len(); i += 2 {
		have.Set(i)
	}
	h.s.Opened(h.now, have, nil)
	about.ID, about.Addr = [20]byte{9}, netip.MustParseAddrPort("10.9.9.9:9")
	h.s.Join(h.now, 1, about)
	return h
}

func (h *hostile) says(m ...peerwire.Message) *hostile {
	for i := range m {
		h.s.Receive(h.now, 1, m[i])
	}
	return h
}

func (h *hostile) droppedFor(want error) {
	h.t.Helper()
	for _, d := range h.s.Take().Drop {
		if errors.Is(d.Why, want) {
			return
		}
	}
	h.t.Errorf("not dropped for %q", want)
}

func repeat(n int, m peerwire.Message) []peerwire.Message {
	return slices.Repeat([]peerwire.Message{m}, n)
}

func TestHostilePeersAreDropped(t *testing.T) {
	request := func(p, b, l uint32) peerwire.Message { return peerwire.BlockMessage(peerwire.Request, p, b, l) }
	const most = 1<<32 - 1
	for _, c := range []struct {
		name string
		want error
		says []peerwire.Message
	}{
		{"have beyond the end", errBadIndex, []peerwire.Message{peerwire.HaveMessage(most)}},
		{"have just beyond the end", errBadIndex, []peerwire.Message{peerwire.HaveMessage(31)}},
		{"bitfield with spare bits", errBadBitfield, []peerwire.Message{{ID: peerwire.Bitfield, Data: []byte{0, 0, 0, 1}}}},
		{"requests past the piece", errBadRequests, repeat(maxRefused+1, request(0, 32<<10, 1))},
		{"requests that wrap 32 bits", errBadRequests, repeat(maxRefused+1, request(0, most-1, 16))},
		{"requests of nothing", errBadRequests, repeat(maxRefused+1, request(0, 0, 0))},
		{"requests too long", errBadRequests, repeat(maxRefused+1, request(0, 0, piece.BlockSize+1))},
		{"requests of what we lack", errBadRequests, repeat(maxRefused+1, request(1, 0, 16))},
		{"requests while choked", errBadRequests, repeat(maxQueue+1, request(0, 0, 16))},
		{"requests without end", errTooManyAsks, append([]peerwire.Message{peerwire.Of(peerwire.Interested)}, repeat(maxQueue+serveWindow+1, request(0, 0, 16))...)},
		{"blocks that nobody asked for", errUnasked, repeat(maxUnwanted+1, peerwire.Message{ID: peerwire.Piece, Index: 1, Length: 16, Data: make([]byte, 16)})},
		{"an unknown message", errBadMessage, []peerwire.Message{{ID: 99}}},
		{"an extended handshake of garbage", errBadMessage, []peerwire.Message{peerwire.ExtendedMessage(0, []byte("d1:m"))}},
		{"metadata without a type", errBadMessage, []peerwire.Message{peerwire.ExtendedMessage(extMetadata, []byte("de"))}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, fast := range []bool{false, true} {
				newHostile(t, Peer{Extended: true, Fast: fast, V2: true}).says(c.says...).droppedFor(c.want)
			}
		})
	}
}

// Every buffer of a piece message is given on exactly once, whoever sends it.
func TestBuffersAreNotLost(t *testing.T) {
	h := newHostile(t, Peer{})
	block := func() peerwire.Message {
		return peerwire.Message{ID: peerwire.Piece, Index: 1, Length: 16, Data: make([]byte, 16)}
	}
	h.says(block())
	h.s.Receive(h.now, 77, block()) // a peer that is gone
	if n := len(h.s.Take().Free); n != 2 {
		t.Errorf("%d of 2 buffers are freed", n)
	}
}

func TestSilentPeersLoseTheirRequests(t *testing.T) {
	w := newWorld(t, 1)
	c := makeContent(t, 64<<10, true, false, 200_000)
	mute := w.settle("mute", c, Config{}, true, false)
	seed := w.settle("seed", c, Config{}, true, false)
	leech := w.settle("leech", c, Config{}, false, false)
	leech.meet(mute)
	w.pass(time.Second / 20) // asked, not yet answered
	for _, l := range mute.links {
		l.closed = true // its packets are lost; nobody is told
	}
	w.pass(time.Second)
	leech.meet(seed)
	start := w.now
	w.run(5*time.Minute, leech.s.Complete)
	if took := w.now.Sub(start); took > snubTime+10*time.Second {
		t.Errorf("the silent peer's blocks came only after %v", took)
	}
}

func TestKeepAliveAndPatience(t *testing.T) {
	h := newHostile(t, Peer{})
	h.s.Take()
	var sent []peerwire.ID
	for range 149 {
		h.now = h.now.Add(time.Second)
		h.s.Advance(h.now)
		for _, m := range h.s.Take().Send {
			sent = append(sent, m.Message.ID)
		}
	}
	if !slices.Contains(sent, peerwire.KeepAlive) {
		t.Errorf("no keep-alive in %v", sent)
	}
	h.now = h.now.Add(2 * time.Second)
	h.s.Advance(h.now)
	h.droppedFor(errSilent)
}

// False metadata costs the peer that sent it the connection, and the next peer
// is asked.
func TestFalseMetadata(t *testing.T) {
	w := newWorld(t, 1)
	c := makeContent(t, 32<<10, true, true, 200_000)
	other := makeContent(t, 16<<10, true, true, 300_000)
	liar := w.settle("liar", other, Config{}, true, false)
	seed := w.settle("seed", c, Config{}, true, false)
	leech := w.settle("leech", c, Config{}, false, true)
	leech.meet(liar)
	w.pass(2 * time.Second)
	if !slices.ContainsFunc(leech.dropped, func(e error) bool { return errors.Is(e, errFalseData) }) {
		t.Fatalf("the liar was not dropped: %v", leech.dropped)
	}
	leech.meet(seed)
	w.run(time.Minute, leech.s.Complete)
}

// Of a sold torrent nobody gets data who has no account, whatever it asks for;
// and such peers get a quarter of the connections.
func TestSoldTorrentsGiveStrangersNothing(t *testing.T) {
	w := newWorld(t, 1)
	c := makeContent(t, 32<<10, true, true, 200_000)
	info := *c.torrent.Info
	info.Pay = &metainfo.Pay{Federation: "https://example.org"}
	c.torrent.Info = &info
	seed := w.settle("seed", c, Config{MaxPeers: 8}, true, false)
	free := *c.torrent.Info
	free.Pay = nil // a stock client does not know what `pay` means
	stock := &content{torrent: &metainfo.Torrent{Info: &free, Layers: c.torrent.Layers}, data: c.data}
	leech := w.settle("stock", stock, Config{}, false, false)
	leech.meet(seed)
	w.pass(30 * time.Second)
	for _, l := range seed.links { // it asks without being unchoked
		seed.s.Receive(w.now, l.other.links[l.otherID].otherID, peerwire.BlockMessage(peerwire.Request, 0, 0, 16384))
		seed.perform()
	}
	w.pass(time.Second)
	if seed.served != 0 {
		t.Errorf("%d blocks were given away", seed.served)
	}
	for range 5 {
		w.settle("another", stock, Config{}, false, false).meet(seed)
	}
	w.pass(10 * time.Second)
	if n := seed.s.Status().Peers; n > 2 {
		t.Errorf("%d of 8 connections are with peers that cannot pay", n)
	}
}

// The newest connection of an account wins.
func TestOneConnectionAnAccount(t *testing.T) {
	h := newHostile(t, Peer{Pay: true})
	h.s.Join(h.now, 2, Peer{ID: [20]byte{8}, Pay: true})
	h.s.Authenticated(h.now, 1, payment.Account{1})
	if d := h.s.Take().Drop; len(d) != 0 {
		t.Fatalf("dropped %v", d)
	}
	h.s.Authenticated(h.now, 2, payment.Account{1})
	h.droppedFor(errReplaced)
}

// BenchmarkReceiveBlock is the core's work for one block: at most 1 us and no
// allocation.
func BenchmarkReceiveBlock(b *testing.B) {
	c := makeBenchContent(b)
	s := New(Config{Info: c.torrent.Info})
	now := time.Unix(1e9, 0)
	s.Opened(now, piece.NewBitfield(s.layout.Pieces()), nil)
	s.Join(now, 1, Peer{ID: [20]byte{1}, Fast: true})
	s.Receive(now, 1, peerwire.Of(peerwire.HaveAll))
	s.Receive(now, 1, peerwire.Of(peerwire.Unchoke))
	var asked []peerwire.Message
	data := make([]byte, piece.BlockSize)
	b.ReportAllocs()
	for b.Loop() {
		if len(asked) == 0 {
			b.StopTimer()
			for _, m := range s.Take().Send {
				if m.Message.ID == peerwire.Request {
					asked = append(asked, m.Message)
				}
			}
			if len(asked) == 0 {
				b.Fatal("nothing more to ask")
			}
			b.StartTimer()
		}
		m := asked[0]
		asked = asked[1:]
		m.ID, m.Data = peerwire.Piece, data
		s.Receive(now, 1, m)
	}
}
