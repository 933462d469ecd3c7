package swarm

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"slices"
	"testing"
	"time"

	"torrente/metainfo"
	"torrente/payment"
	"torrente/peerwire"
	"torrente/piece"
)

// fakeLedger registers whatever it is given, a while later; it is what the
// ledger is to a Swarm: events.
type fakeLedger struct {
	w      *world
	delay  time.Duration
	height uint64
	caps   map[payment.CommitmentID]uint32
}

const testPrice = 3

func newFakeLedger(w *world) *fakeLedger {
	return &fakeLedger{w: w, delay: 200 * time.Millisecond, caps: map[payment.CommitmentID]uint32{}}
}

// register sets a cap and tells everybody.
func (l *fakeLedger) register(id payment.CommitmentID, cap uint32) {
	l.height++
	l.caps[id] = cap
	l.tell(id)
}

func (l *fakeLedger) tell(id payment.CommitmentID) {
	cap, ok := l.caps[id]
	if !ok {
		return
	}
	for _, z := range l.w.nodes {
		if z.ledger == l {
			z.s.Ledger(l.w.now, payment.LedgerEvent{Kind: payment.EventOpened, Height: l.height, Commitment: id, Cap: cap})
			z.perform()
		}
	}
}

// settleMember adds a node that can pay, with an account of its own.
func (w *world) settleMember(name string, c *content, l *fakeLedger, cfg Config, complete, magnet bool) *citizen {
	key, spki := testKey(w.t)
	cfg.Pays, cfg.Account = true, payment.AccountOf("org", spki)
	z := w.settle(name, c, cfg, complete, magnet)
	z.ledger, z.books, z.wallet, z.key, z.spki = l, map[payment.Account]*payment.Book{}, newFakeWallet(), key, spki
	z.holders = map[payment.Account]PeerID{}
	z.s.Ledger(w.now, payment.LedgerEvent{Kind: payment.EventPrice, Price: testPrice, Epoch: 1})
	return z
}

func testKey(t testing.TB) (*ecdsa.PrivateKey, []byte) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return key, spki
}

func (z *citizen) book(a payment.Account) *payment.Book {
	b := z.books[a]
	if b == nil {
		b = payment.NewBook(payment.BookConfig{Me: z.s.cfg.Account, Them: a, Price: testPrice, Floor: z.s.cfg.Floor})
		z.books[a] = b
	}
	return b
}

// performPays does what package node does with its Books and its wallet.
func (z *citizen) performPays(e *Pays) {
	torrent := payment.TorrentID(z.content.torrent.Info.ID())
	for _, d := range e.Owed {
		z.owed++
		z.wallet.owed[d.Commitment]++
	}
	for _, r := range e.Record {
		switch r.Kind {
		case RecordCommitment:
			z.wallet.claims[r.Commitment] = &Kept{Commitment: r.Commit.Commitment, Best: r.Commit.Commitment.Start()}
		case RecordReleased:
			z.wallet.released[r.Commitment] = r.Index
		case RecordLink:
			z.redeemable[r.Commitment] = r.Claim.Index
			z.wallet.claims[r.Commitment].Best = r.Claim
		}
	}
	for _, m := range e.Meet {
		book := z.book(m.Account)
		left, owed, n := book.Join(torrent), book.Owed(), book.Lease(torrent, m.Units)
		room := book.Room(torrent)
		left.Units = left.Units[uint64(len(left.Units))-book.Repeat(z.w.now, uint64(len(left.Units))):]
		if z.forgetful {
			left.Units = nil
		}
		z.listed, z.holders[m.Account] = left.Units, m.Peer
		z.w.after(0, func() { z.s.Met(z.w.now, m.Peer, m.Account, Meeting{left, owed, n, room}); z.perform() })
	}
	for _, r := range e.Resume {
		kept := z.resumed(r)
		z.w.after(0, func() { z.s.Resumed(z.w.now, r.Peer, r.Said, kept); z.perform() })
	}
	for _, c := range e.Count {
		got := z.book(c.Commitment.Payer).Count(z.w.now, c.Commitment, c.Index, c.Cap)
		z.w.after(0, func() { z.s.Counted(z.w.now, c, got); z.perform() })
	}
	for _, l := range e.Lend {
		book := z.book(l.Account)
		if !l.Again {
			l.Units = book.Lease(torrent, l.Units)
		} else if !book.Resend(z.w.now) {
			l.Units = 0
		}
		z.w.after(0, func() { z.s.Leased(z.w.now, l); z.perform() })
	}
	for _, l := range e.Return {
		z.book(l.Account).Return(torrent, l.Units)
	}
	for _, l := range e.Leave {
		if z.holders[l.Account] == l.Peer {
			delete(z.holders, l.Account)
			z.book(l.Account).Leave(z.w.now, torrent, l.Standing)
		} else { // a link that was counted too late for its connection
			z.book(l.Account).Paid(torrent, l.Ahead)
		}
	}
	for _, b := range z.books {
		if b.Unsafe() { // as a node keeps it
			b.Mark()
		}
	}
	for _, c := range e.Close {
		z.w.after(time.Millisecond, func() { z.close(c) })
	}
	for _, c := range e.Released {
		z.closes = append(z.closes, c)
		for account, d := range z.wallet.deals {
			if d.Commit.Commitment.ID() == c.Commitment {
				delete(z.wallet.deals, account)
			}
		}
	}
	for _, b := range e.Buy {
		z.w.after(z.ledger.delay, func() { z.deal(b) })
	}
	for _, r := range e.Raise {
		z.w.after(z.ledger.delay, func() { z.raise(r) })
	}
	for _, id := range e.Watch {
		z.w.after(time.Millisecond, func() { z.ledger.tell(id) })
	}
}

