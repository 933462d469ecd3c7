package node

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"torrente/metainfo"
	"torrente/peerwire"
	"torrente/piece/store"
)

// visit opens a connection to a node, as a peer of a torrent that the test
// plays, and reads the answer to its handshake.
func visit(t *testing.T, n *Node, tr *Torrent, id byte) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", at(n).String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	h := peerwire.Handshake{InfoHash: tr.hashes[0], PeerID: [20]byte{'x', id}}
	h.Set(peerwire.FeatureExtended)
	h.Set(peerwire.FeatureFast)
	h.Set(peerwire.FeatureV2)
	if _, err := c.Write(h.Append(nil)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 68)); err != nil {
		t.Fatalf("the door is closed: %v", err)
	}
	return c.(*net.TCPConn)
}

func wire(ms ...peerwire.Message) (b []byte) {
	for _, m := range ms {
		b = peerwire.Append(b, m)
	}
	return b
}

// Downloads that share a pool of blocks do not hold it all: each has a peer
// that gives every block but the first of its piece, until all others came.
func TestManyDownloadsShareThePool(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := New(Config{Listener: l, Blocks: 64, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() { n.Close() })
	var all []*Torrent
	for k := range 4 {
		g := makeGoods(t, 4<<20+k, metainfo.Options{V1: true, PieceLength: 1 << 20})
		tr := add(t, n, Options{Torrent: g.torrent})
		within(t, "the opening", tr.Opened())
		all = append(all, tr)
		go giveFirstBlocksLast(visit(t, n, tr, byte(k)), g.data)
	}
	for _, tr := range all {
		within(t, "a download", tr.Complete())
	}
}

// giveFirstBlocksLast serves what it is asked for; the first block of each
// piece comes when the others of the piece have.
func giveFirstBlocksLast(c net.Conn, data []byte) {
	c.Write(wire(peerwire.Of(peerwire.HaveAll), peerwire.Of(peerwire.Unchoke)))
	r := peerwire.NewReader(c, func() []byte { return make([]byte, 16<<10) })
	first, given := map[uint32]peerwire.Message{}, map[uint32]int{}
	give := func(m peerwire.Message) {
		at := int(m.Index)<<20 + int(m.Begin)
		c.Write(wire(peerwire.Message{ID: peerwire.Piece, Index: m.Index, Begin: m.Begin, Data: data[at : at+int(m.Length)]}))
	}
	for {
		m, err := r.Next()
		if err != nil {
			return
		}
		if m.ID != peerwire.Request {
			continue
		}
		if m.Begin == 0 {
			first[m.Index] = m
		} else {
			give(m)
			given[m.Index]++
		}
		left := (min(1<<20, len(data)-int(m.Index)<<20) + 16<<10 - 1) / (16 << 10)
		if f, asked := first[m.Index]; asked && given[m.Index] >= left-1 {
			give(f)
		}
	}
}

func TestPoolLetsGoOfWhoGivesUp(t *testing.T) {
	p := newPool(8, 1)
	one := p.get(nil)
	done := make(chan struct{})
	close(done)
	two := p.get(done)
	if two == nil || p.lent() != 2 {
		t.Fatalf("%d lent", p.lent())
	}
	p.put(two)
	p.put(one[:3])
	if p.lent() != 0 || p.made != 1 {
		t.Errorf("%d lent, %d made, want none and one", p.lent(), p.made)
	}
	got := make(chan []byte)
	one = p.get(nil)
	go func() { got <- p.get(nil) }()
	p.put(one)
	if b := <-got; len(b) != 8 {
		t.Errorf("a buffer of %d bytes", len(b))
	}
}

// Peers that ask and do not read cost a bounded amount of memory each, and
// keep nobody else from being served.
func TestPeersThatDoNotRead(t *testing.T) {
	g := makeGoods(t, 8<<20, metainfo.Options{V2: true, PieceLength: 16 << 10})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := New(Config{Listener: l, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() { n.Close() })
	tr := add(t, n, Options{Torrent: g.torrent, Dir: g.dir, SeedOnly: true})
	within(t, "the check", tr.Opened())
	var root [32]byte
	for r := range g.torrent.Layers {
		root = r
	}
	asks := bytes.Repeat(wire(peerwire.Message{ID: peerwire.HashRequest, Rare: peerwire.HashRange{Root: root, Length: 512}}), 1500)
	for i := range 40 {
		c := visit(t, n, tr, byte(i))
		c.SetReadBuffer(2048)
		if _, err := c.Write(asks); err != nil {
			t.Fatal(err)
		}
	}
	leech := add(t, startNode(t, nil), Options{Torrent: g.torrent, Peers: []netip.AddrPort{at(n)}})
	within(t, "the download of a peer that reads", leech.Complete())
	most := 0
	counted := make(chan struct{})
	tr.tell(func(time.Time) {
		for _, c := range tr.conns {
			c.mu.Lock()
			most = max(most, c.waiting)
			c.mu.Unlock()
		}
		close(counted)
	})
	within(t, "the count", counted)
	if most > 1<<20 {
		t.Errorf("%d bytes wait for a peer that does not read", most)
	}
}

// What piles up for a peer is bounded in bytes.
func TestOutboxIsBoundedInBytes(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	c := newConn(ours, 1, nil, peerwire.Limits{})
	for range maxWaiting / (16 << 10) {
		c.put(peerwire.Message{ID: peerwire.Hashes, Data: make([]byte, 16<<10)})
	}
	if !isClosed(c.done) {
		t.Error("a peer for which 4 MiB wait is not closed")
	}
	out := c.takeOutbox()
	if c.waiting == 0 {
		t.Error("what is being written weighs nothing")
	}
	if c.written(out); c.waiting != 0 {
		t.Errorf("%d bytes wait after all were written", c.waiting)
	}
}

// A file that is cut while it is seeded is noticed, now and at the next start.
func TestTruncatedWhileSeeding(t *testing.T) {
	g := makeGoods(t, 1<<20, hybrid)
	n := startNode(t, nil)
	o := Options{Torrent: g.torrent, Dir: g.dir, SeedOnly: true, Resume: filepath.Join(t.TempDir(), "resume")}
	open := func() *Torrent {
		tr, err := n.Add(o)
		if err != nil {
			t.Fatal(err)
		}
		within(t, "the check", tr.Opened())
		return tr
	}
	if err := open().Close(); err != nil {
		t.Fatal(err)
	}
	seed := open()
	if err := os.Truncate(filepath.Join(g.dir, "goods"), 1000); err != nil {
		t.Fatal(err)
	}
	add(t, startNode(t, nil), Options{Torrent: g.torrent, Peers: []netip.AddrPort{at(n)}})
	within(t, "the failure", seed.Ended())
	if err := seed.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(o.Resume); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the record is still there: %v", err)
	}
	if st := open().Status(); st.Have != 0 {
		t.Errorf("after a restart %d of %d pieces, with 1000 bytes on disk", st.Have, st.Pieces)
	}
}

// Those who connect and say nothing do not keep others out.
func TestSilentGuestsGiveWay(t *testing.T) {
	g := makeGoods(t, 100, hybrid)
	n := startNode(t, nil)
	tr := add(t, n, Options{Torrent: g.torrent, Dir: g.dir, SeedOnly: true})
	within(t, "the check", tr.Opened())
	for range maxGuests {
		c, err := net.Dial("tcp", at(n).String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	visit(t, n, tr, 1)
}

// A peer that accepts and says nothing does not delay the end.
func TestCloseDoesNotWaitForSilentPeers(t *testing.T) {
	g := makeGoods(t, 1<<20, hybrid)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		if c, err := l.Accept(); err == nil {
			accepted <- c
		}
	}()
	n := startNode(t, nil)
	add(t, n, Options{Torrent: g.torrent, Peers: []netip.AddrPort{netip.MustParseAddrPort(l.Addr().String())}})
	out := <-accepted // its dial waits for an answer
	defer out.Close()
	in, err := net.Dial("tcp", at(n).String()) // and this one for a handshake
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	start := time.Now()
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > handshakeTime/2 {
		t.Errorf("Close took %v", took)
	}
}

// The layers of a v2 torrent that came by a link are there after a restart, and
// with them the data on disk.
func TestLearnedLayersSurviveARestart(t *testing.T) {
	g := makeGoods(t, 4<<20, metainfo.Options{V2: true, PieceLength: 64 << 10})
	seed := add(t, startNode(t, nil), Options{Torrent: g.torrent, Dir: g.dir, SeedOnly: true})
	within(t, "the check", seed.Opened())
	n := startNode(t, nil)
	o := Options{
		Magnet: g.torrent.Magnet(), Dir: t.TempDir(), Resume: filepath.Join(t.TempDir(), "resume"),
		Peers: []netip.AddrPort{at(seed.node)},
	}
	for run := range 2 {
		leech, err := n.Add(o)
		if err != nil {
			t.Fatal(err)
		}
		within(t, "the download", leech.Complete())
		if d := leech.Status().Downloaded; run == 1 && d > 0 {
			t.Errorf("%d bytes are fetched again", d)
		}
		if err := leech.Close(); err != nil {
			t.Error(err)
		}
		store.RemoveResume(o.Resume) // the data has to be checked, with the layers
	}
}

// A hello of a version that we do not speak ends the connection.
func TestHelloOfAnotherVersion(t *testing.T) {
	s := &secure{ours: peerwire.PayHello{Version: payVersion, Ledgers: [][8]byte{{1}}}}
	if err := s.onHello(peerwire.PayHello{Version: payVersion + 1, Ledgers: [][8]byte{{1}}}); !errors.Is(err, errVersion) {
		t.Errorf("agreed on: %v", err)
	}
}

// askToPay begins an authentication from a loopback address, with bytes that are
// no TLS, and reports whether that was even looked at: the other side says why
// it refuses.
func askToPay(t *testing.T, tr *Torrent, ip string, id byte, ledger [8]byte) bool {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
	c, err := d.DialContext(t.Context(), "tcp", at(tr.node).String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	h := peerwire.Handshake{InfoHash: tr.hashes[0], PeerID: [20]byte{9, id}}
	h.Set(peerwire.PayOffer)
	_, err = c.Write(append(h.Append(nil), wire(
		peerwire.Message{ID: peerwire.PayHelloID, Rare: peerwire.PayHello{Version: payVersion, Ledgers: [][8]byte{ledger}}},
		peerwire.Message{ID: peerwire.PayAuthID, Data: []byte("garbage")})...))
	if err != nil {
		t.Fatal(err)
	}
	c.SetReadDeadline(time.Now().Add(8 * time.Second)) // sooner than the handshake's own time
	if _, err := io.CopyN(io.Discard, c, 68); err != nil {
		return false
	}
	r := peerwire.NewReader(c, func() []byte { return nil })
	r.Limits = peerwire.Limits{Pieces: tr.Info().NumPieces()}
	for {
		m, err := r.Next()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal("the connection goes on")
		}
		if err != nil {
			return false
		}
		if m.ID == peerwire.PayErrorID {
			return true
		}
	}
}

// Members behind one address, or one with many torrents, are not slowed down:
// what succeeds does not count.
func TestAuthenticationsThatSucceed(t *testing.T) {
	m := openMarket(t)
	for range authBurst + 10 {
		m.calls(0).conn.Close()
	}
}

// An address that begins one authentication after the other, all in vain, is
// looked at so often and no more; others are not its neighbours.
func TestAuthenticationsAreLimited(t *testing.T) {
	c := newClub(t, "club")
	g := makeGoods(t, 100, c.price())
	shop := add(t, startNode(t, c.member(t, "seller")), Options{Torrent: g.torrent, Dir: g.dir, SeedOnly: true})
	within(t, "the check", shop.Opened())
	ledger := c.ledger.ID().Short()
	began := time.Now()
	looked := 0
	for i := range byte(authBurst + 20) {
		if askToPay(t, shop, "127.0.0.1", i, ledger) {
			looked++
		}
	}
	if most := authBurst + int(time.Since(began)/authEvery) + 1; looked < authBurst || looked > most {
		t.Errorf("looked at %d of %d authentications, want %d", looked, authBurst+20, authBurst)
	}
	if !askToPay(t, shop, "127.0.0.2", 0, ledger) {
		t.Error("another address is refused for it")
	}
	buyer := add(t, startNode(t, c.member(t, "buyer")), Options{Torrent: g.torrent, Peers: []netip.AddrPort{at(shop.node)}})
	eventually(t, "the authentication of a member at that address", func() bool { return authenticated(buyer) == 1 })
}
