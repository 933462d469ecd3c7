package node

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"torrente/identity"
	"torrente/internal/wiretap"
	"torrente/metainfo"
	"torrente/payment"
	"torrente/payment/contract"
	"torrente/payment/ledger"
	"torrente/payment/wallet"
	"torrente/peerwire"
	"torrente/piece/store"
	"torrente/swarm"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// goods is a torrent with its data on disk.
type goods struct {
	torrent *metainfo.Torrent
	dir     string
	data    []byte
}

func makeGoods(t *testing.T, size int, o metainfo.Options) *goods {
	t.Helper()
	g := &goods{dir: t.TempDir(), data: make([]byte, size)}
	r := rand.New(rand.NewPCG(1, 1))
	for i := range g.data {
		g.data[i] = byte(r.Uint32())
	}
	path := filepath.Join(g.dir, "goods")
	if err := os.WriteFile(path, g.data, 0o600); err != nil {
		t.Fatal(err)
	}
	g.torrent = pack(t, path, o)
	return g
}

// pack makes the torrent of a file.
func pack(t *testing.T, path string, o metainfo.Options) *metainfo.Torrent {
	t.Helper()
	c, err := store.List(path)
	if err != nil {
		t.Fatal(err)
	}
	p, err := metainfo.NewPlan(c.Name, c.Files, o)
	if err != nil {
		t.Fatal(err)
	}
	h, err := c.Hash(t.Context(), p, func(int64) {})
	if err != nil {
		t.Fatal(err)
	}
	info, err := p.Info(h)
	if err != nil {
		t.Fatal(err)
	}
	return &metainfo.Torrent{Info: info, Layers: h.Layers}
}

var hybrid = metainfo.Options{V1: true, V2: true}

// startNode listens on loopback.
func startNode(t *testing.T, member *Membership) *Node {
	t.Helper()
	return listening(t, Config{Member: member})
}

// listening starts a node that listens on loopback.
func listening(t *testing.T, cfg Config) *Node {
	t.Helper()
	t.TempDir() // what nodes save at their end must still have its folder then
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Listener = l
	cfg.Log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	n := New(cfg)
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

func at(n *Node) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), n.Port())
}

func add(t *testing.T, n *Node, o Options) *Torrent {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	o.Resume = filepath.Join(t.TempDir(), "resume")
	tr, err := n.Add(o)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// within fails the test if c is not closed soon.
func within(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(30 * time.Second):
		t.Fatalf("%s did not happen", what)
	}
}

// eventually polls what no channel tells.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	end := time.After(30 * time.Second)
	for !done() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("%s did not happen", what)
		}
	}
}