// raise registers a higher cap, as far as the frozen coins go.
func (z *citizen) raise(r Raise) {
	cap := z.ledger.caps[r.Commitment]
	if z.frozen > 0 {
		free := z.frozen
		for _, id := range z.deals {
			free -= min(free, z.ledger.caps[id])
		}
		r.Cap = min(r.Cap, cap+free)
	}
	if r.Cap <= cap {
		z.s.NotRaised(z.w.now, r.Commitment)
		z.perform()
		return
	}
	z.ledger.register(r.Commitment, r.Cap)
}

// fakeWallet keeps what package wallet keeps.
type fakeWallet struct {
	claims   map[payment.CommitmentID]*Kept
	deals    map[payment.Account]*Deal // the last with each seller
	released map[payment.CommitmentID]uint32
	owed     map[payment.CommitmentID]uint32
}

func newFakeWallet() *fakeWallet {
	return &fakeWallet{
		map[payment.CommitmentID]*Kept{},
		map[payment.Account]*Deal{},
		map[payment.CommitmentID]uint32{},
		map[payment.CommitmentID]uint32{},
	}
}

// resumed looks up what a buyer names again.
func (z *citizen) resumed(r Resume) *Kept {
	k := z.wallet.claims[r.Said.Commitment]
	if k == nil || k.Commitment.Payer != r.Account {
		return nil
	}
	book := z.book(r.Account)
	book.Settle(k.Commitment.Torrent, uint64(r.Said.Owed))
	out := *k
	out.Owed = book.Owed()
	return &out
}

// close signs, with what is a signature to a Swarm that is not asked to check.
func (z *citizen) close(c Ending) {
	signed, err := payment.Close{Commitment: c.Commitment, Final: c.Final}.Sign(z.key, "org", z.spki)
	if err != nil {
		z.w.t.Fatal(err)
	}
	z.wallet.claims[c.Commitment].Close = &signed
	z.s.Closed(z.w.now, c.Peer, signed)
	z.perform()
}

// deal opens a commitment for a purchase, or goes on with the last one.
func (z *citizen) deal(b Purchase) {
	if d := z.wallet.deals[b.Account]; d != nil && d.Commit.Commitment.ID() != b.Refused {
		id := d.Commit.Commitment.ID()
		again := *d
		again.Resumed, again.Index, again.Owed, again.Cap = true, z.wallet.released[id], z.wallet.owed[id], z.ledger.caps[id]
		again.Spent = again.Index >= d.Commit.Commitment.Links && again.Owed <= again.Index
		z.s.Bought(z.w.now, b.Peer, &again)
		z.perform()
		return
	}
	if b.Units == 0 {
		z.s.Bought(z.w.now, b.Peer, nil)
		z.perform()
		return
	}
	z.last++
	chain, err := payment.NewChain(payment.Seed{z.last, z.s.cfg.Account[0]}, payment.ChainID{z.last}, z.chainOf(b.Units))
	if err != nil {
		z.w.t.Fatal(err)
	}
	commit := payment.Commitment{
		Torrent: payment.TorrentID(z.content.torrent.Info.ID()), Payer: z.s.cfg.Account, Receiver: b.Account,
		Root: chain.Root(), Chain: payment.ChainID{z.last}, Links: chain.Len(), Price: testPrice, Epoch: 1,
		Expiry: uint64(z.w.now.Add(24 * time.Hour).Unix()),
	}
	first := uint32(min(8, b.Units))
	z.deals = append(z.deals, commit.ID())
	d := &Deal{Commit: peerwire.PayCommit{Alias: peerwire.Alias(z.last), Commitment: commit}, Links: chain, Cap: first, PayAhead: true}
	z.wallet.deals[b.Account] = d
	z.s.Bought(z.w.now, b.Peer, d)
	z.ledger.register(commit.ID(), first)
	z.perform()
}

// chainOf is how long a chain is for so many units.
func (z *citizen) chainOf(units uint64) uint32 {
	if z.short > 0 {
		return min(z.short, uint32(units))
	}
	return 1 << 12
}

// soldContent is content with a price.
func soldContent(t testing.TB, pieceLength int64, lengths ...int64) *content {
	t.Helper()
	return makePriced(t, &metainfo.Pay{Federation: "https://federation.example"}, pieceLength, true, true, lengths...)
}

// mayLose is how many units may be paid before they are judged, as section 4 has
// it: none, or in v1 torrents a piece, and another that is disputed.
func (z *citizen) mayLose() uint64 {
	if z.content.torrent.Info.HasV2 {
		return 0
	}
	return uint64(2 * z.content.torrent.Info.PieceLength / piece.BlockSize)
}

// watchRules checks, after every happening, what must hold at every instant:
// P1, no buyer has more unpaid units than its window; P2, no seller has links
// for more than it delivered and one unit.
func (w *world) watchRules() {
	var check func()
	check = func() {
		for _, z := range w.nodes {
			for _, p := range z.s.order {
				if z.ledger == nil || p.account.IsZero() {
					continue
				}
				sale, buy := &p.sale, &p.buy
				book := z.book(p.account)
				if unpaid := sale.served - min(sale.served, sale.counted); unpaid > max(book.Window(), 1) {
					w.t.Errorf("%s has served %d units and counted %d, with a window of %d", z.name, sale.served, sale.counted, book.Window())
				}
				if free := z.mayLose(); buy.links > buy.verified+free+prepaid {
					w.t.Errorf("%s has released %d links for %d verified units", z.name, buy.links, buy.verified)
				}
				if buy.deal != nil && buy.links > uint64(buy.deal.Cap) {
					w.t.Errorf("%s has released %d links over a cap of %d", z.name, buy.links, buy.deal.Cap)
				}
			}
		}
		w.after(time.Millisecond, check)
	}
	check()
}

// A paid download between strangers: every unit is paid once, and what the
// seller can redeem is what it served and the buyer owes.
func TestPaidDownload(t *testing.T) {
	for _, magnet := range []bool{false, true} {
		for _, floor := range []uint64{0, 1} {
			w := newWorld(t, 1)
			c := soldContent(t, 64<<10, 1_500_000, 1, 20_000)
			l := newFakeLedger(w)
			seller := w.settleMember("seller", c, l, Config{Floor: floor}, true, false)
			buyer := w.settleMember("buyer", c, l, Config{}, false, magnet)
			w.watchRules()
			buyer.meet(seller)
			w.run(5*time.Minute, buyer.s.Complete)
			w.pass(time.Second)
			units := uint32(c.torrent.Info.Units())
			if buyer.owed != int(units) || seller.served != int(units) {
				t.Errorf("%d units: %d owed, %d served", units, buyer.owed, seller.served)
			}
			if got := seller.total(); got != units {
				t.Errorf("the seller can redeem %d of %d units", got, units)
			}
			if st := buyer.s.Status(); st.Paid != uint64(units) {
				t.Errorf("the buyer paid %d of %d units", st.Paid, units)
			}
		}
	}
}

// The last piece is bought like the first, also if it is both, or the only one
// whose leaves are not known.
func TestPaidDownloadOfFewPieces(t *testing.T) {
	for _, x := range []struct{ pieceLength, length int64 }{
		{64 << 10, 50_000}, {1 << 20, 900_000}, {1 << 20, 1<<20 + 1}, {1 << 20, 28<<20 + 1}, {4 << 20, 11 * 4 << 20},
	} {
		for _, magnet := range []bool{false, true} {
			w := newWorld(t, 1)
			c := soldContent(t, x.pieceLength, x.length)
			l := newFakeLedger(w)
			seller := w.settleMember("seller", c, l, Config{}, true, false)
			buyer := w.settleMember("buyer", c, l, Config{}, false, magnet)
			buyer.meet(seller)
			w.run(5*time.Minute, buyer.s.Complete)
			w.pass(time.Second)
			if units := int(c.torrent.Info.Units()); buyer.owed != units || int(seller.total()) != units {
				t.Errorf("%+v: %d units, %d owed, %d paid", x, units, buyer.owed, seller.total())
			}
		}
	}
}

func (z *citizen) total() (n uint32) {
	for _, i := range z.redeemable {
		n += i
	}
	return n
}

// Several sellers, and buyers that sell to each other what they have: the
// books of all agree.
func TestPaidSwarm(t *testing.T) {
	w := newWorld(t, 9)
	c := soldContent(t, 32<<10, 2_000_000)
	l := newFakeLedger(w)
	a := w.settleMember("seller a", c, l, Config{}, true, false)
	b := w.settleMember("seller b", c, l, Config{}, true, false)
	first := w.settleMember("first", c, l, Config{}, false, false)
	w.watchRules()
	first.meet(a)
	first.meet(b)
	w.pass(3 * time.Second)
	late := w.settleMember("late", c, l, Config{}, false, false)
	late.meet(a)
	late.meet(first)
	w.run(10*time.Minute, func() bool { return first.s.Complete() && late.s.Complete() })
	w.pass(time.Second)
	units := int(c.torrent.Info.Units())
	if first.owed != units || late.owed != units {
		t.Errorf("%d units, %d and %d owed", units, first.owed, late.owed)
	}
	if first.served == 0 {
		t.Error("the first buyer sold nothing to the late one")
	}
	for _, z := range []*citizen{a, b, first} {
		if int(z.total()) != z.served {
			t.Errorf("%s served %d units and can redeem %d", z.name, z.served, z.total())
		}
	}
}