func TestDownload(t *testing.T) {
	g := makeGoods(t, 3<<20+5, hybrid)
	seed := add(t, startNode(t, nil), Options{Torrent: g.torrent, Dir: g.dir, SeedOnly: true})
	within(t, "the seed's check", seed.Opened())
	for name, o := range map[string]Options{
		"by torrent": {Torrent: g.torrent},
		"by link":    {Magnet: g.torrent.Magnet()},
	} {
		o.Dir = t.TempDir()
		o.Peers = []netip.AddrPort{at(seed.node)}
		leech := add(t, startNode(t, nil), o)
		within(t, "the download "+name, leech.Complete())
		if err := leech.Close(); err != nil {
			t.Error(err)
		}
		got, err := os.ReadFile(filepath.Join(o.Dir, "goods"))
		if err != nil || !bytes.Equal(got, g.data) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
}

// Seeds that are asked for at the same time all take part.
func TestDownloadFromMany(t *testing.T) {
	g := makeGoods(t, 8<<20, metainfo.Options{V1: true, PieceLength: 64 << 10})
	var peers []netip.AddrPort
	var seeds []*Torrent
	for range 3 {
		seed := add(t, startNode(t, nil), Options{Torrent: g.torrent, Dir: g.dir, SeedOnly: true})
		within(t, "a seed's check", seed.Opened())
		peers, seeds = append(peers, at(seed.node)), append(seeds, seed)
	}
	leech := add(t, startNode(t, nil), Options{Torrent: g.torrent, Peers: peers})
	within(t, "the download", leech.Complete())
	for i, s := range seeds {
		if s.Status().Uploaded == 0 {
			t.Errorf("seed %d gave nothing", i)
		}
	}
}

func TestOneTorrentOnce(t *testing.T) {
	g := makeGoods(t, 100, hybrid)
	n := startNode(t, nil)
	add(t, n, Options{Torrent: g.torrent})
	if _, err := n.Add(Options{Magnet: g.torrent.Magnet()}); err == nil || !strings.Contains(err.Error(), "already open") {
		t.Errorf("a second time: %v", err)
	}
}

// What is no handshake, or one for another torrent, ends without an answer
// that would tell what is open here.
func TestStrangersAtTheDoor(t *testing.T) {
	g := makeGoods(t, 100, hybrid)
	n := startNode(t, nil)
	add(t, n, Options{Torrent: g.torrent, Dir: g.dir})
	other := peerwire.Handshake{InfoHash: sha1.Sum([]byte("another"))}
	for name, says := range map[string][]byte{
		"http": []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"), "another torrent": other.Append(nil),
		"zeros": make([]byte, 68),
	} {
		c, err := net.Dial("tcp", at(n).String())
		if err != nil {
			t.Fatal(err)
		}
		c.Write(says)
		c.SetReadDeadline(time.Now().Add(20 * time.Second))
		if got, err := io.ReadAll(c); len(got) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s is answered with %q, %v", name, got, err)
		}
		c.Close()
	}
}

// club is a federation: its authority, its ledger, and whom it trusts.
type club struct {
	authority *identity.Authority
	trust     *identity.Trust
	ledger    *ledger.Embedded
	treasury  *identity.Identity
}

const (
	clubPrice = 2
	clubCoins = 1_000_000
)

func newClub(t *testing.T, msp string) *club {
	t.Helper()
	a, err := identity.NewAuthority(msp, time.Now(), 100*24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	c := &club{authority: a, trust: identity.NewTrust()}
	if err := c.trust.AddRoot(msp, a.Root()); err != nil {
		t.Fatal(err)
	}
	c.treasury = c.issue(t, "treasury")
	g := contract.Genesis{
		Created: uint64(time.Now().Unix()), Name: "club", Price: clubPrice,
		Organisations: []contract.Organisation{{MSP: msp, Administrator: accountOf(c.treasury), Roots: [][]byte{a.Root().Raw}}},
		Mints:         []contract.Mint{{Account: accountOf(c.treasury), Coins: clubCoins}},
	}
	raw, err := g.Encode()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "ledger")
	if err := ledger.Create(dir, raw); err != nil {
		t.Fatal(err)
	}
	if c.ledger, err = ledger.Open(dir, ledger.Config{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.ledger.Close() })
	return c
}

func accountOf(id *identity.Identity) payment.Account {
	p := id.Principal()
	return payment.AccountOf(p.MSP, p.SPKI)
}