// Buyers that break the rules get no more than the window, and lose the
// connection where they lie.
func TestCheatingBuyers(t *testing.T) {
	chain, err := payment.NewChain(payment.Seed{1}, payment.ChainID{1}, 1000)
	if err != nil {
		t.Fatal(err)
	}
	c := soldContent(t, 64<<10, 1_000_000)
	good := payment.Commitment{
		Torrent: payment.TorrentID(c.torrent.Info.ID()), Payer: payment.Account{9}, Receiver: payment.Account{1},
		Root: chain.Root(), Chain: payment.ChainID{1}, Links: 1000, Price: testPrice, Epoch: 1, Expiry: 1e9 + 86400,
	}
	link := func(i uint32) peerwire.Message {
		k, _ := chain.Link(i)
		return peerwire.Message{ID: peerwire.PayID, Rare: peerwire.Pay{Alias: 1, Index: i, Link: k}}
	}
	commit := func(change func(*payment.Commitment)) peerwire.Message {
		k := good
		if change != nil {
			change(&k)
		}
		return peerwire.Message{ID: peerwire.PayCommitID, Rare: peerwire.PayCommit{Alias: 1, Commitment: k}}
	}
	request := func(k uint32) peerwire.Message {
		return peerwire.BlockMessage(peerwire.Request, 0, k*16384, 16384)
	}
	other := func(change func(*payment.Commitment)) []peerwire.Message { return []peerwire.Message{commit(change)} }
	for _, x := range []struct {
		name   string
		says   []peerwire.Message
		served int
		want   error // nil: it stays
	}{
		{"asks without a commitment", []peerwire.Message{request(0), request(1)}, 0, nil},
		{"pays for one and asks for three", []peerwire.Message{commit(nil), link(1), request(0), request(1), request(2)}, 1, nil},
		{"pays the same link twice", []peerwire.Message{commit(nil), link(1), link(1), request(0), request(1)}, 1, nil},
		{"pays for more than it may", []peerwire.Message{commit(nil), link(2)}, 0, errPaidTooMuch},
		{"pays far beyond", []peerwire.Message{commit(nil), link(1000)}, 0, errPaidTooMuch},
		{"shows a false link", []peerwire.Message{commit(nil), {ID: peerwire.PayID, Rare: peerwire.Pay{Alias: 1, Index: 1}}}, 0, errLink},
		{"pays on nothing", []peerwire.Message{link(1)}, 0, errPayUnknown},
		{"binds an alias again", []peerwire.Message{commit(nil), commit(nil)}, 0, errPayAgain},
		{"opens one commitment twice", []peerwire.Message{commit(nil), {ID: peerwire.PayCommitID, Rare: peerwire.PayCommit{Alias: 2, Commitment: good}}}, 0, errPayAgain},
		{"pays at another price", other(func(k *payment.Commitment) { k.Price = 1 }), 0, errCommitment},
		{"pays somebody else", other(func(k *payment.Commitment) { k.Receiver = payment.Account{7} }), 0, errCommitment},
		{"pays as somebody else", other(func(k *payment.Commitment) { k.Payer = payment.Account{7} }), 0, errCommitment},
		{"pays for another torrent", other(func(k *payment.Commitment) { k.Torrent = payment.TorrentID{7} }), 0, errCommitment},
		{"pays on another ledger", other(func(k *payment.Commitment) { k.Ledger = payment.LedgerID{7} }), 0, errCommitment},
		{"pays with what expires", other(func(k *payment.Commitment) { k.Expiry = 1e9 + 60 }), 0, errCommitment},
		{"asks for half a unit", append([]peerwire.Message{commit(nil), link(1)}, repeat(maxRefused+1, peerwire.BlockMessage(peerwire.Request, 0, 0, 8192))...), 0, errBadRequests},
	} {
		t.Run(x.name, func(t *testing.T) {
			s := New(Config{Info: c.torrent.Info, Layers: c.torrent.Layers, Pays: true, Account: payment.Account{1}})
			h := &hostile{t: t, s: s, now: time.Unix(1e9, 0)}
			s.Opened(h.now, fullOf(s), nil)
			s.Ledger(h.now, payment.LedgerEvent{Kind: payment.EventPrice, Price: testPrice, Epoch: 1})
			s.Join(h.now, 1, Peer{ID: [20]byte{9}, Pay: true, Fast: true})
			s.Authenticated(h.now, 1, payment.Account{9})
			s.Met(h.now, 1, payment.Account{9}, Meeting{})
			h.says(peerwire.Of(peerwire.Interested))
			served, dropped := 0, error(nil)
			for _, m := range x.says {
				h.says(m)
				e := s.Take()
				served += len(e.Serve)
				if len(e.Drop) > 0 {
					dropped = e.Drop[0].Why
				}
				counts := slices.Clone(e.Pays.Count)
				if m.ID == peerwire.PayCommitID && dropped == nil {
					s.Ledger(h.now, payment.LedgerEvent{Kind: payment.EventOpened, Commitment: good.ID(), Cap: 1000})
				}
				for _, k := range counts {
					s.Counted(h.now, k, payment.Counted{Paid: uint64(k.Index)})
					served += len(s.Take().Serve)
				}
			}
			if served != x.served || dropped != x.want {
				t.Errorf("served %d units, want %d; dropped for %v, want %v", served, x.served, dropped, x.want)
			}
		})
	}
}

// A link that comes too late to be redeemed in time counts nothing, and so
// gets nothing.
func TestLateLinksCountNothing(t *testing.T) {
	chain, err := payment.NewChain(payment.Seed{1}, payment.ChainID{1}, 10)
	if err != nil {
		t.Fatal(err)
	}
	c := soldContent(t, 64<<10, 1_000_000)
	for _, x := range []struct {
		after  time.Duration
		counts int
	}{{minExpiry - lastLink - time.Second, 1}, {minExpiry - lastLink, 0}} {
		s := New(Config{Info: c.torrent.Info, Layers: c.torrent.Layers, Pays: true, Account: payment.Account{1}})
		h := &hostile{t: t, s: s, now: time.Unix(1e9, 0)}
		commit := payment.Commitment{
			Torrent: payment.TorrentID(c.torrent.Info.ID()), Payer: payment.Account{9}, Receiver: payment.Account{1},
			Root: chain.Root(), Chain: payment.ChainID{1}, Links: 10, Price: testPrice, Epoch: 1,
			Expiry: uint64(h.now.Add(minExpiry).Unix()),
		}
		s.Opened(h.now, fullOf(s), nil)
		s.Ledger(h.now, payment.LedgerEvent{Kind: payment.EventPrice, Price: testPrice, Epoch: 1})
		s.Join(h.now, 1, Peer{ID: [20]byte{9}, Pay: true, Fast: true})
		s.Authenticated(h.now, 1, payment.Account{9})
		h.says(peerwire.Message{ID: peerwire.PayCommitID, Rare: peerwire.PayCommit{Alias: 1, Commitment: commit}})
		s.Ledger(h.now, payment.LedgerEvent{Kind: payment.EventOpened, Commitment: commit.ID(), Cap: 10})
		s.Take()
		h.now = h.now.Add(x.after)
		link, _ := chain.Link(1)
		h.says(peerwire.Message{ID: peerwire.PayID, Rare: peerwire.Pay{Alias: 1, Index: 1, Link: link}})
		if n := len(s.Take().Pays.Count); n != x.counts {
			t.Errorf("after %v %d links count, want %d", x.after, n, x.counts)
		}
	}
}

// A cap that cannot be raised is asked for again, but not at once.
func TestRaiseAgain(t *testing.T) {
	s := New(Config{Info: soldContent(t, 64<<10, 1_000_000).torrent.Info, Pays: true})
	now := time.Unix(1e9, 0)
	s.Join(now, 1, Peer{ID: [20]byte{9}, Pay: true})
	p := s.peers[1]
	p.buy.deal, p.buy.id, p.buy.raising = &Deal{}, payment.CommitmentID{1}, true
	s.NotRaised(now, payment.CommitmentID{1})
	for _, x := range []struct {
		at      time.Duration
		raising bool
	}{{raisePause - time.Second, true}, {raisePause, false}} {
		s.tickPurchase(now.Add(x.at), p)
		if p.buy.raising != x.raising {
			t.Errorf("after %v: raising %v", x.at, p.buy.raising)
		}
	}
}

// Connections break again and again, and each side forgets what it did not
// keep: all units are paid once, on one commitment for each seller, nothing is
// lent twice, and at the end every seller has closed.
func TestBrokenConnections(t *testing.T) {
	for seed := range uint64(8) {
		w := newWorld(t, seed)
		c := soldContent(t, 32<<10, 3_000_000)
		l := newFakeLedger(w)
		a := w.settleMember("seller a", c, l, Config{}, true, false)
		b := w.settleMember("seller b", c, l, Config{Floor: 1}, true, false)
		buyer := w.settleMember("buyer", c, l, Config{}, false, false)
		buyer.meet(a)
		buyer.meet(b)
		w.after(time.Second, func() { buyer.breaks(a, b) })
		w.run(60*time.Minute, buyer.s.Complete)
		for _, seller := range []*citizen{a, b} { // what a broken connection left unpaid
			if !buyer.connected(seller) {
				buyer.meet(seller)
			}
		}
		w.pass(5 * time.Second)
		units := int(c.torrent.Info.Units())
		if buyer.owed < units || buyer.owed > units+maxDepth {
			t.Errorf("seed %d: %d units, %d owed", seed, units, buyer.owed)
		}
		if len(buyer.deals) > 2 {
			t.Errorf("seed %d: %d commitments were opened to two sellers", seed, len(buyer.deals))
		}
		var redeemable uint32
		for _, seller := range []*citizen{a, b} {
			redeemable += seller.total()
			if owes := seller.book(buyer.s.cfg.Account).Owed(); owes > seller.book(buyer.s.cfg.Account).Window() {
				t.Errorf("seed %d: %s lent %d units, more than its window", seed, seller.name, owes)
			}
		}
		if int(redeemable) < buyer.owed || int(redeemable) > buyer.owed+2 {
			t.Errorf("seed %d: %d units are owed, and %d redeemable", seed, buyer.owed, redeemable)
		}
	}
}