// issue makes a member's key and certificate.
func (c *club) issue(t *testing.T, name string) *identity.Identity {
	t.Helper()
	key, err := identity.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	csr, err := identity.NewRequest(key, name)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := c.authority.Issue(csr, name, time.Now(), 50*24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	id, err := identity.New(key, []*x509.Certificate{cert})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// fund gives a member coins of the treasury.
func (c *club) fund(t *testing.T, m *Membership, coins payment.Amount) {
	t.Helper()
	signed, err := contract.Sign(c.treasury.Key(), c.treasury.Chain(), &contract.Transaction{
		Ledger: c.ledger.ID(), Time: uint64(time.Now().Unix()), Request: newRequest(),
		Args: &contract.Transfer{To: accountOf(m.Identity), Coins: coins},
	})
	if err != nil {
		t.Fatal(err)
	}
	if r, err := c.ledger.Submit(t.Context(), signed); err != nil || r.Err() != nil {
		t.Fatal(err, r.Err())
	}
}

// owes is how many units a member's wallet says that it owes.
func owes(m *Membership) (n int) {
	for _, o := range m.Wallet.Openings() {
		n += int(o.Owed)
	}
	return n
}

// redeemable is how many units a member can redeem.
func redeemable(m *Membership) int {
	units, _ := m.Wallet.Redeemable(time.Now())
	return int(units)
}

func (c *club) member(t *testing.T, name string) *Membership {
	t.Helper()
	id := c.issue(t, name)
	key, err := wallet.DeriveKey(id.Key())
	if err != nil {
		t.Fatal(err)
	}
	w, err := wallet.Open(t.TempDir(), wallet.Config{Account: accountOf(id), Ledger: c.ledger.ID(), Key: key})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return &Membership{Identity: id, Trust: c.trust, Ledger: c.ledger, Wallet: w}
}

// price makes options of a torrent that is sold on the club's ledger.
func (c *club) price() metainfo.Options {
	return metainfo.Options{V1: true, V2: true, Pay: &metainfo.Pay{Ledger: c.ledger.ID().Short(), Federation: "https://federation.example"}}
}

// first is what one side said on the first connection.
func first(t *testing.T, tap *wiretap.Tap, who int) (peerwire.Handshake, []peerwire.ID) {
	t.Helper()
	all := tap.Heard()
	if len(all) == 0 {
		t.Fatal("nothing was said")
	}
	return all[0][who].Handshake, all[0][who].IDs
}

// authenticated counts the peers whose account a torrent knows.
func authenticated(t *Torrent) int { return t.Status().Authenticated }

// Two members meet over a sold torrent: they authenticate each other, and from
// then on say nothing unsealed, both ways; data is not given.
func TestMembersAuthenticateAndSeal(t *testing.T) {
	c := newClub(t, "club")
	g := makeGoods(t, 1<<20, c.price())
	for name, o := range map[string]Options{"by torrent": {Torrent: g.torrent}, "by link": {Magnet: g.torrent.Magnet()}} {
		seller := add(t, startNode(t, c.member(t, "seller")), Options{Torrent: g.torrent, Dir: g.dir, SeedOnly: true})
		within(t, "the check", seller.Opened())
		r := wiretap.Start(t, "127.0.0.1", at(seller.node))
		o.Peers = []netip.AddrPort{r.Addr()}
		buyer := add(t, startNode(t, c.member(t, "buyer")), o)
		eventually(t, "authentication "+name, func() bool { return authenticated(seller) == 1 && authenticated(buyer) == 1 })
		within(t, "the metadata", buyer.Opened())
		eventually(t, "interest", func() bool { return buyer.Status().WantPayment == 1 })
		for who := range 2 {
			h, ids := first(t, r, who)
			if want := []peerwire.Feature{peerwire.PayOffer, peerwire.PayAnswer}[who]; !h.Has(want) {
				t.Errorf("side %d does not set its bit", who)
			}
			first := slices.Index(ids, peerwire.PaySealedID)
			if first < 0 || !slices.Contains(ids, peerwire.PayHelloID) || !slices.Contains(ids, peerwire.PayAuthID) {
				t.Fatalf("side %d said %v", who, ids)
			}
			for _, id := range ids[first:] {
				if id != peerwire.PaySealedID && id != peerwire.KeepAlive {
					t.Errorf("side %d said %v after the seal: %v", who, id, ids)
				}
			}
			if slices.Index(ids, peerwire.PayHelloID) < slices.Index(ids, peerwire.Extended) {
				t.Errorf("side %d: pay hello came before the extended handshake: %v", who, ids)
			}
		}
		if n := seller.Status().Uploaded; n != 0 {
			t.Errorf("%s: %d bytes were given away", name, n)
		}
	}
}

// A paid download over real sockets, on a real ledger: the files are the same,
// the buyer owes and has paid, and the seller can redeem, exactly the units
// there are; a late buyer buys from both.
func TestPaidDownload(t *testing.T) {
	c := newClub(t, "club")
	g := makeGoods(t, 24<<20+5, c.price()) // so much that none has it all at once
	units := int(g.torrent.Info.Units())
	seller, first, late := c.member(t, "seller"), c.member(t, "first"), c.member(t, "late")
	shop := add(t, startNode(t, seller), Options{Torrent: g.torrent, Dir: g.dir, SeedOnly: true})
	within(t, "the check", shop.Opened())
	if err := shop.node.Register(t.Context(), g.torrent.Info.Raw); err != nil {
		t.Fatal(err)
	}
	peers := []netip.AddrPort{at(shop.node)}
	for _, m := range []*Membership{first, late} {
		c.fund(t, m, 100_000)
		buyer := add(t, startNode(t, m), Options{Magnet: g.torrent.Magnet(), Peers: peers, Consent: Consent{100_000, clubPrice}})
		within(t, "the paid download", buyer.Complete())
		peers = append(peers, at(buyer.node))
		eventually(t, "the payment of all", func() bool { return int(buyer.Status().Paid) == units })
		if n := owes(m); n != units {
			t.Errorf("%s owes %d of %d units", m.Identity.Name(), n, units)
		}
	}
	eventually(t, "the count of all links", func() bool {
		return redeemable(seller)+redeemable(first) == 2*units
	})
	if redeemable(first) == 0 {
		t.Error("the late buyer bought nothing of the first")
	}
	due := redeemable(seller)
	for _, want := range []int{due, 0} { // a second time there is nothing more
		got, err := seller.Redeem(t.Context(), time.Now())
		if err != nil || int(got.Units) != want || got.Coins != payment.Amount(want*clubPrice) {
			t.Errorf("redeemed %+v, %v, want %d units", got, err, want)
		}
	}
	books, err := c.ledger.Audit()
	if err != nil {
		t.Error(err)
	}
	t.Logf("%+v", books)
	if got := int(shop.Status().Uploaded); got > 2*len(g.data) {
		t.Errorf("%d bytes were served", got)
	}
}

// Without coins, or over the limit, nothing is served, and the buyer knows why.
func TestNoMoneyNoData(t *testing.T) {
	c := newClub(t, "club")
	g := makeGoods(t, 1<<20, c.price())
	shop := add(t, startNode(t, c.member(t, "seller")), Options{Torrent: g.torrent, Dir: g.dir, SeedOnly: true})
	within(t, "the check", shop.Opened())
	if err := shop.node.Register(t.Context(), g.torrent.Info.Raw); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		coins, limit payment.Amount
		want         string
	}{{0, 1000, "fewer coins"}, {1000, 10, "costs up to 160 coins, and 10 are allowed"}} {
		m := c.member(t, "buyer")
		if x.coins > 0 {
			c.fund(t, m, x.coins)
		}
		buyer := add(t, startNode(t, m), Options{Torrent: g.torrent, Peers: []netip.AddrPort{at(shop.node)}, Consent: Consent{x.limit, clubPrice}})
		eventually(t, "the trouble", func() bool { return buyer.PaymentTrouble() != nil })
		if err := buyer.PaymentTrouble(); !strings.Contains(err.Error(), x.want) {
			t.Errorf("%q, want %q", err, x.want)
		}
	}
	if n := shop.Status().Uploaded; n != 0 {
		t.Errorf("%d bytes were given away", n)
	}
}

// Not one payment byte goes to a node without identity, one that was told to
// be plain, or about a torrent that is free.
func TestPlainIsPlain(t *testing.T) {
	c := newClub(t, "club")
	free, paid := makeGoods(t, 1<<20, hybrid), makeGoods(t, 1<<20, c.price())
	for _, x := range []struct {
		name          string
		g             *goods
		member        *Membership
		plain, offers bool
	}{
		{"a stock client asks a seller", paid, nil, false, false},
		{"a member is plain", paid, c.member(t, "plain"), true, false},
		{"members and a free torrent", free, c.member(t, "member"), false, false},
	} {
		seed := add(t, startNode(t, c.member(t, "seller")), Options{Torrent: x.g.torrent, Dir: x.g.dir, SeedOnly: true})
		within(t, "the check", seed.Opened())
		r := wiretap.Start(t, "127.0.0.1", at(seed.node))
		leech := add(t, startNode(t, x.member), Options{Torrent: x.g.torrent, Plain: x.plain, Peers: []netip.AddrPort{r.Addr()}})
		if x.g == free {
			within(t, "the free download", leech.Complete())
		} else {
			eventually(t, "their meeting", func() bool { return leech.Status().WantPayment == 1 })
		}
		for who := range 2 {
			h, ids := first(t, r, who)
			if h.Reserved[4] != 0 {
				t.Errorf("%s: side %d has reserved[4] = %d", x.name, who, h.Reserved[4])
			}
			for _, id := range ids {
				if id > peerwire.HashReject && id != peerwire.KeepAlive {
					t.Errorf("%s: side %d said %v", x.name, who, id)
				}
			}
		}
		if x.g == paid && seed.Status().Uploaded > 0 {
			t.Errorf("%s: data was given away", x.name)
		}
	}
}

// Whoever is refused learns why.
func TestRefusedMembers(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(t *testing.T, home *club, m *Membership)
		other bool
		want  error
	}{
		"another federation": {other: true, want: identity.ErrOtherFederation},
		"revoked": {spoil: func(_ *testing.T, home *club, m *Membership) {
			home.trust.RevokeSerial(m.Identity.Leaf().SerialNumber)
		}, want: identity.ErrRevoked},
		"root removed": {spoil: func(t *testing.T, home *club, m *Membership) {
			if !home.trust.RemoveRoot("club", home.authority.Root()) {
				t.Fatal("no root was removed")
			}
		}, want: identity.ErrRootRemoved},
	} {
		t.Run(name, func(t *testing.T) {
			home := newClub(t, "club")
			theirs := newClub(t, "club")
			g := makeGoods(t, 1<<20, home.price())
			m := home.member(t, "buyer")
			if c.other {
				m = theirs.member(t, "buyer")
			}
			own := &Membership{Identity: m.Identity, Wallet: m.Wallet, Ledger: home.ledger, Trust: identity.NewTrust()}
			own.Trust.AddRoot("club", home.authority.Root()) // the buyer believes the seller in any case
			seller := add(t, startNode(t, home.member(t, "seller")), Options{Torrent: g.torrent, Dir: g.dir, SeedOnly: true})
			within(t, "the check", seller.Opened())
			if c.spoil != nil {
				c.spoil(t, home, m)
			}
			buyer := add(t, startNode(t, own), Options{Torrent: g.torrent, Peers: []netip.AddrPort{at(seller.node)}})
			eventually(t, "the refusal", func() bool { return buyer.Refusal() != nil })
			if r, ok := errors.AsType[*identity.Refused](buyer.Refusal()); !ok || !errors.Is(r.Reason, c.want) {
				t.Errorf("refused with %q, want %q", buyer.Refusal(), c.want)
			}
			if n := authenticated(seller); n != 0 {
				t.Error("the seller believes the buyer")
			}
		})
	}
}