// breaks breaks connections again and again, and meets the sellers anew, until
// the download is complete.
func (z *citizen) breaks(sellers ...*citizen) {
	w := z.w
	for id := range z.links {
		if w.rnd.IntN(2) == 0 {
			z.hangUp(id, errSilent)
		}
	}
	w.after(50*time.Millisecond, func() {
		for _, seller := range sellers {
			if !z.s.Complete() && !z.connected(seller) {
				z.meet(seller)
			}
		}
	})
	if !z.s.Complete() {
		w.after(time.Duration(300+w.rnd.IntN(3000))*time.Millisecond, func() { z.breaks(sellers...) })
	}
}

// connected reports whether a connection to another is open.
func (z *citizen) connected(o *citizen) bool {
	for _, l := range z.links {
		if l.other == o && !l.closed {
			return true
		}
	}
	return false
}

// A buyer that is complete has the sellers' closes before it leaves.
func TestCloseAtTheEnd(t *testing.T) {
	w := newWorld(t, 3)
	c := soldContent(t, 64<<10, 700_000)
	l := newFakeLedger(w)
	seller := w.settleMember("seller", c, l, Config{}, true, false)
	buyer := w.settleMember("buyer", c, l, Config{}, false, false)
	buyer.meet(seller)
	w.run(5*time.Minute, buyer.s.Complete)
	w.pass(time.Second)
	units := uint32(c.torrent.Info.Units())
	if len(buyer.closes) != 1 || buyer.closes[0].Final != units {
		t.Fatalf("closes %+v, want one at %d", buyer.closes, units)
	}
	if err := buyer.closes[0].Verify(seller.s.cfg.Account); err != nil {
		t.Error(err)
	}
	if n := buyer.s.Unsettled(); n != 0 {
		t.Errorf("%d commitments are unsettled", n)
	}
	if buyer.connected(seller) {
		t.Error("two seeds stay connected")
	}
}

// A commitment is followed by the next before it ends, or when its chain is
// used up; nothing is due twice, and the window stays.
func TestNextCommitment(t *testing.T) {
	for name, c := range map[string]payment.Commitment{
		"its chain is used up": {Links: 10, Expiry: 1e9 + 86400},
		"it ends soon":         {Links: 1000, Expiry: 1e9 + 5*3600},
	} {
		s := New(Config{Info: soldContent(t, 64<<10, 1_000_000).torrent.Info, Pays: true})
		now := time.Unix(1e9, 0)
		s.Opened(now, piece.NewBitfield(s.layout.Pieces()), nil)
		s.Join(now, 1, Peer{ID: [20]byte{9}, Pay: true})
		p := s.peers[1]
		chain, err := payment.NewChain(payment.Seed{1}, payment.ChainID{1}, 1000)
		if err != nil {
			t.Fatal(err)
		}
		old := &Deal{Commit: peerwire.PayCommit{Commitment: c}, Links: chain, Cap: 10, PayAhead: true}
		p.weInterested = true
		p.buy = purchase{deal: old, id: payment.CommitmentID{1}, agreed: true, links: 8, verified: 10, window: 3, windowAt: 8}
		s.Take()
		s.input()
		s.tickPurchase(now, p)
		s.tickPurchase(now, p) // once
		e := s.Take()
		if len(e.Pays.Buy) != 1 || e.Pays.Buy[0].Refused != (payment.CommitmentID{1}) {
			t.Fatalf("%s: %+v", name, e.Pays.Buy)
		}
		next := c
		next.Slot = 1
		s.Bought(now, 1, &Deal{Commit: peerwire.PayCommit{Alias: 2, Commitment: next}, Links: chain, Cap: 5, PayAhead: true})
		var said []peerwire.ID
		for _, m := range s.Take().Send {
			said = append(said, m.Message.ID)
		}
		if !slices.Equal(said, []peerwire.ID{peerwire.PayID, peerwire.PayCommitID}) || p.buy.verified != 0 || p.buy.credit() != 3 || p.buy.agreed {
			t.Errorf("%s: said %v, then %+v", name, said, p.buy)
		}
	}
}

// lostInFlight is a buyer whose connection broke while as many units as its
// window allows were on their way.
func lostInFlight(w *world) (seller, buyer *citizen) {
	c := soldContent(w.t, 64<<10, 3_000_000)
	l := newFakeLedger(w)
	seller = w.settleMember("seller", c, l, Config{}, true, false)
	buyer = w.settleMember("buyer", c, l, Config{}, false, false)
	before := payment.Commitment{Payer: buyer.s.cfg.Account, Receiver: seller.s.cfg.Account, Links: 5000, Price: testPrice}
	seller.book(buyer.s.cfg.Account).Count(w.now, &before, 1024, 1024)
	buyer.meet(seller)
	w.run(time.Minute, func() bool { return buyer.owed > 40 })
	for id := range buyer.links {
		buyer.hangUp(id, errSilent)
	}
	w.pass(100 * time.Millisecond)
	if owed, window := seller.book(buyer.s.cfg.Account).Owed(), seller.book(buyer.s.cfg.Account).Window(); owed < window/2 {
		w.t.Fatalf("%d units were lost on their way, with a window of %d", owed, window)
	}
	return seller, buyer
}

// What was on its way when a connection broke is served again without a charge,
// and paid once: the download goes on at once and nobody owes anything at the
// end. (The window is full of what was lost: anything else has to wait.)
func TestLostUnitsComeAgain(t *testing.T) {
	for seed := range uint64(5) {
		w := newWorld(t, seed)
		w.watchRules()
		seller, buyer := lostInFlight(w)
		units := int(buyer.content.torrent.Info.Units())
		for range 3 { // and lost again on its way
			seller.listed = nil
			buyer.meet(seller)
			w.run(time.Minute, func() bool { return len(seller.listed) > 0 })
			had := buyer.owed
			w.run(time.Minute, func() bool { return buyer.owed > had+4 })
			for id := range buyer.links {
				buyer.hangUp(id, errSilent)
			}
			w.pass(100 * time.Millisecond)
		}
		began := w.now
		buyer.meet(seller)
		w.run(time.Minute, buyer.s.Complete)
		if took := w.now.Sub(began); took > 20*time.Second {
			t.Errorf("seed %d: the rest took %v", seed, took)
		}
		w.pass(time.Second)
		if owed := seller.book(buyer.s.cfg.Account).Owed(); owed != 0 || buyer.owed != units || int(seller.total()) != units {
			t.Errorf("seed %d: %d units, %d owed by the buyer's record, %d paid, %d unpaid", seed, units, buyer.owed, seller.total(), owed)
		}
	}
}

// What was lost on its way, and then came from another seller, is paid to the
// one who brought it. The first seller writes it off after a day: the buyer never
// has a default, its credit pays.
func TestLostUnitsFromElsewhere(t *testing.T) {
	for seed := range uint64(5) {
		w := newWorld(t, seed)
		w.watchRules()
		first, buyer := lostInFlight(w)
		second := w.settleMember("second", buyer.content, buyer.ledger, Config{}, true, false)
		buyer.meet(second)
		w.run(10*time.Minute, buyer.s.Complete)
		w.pass(time.Second)
		units, book := int(buyer.content.torrent.Info.Units()), first.book(buyer.s.cfg.Account)
		if paid := int(first.total() + second.total()); buyer.owed != units || paid > units || paid < units-int(book.Window()) {
			t.Errorf("seed %d: %d units, %d owed, %d paid", seed, units, buyer.owed, paid)
		}
		lost, credit := book.Owed(), book.Credit()
		book.Advance(w.now.Add(25 * time.Hour))
		if book.Defaulted() || book.Owed() != 0 || book.Credit() != credit-payment.Amount(lost*16*testPrice) {
			t.Errorf("seed %d: %d units were lost: %d are owed, defaulted %v, credit %d, then %d", seed, lost, book.Owed(), book.Defaulted(), credit, book.Credit())
		}
	}
}

// Who comes late, when its debt was written off, may pay it all the same: in one
// link, as much as it says itself that it owes.
func TestPaysWhatWasWrittenOff(t *testing.T) {
	for said, want := range map[uint32]int{5: 1, 3: 0} {
		c := soldContent(t, 64<<10, 1_000_000)
		chain, err := payment.NewChain(payment.Seed{1}, payment.ChainID{1}, 100)
		if err != nil {
			t.Fatal(err)
		}
		k := payment.Commitment{
			Torrent: payment.TorrentID(c.torrent.Info.ID()), Payer: payment.Account{9}, Receiver: payment.Account{1},
			Root: chain.Root(), Chain: payment.ChainID{1}, Links: 100, Price: testPrice, Epoch: 1, Expiry: 1e9 + 86400,
		}
		s := New(Config{Info: c.torrent.Info, Layers: c.torrent.Layers, Pays: true, Account: k.Receiver})
		h := &hostile{t: t, s: s, now: time.Unix(1e9, 0)}
		s.Opened(h.now, fullOf(s), nil)
		s.Ledger(h.now, payment.LedgerEvent{Kind: payment.EventPrice, Price: testPrice, Epoch: 1})
		s.Join(h.now, 1, Peer{ID: [20]byte{9}, Pay: true, Fast: true})
		s.Authenticated(h.now, 1, k.Payer)
		s.Met(h.now, 1, k.Payer, Meeting{})
		resume := peerwire.PayResume{Commitment: k.ID(), Alias: 1, Link: k.Root, Owed: said}
		h.says(peerwire.Message{ID: peerwire.PayResumeID, Rare: resume})
		s.Resumed(h.now, 1, resume, &Kept{Commitment: k, Best: k.Start()})
		s.Ledger(h.now, payment.LedgerEvent{Kind: payment.EventOpened, Commitment: k.ID(), Cap: 100})
		link, _ := chain.Link(5)
		h.says(peerwire.Message{ID: peerwire.PayID, Rare: peerwire.Pay{Alias: 1, Index: 5, Link: link}})
		if e := s.Take(); len(e.Pays.Count) != want || len(e.Drop) != 1-want {
			t.Errorf("it says that it owes %d, and pays 5: %d count, dropped %v", said, len(e.Pays.Count), e.Drop)
		}
	}
}