// A peer that breaks the rules of the payment messages loses its connection.
func TestPaymentOutOfTurn(t *testing.T) {
	c := newClub(t, "club")
	g := makeGoods(t, 1<<20, c.price())
	seller := add(t, startNode(t, c.member(t, "seller")), Options{Torrent: g.torrent, Dir: g.dir, SeedOnly: true})
	within(t, "the check", seller.Opened())
	hello := peerwire.Message{ID: peerwire.PayHelloID, Rare: peerwire.PayHello{Version: payVersion, Ledgers: [][8]byte{c.ledger.ID().Short()}}}
	for name, x := range map[string]struct {
		offer bool
		says  []peerwire.Message
	}{
		"payment without the bit": {false, []peerwire.Message{hello}},
		"two hellos":              {true, []peerwire.Message{hello, hello}},
		"no ledger in common":     {true, []peerwire.Message{{ID: peerwire.PayHelloID, Rare: peerwire.PayHello{Version: payVersion}}}},
		"auth before hello":       {true, []peerwire.Message{{ID: peerwire.PayAuthID, Data: []byte{1}}}},
		"garbage for TLS":         {true, []peerwire.Message{hello, {ID: peerwire.PayAuthID, Data: []byte("garbage")}}},
		"sealed without keys":     {true, []peerwire.Message{hello, {ID: peerwire.PaySealedID, Data: make([]byte, 32)}}},
		"pay in the clear":        {true, []peerwire.Message{hello, {ID: peerwire.PayID, Rare: peerwire.Pay{}}}},
	} {
		conn, err := net.Dial("tcp", at(seller.node).String())
		if err != nil {
			t.Fatal(err)
		}
		h := peerwire.Handshake{InfoHash: g.torrent.Info.HashV1(), PeerID: [20]byte{9}}
		if x.offer {
			h.Set(peerwire.PayOffer)
		}
		out := h.Append(nil)
		for _, m := range x.says {
			out = peerwire.Append(out, m)
		}
		conn.Write(out)
		conn.SetReadDeadline(time.Now().Add(8 * time.Second)) // sooner than the handshake's own time
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: the connection goes on", name)
		}
		conn.Close()
	}
}

// What was said before a connection ends is said, also if the peer was slow to
// read what came before it.
func TestLastWords(t *testing.T) {
	g := makeGoods(t, 100, hybrid)
	tr := add(t, startNode(t, nil), Options{Torrent: g.torrent})
	ours, theirs := net.Pipe()
	c := newConn(ours, 1, tr, peerwire.Limits{})
	var writer sync.WaitGroup
	writer.Go(func() { c.write(); c.close() })
	c.put(peerwire.HaveMessage(1))
	c.flush()
	first := make([]byte, 1)
	if _, err := io.ReadFull(theirs, first); err != nil { // the writer is in the middle of it
		t.Fatal(err)
	}
	c.put(peerwire.HaveMessage(2))
	writer.Go(c.closeAfter)
	eventually(t, "the order to end", c.last.Load)
	r := peerwire.NewReader(io.MultiReader(bytes.NewReader(first), theirs), nil)
	for want := uint32(1); want <= 2; want++ {
		if m, err := r.Next(); err != nil || m.Index != want {
			t.Fatalf("have %d: %v, %v", want, m, err)
		}
	}
	writer.Wait()
}

// A torrent that fails on disk ends with its reason.
func TestFailureEndsTorrent(t *testing.T) {
	g := makeGoods(t, 1<<20, hybrid)
	seed := add(t, startNode(t, nil), Options{Torrent: g.torrent, Dir: g.dir, SeedOnly: true})
	within(t, "the check", seed.Opened())
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "goods"), 0o700); err != nil { // in the place of the file
		t.Fatal(err)
	}
	leech := add(t, startNode(t, nil), Options{Torrent: g.torrent, Dir: dir, Peers: []netip.AddrPort{at(seed.node)}})
	within(t, "the end", leech.Ended())
	if err := leech.Err(); err == nil || !strings.Contains(err.Error(), "goods") {
		t.Errorf("ended with %v", err)
	}
}

// Status and Found may be called whenever, also while and after a torrent ends.
func TestCallsAroundTheEnd(t *testing.T) {
	g := makeGoods(t, 1<<20, hybrid)
	tr := add(t, startNode(t, nil), Options{Torrent: g.torrent})
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				tr.Status()
				tr.Found([]netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1")}, swarm.FromTracker)
			}
		})
	}
	within(t, "opening", tr.Opened())
	if err := tr.Close(); err != nil {
		t.Error(err)
	}
	stop()
	wg.Wait()
	if err := tr.Close(); err != nil {
		t.Errorf("a second close: %v", err)
	}
}

// Content may have holes that are its zeros: who seeds it has all of it.
func TestSeedWithHoles(t *testing.T) {
	g := &goods{dir: t.TempDir()}
	f, err := os.Create(filepath.Join(g.dir, "goods"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(1<<20), f.Close()); err != nil {
		t.Fatal(err)
	}
	seed := add(t, startNode(t, nil), Options{Torrent: pack(t, f.Name(), hybrid), Dir: g.dir, SeedOnly: true})
	within(t, "the check", seed.Opened())
	if st := seed.Status(); st.Left != 0 {
		t.Errorf("%d of %d bytes are missing", st.Left, st.Bytes)
	}
}