// A seller that was killed does not know any more which units it had served. A
// buyer cannot pay what it never saw, and has its close in the end all the same.
func TestCloseWithLostUnits(t *testing.T) {
	w := newWorld(t, 3)
	seller, buyer := lostInFlight(w)
	seller.forgetful = true
	buyer.meet(seller)
	w.run(10*time.Minute, buyer.s.Complete)
	w.pass(time.Second)
	quiet := w.serial
	w.pass(10 * time.Second)
	if len(buyer.closes) != 1 || buyer.s.Unsettled() != 0 {
		t.Errorf("%d closes, %d unsettled", len(buyer.closes), buyer.s.Unsettled())
	}
	if said := w.serial - quiet; said > 200 {
		t.Errorf("%d things happened in ten quiet seconds", said)
	}
}

// What a buyer or a seller says of an old commitment gains it nothing: a
// stranger that never paid is served nothing, and nobody is paid on a new
// commitment for what it did not deliver.
func TestLiesAboutOldCommitments(t *testing.T) {
	c := soldContent(t, 64<<10, 1_000_000)
	chain, err := payment.NewChain(payment.Seed{1}, payment.ChainID{1}, 1000)
	if err != nil {
		t.Fatal(err)
	}
	k := payment.Commitment{
		Torrent: payment.TorrentID(c.torrent.Info.ID()), Payer: payment.Account{9}, Receiver: payment.Account{1},
		Root: chain.Root(), Chain: payment.ChainID{1}, Links: 1000, Price: testPrice, Epoch: 1, Expiry: 1e9 + 86400,
	}
	meet := func(have func(s *Swarm) *piece.Bitfield) *hostile {
		s := New(Config{Info: c.torrent.Info, Layers: c.torrent.Layers, Pays: true, Account: payment.Account{1}})
		h := &hostile{t: t, s: s, now: time.Unix(1e9, 0)}
		s.Opened(h.now, have(s), nil)
		s.Ledger(h.now, payment.LedgerEvent{Kind: payment.EventPrice, Price: testPrice, Epoch: 1})
		s.Join(h.now, 1, Peer{ID: [20]byte{9}, Pay: true, Fast: true})
		s.Authenticated(h.now, 1, payment.Account{9})
		s.Met(h.now, 1, payment.Account{9}, Meeting{})
		return h
	}
	t.Run("a stranger's unit that never came", func(t *testing.T) {
		h := meet(func(s *Swarm) *piece.Bitfield { return fullOf(s) })
		h.says(peerwire.Of(peerwire.Interested))
		said := peerwire.PayResume{Commitment: k.ID(), Alias: 1, Link: k.Root, Ahead: 1}
		h.says(peerwire.Message{ID: peerwire.PayResumeID, Rare: said})
		h.s.Resumed(h.now, 1, said, &Kept{Commitment: k, Best: k.Start()})
		h.s.Ledger(h.now, payment.LedgerEvent{Kind: payment.EventOpened, Commitment: k.ID(), Cap: 100})
		for _, l := range h.s.Take().Pays.Lend {
			if l.Again {
				t.Errorf("the Book is asked for a free unit: %+v", l)
			}
		}
	})
	t.Run("a seller's debt on a new commitment", func(t *testing.T) {
		h := meet(func(s *Swarm) *piece.Bitfield { return piece.NewBitfield(s.layout.Pieces()) })
		ours := k
		ours.Payer, ours.Receiver = k.Receiver, k.Payer
		h.says(peerwire.Of(peerwire.HaveAll))
		h.says(peerwire.Message{ID: peerwire.PayTermsID, Rare: peerwire.PayTerms{Price: testPrice, Epoch: 1, Unit: piece.BlockSize, Window: 1024}})
		h.s.Bought(h.now, 1, &Deal{Commit: peerwire.PayCommit{Alias: 7, Commitment: ours}, Links: chain, Cap: 64, PayAhead: true})
		h.says(peerwire.Message{ID: peerwire.PayStatusID, Rare: peerwire.PayStatus{Alias: 7, State: peerwire.PayRegistered, Cap: 64}})
		h.says(peerwire.Message{ID: peerwire.PayResumeID, Rare: peerwire.PayResume{Commitment: ours.ID(), Alias: 7, Link: k.Root, Owed: 1024}})
		if e := h.s.Take(); len(e.Pays.Attribute) != 0 || len(e.Drop) != 1 {
			t.Errorf("attributed %v, dropped %v", e.Pays.Attribute, e.Drop)
		}
	})
}

// A window that has shrunk takes back what the connection was lent and has not
// used.
func TestRecalledLease(t *testing.T) {
	s := New(Config{Info: soldContent(t, 64<<10, 1_000_000).torrent.Info, Pays: true, Account: payment.Account{1}})
	now := time.Unix(1e9, 0)
	s.Join(now, 1, Peer{ID: [20]byte{9}, Pay: true})
	p := s.peers[1]
	p.account, p.sale = payment.Account{9}, sale{meeting: true, met: true, lease: 10}
	p.sale.charged.push(4)
	p.sale.charged.push(5)
	s.Counted(now, Count{Peer: 1, Commitment: &payment.Commitment{}}, payment.Counted{Paid: 5, Recalled: 5})
	if p.sale.lease != 7 || p.sale.unpaid() != 0 || p.sale.ahead != 3 {
		t.Errorf("lease %d, unpaid %d, ahead %d, want 7, 0 and 3", p.sale.lease, p.sale.unpaid(), p.sale.ahead)
	}
}
