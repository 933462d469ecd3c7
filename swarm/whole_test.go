package swarm

import (
	"errors"
	"slices"
	"testing"
	"time"

	"torrente/metainfo"
	"torrente/payment"
	"torrente/peerwire"
	"torrente/piece"
)

// soldV1 is content with a price that has no v2 part: nothing judges a block
// but its piece.
func soldV1(t testing.TB, pieceLength int64, lengths ...int64) *content {
	t.Helper()
	return makePriced(t, &metainfo.Pay{Federation: "https://federation.example"}, pieceLength, true, false, lengths...)
}

// Whoever is paid ahead and whoever is paid later, units of v1 are paid once,
// though nothing tells that they are right before their piece is whole.
func TestPaidDownloadV1(t *testing.T) {
	for _, pieceLength := range []int64{16 << 10, 64 << 10, 4 << 20} {
		for _, floor := range []uint64{0, 1} {
			for _, magnet := range []bool{false, true} {
				w := newWorld(t, 1)
				c := soldV1(t, pieceLength, 5_000_000, 1, 20_000)
				l := newFakeLedger(w)
				seller := w.settleMember("seller", c, l, Config{Floor: floor}, true, false)
				buyer := w.settleMember("buyer", c, l, Config{}, false, magnet)
				w.watchRules()
				buyer.meet(seller)
				w.run(5*time.Minute, buyer.s.Complete)
				w.pass(time.Second)
				units := int(c.torrent.Info.Units())
				if buyer.owed != units || seller.served != units || int(seller.total()) != units {
					t.Errorf("pieces of %d: %d units, %d owed, %d served, %d paid", pieceLength, units, buyer.owed, seller.served, seller.total())
				}
				if len(buyer.closes) != 1 {
					t.Errorf("pieces of %d: the seller did not close", pieceLength)
				}
			}
		}
	}
}

// A quarter more than the price suffices to buy of several sellers, although
// each has a cap beyond what it gives: the rest of a piece whose seller has no cap
// left is asked of another one, which ends its own piece before.
func TestCapsSufficeInV1(t *testing.T) {
	for _, delay := range []time.Duration{10 * time.Millisecond, 200 * time.Millisecond} {
		for seed := range uint64(5) {
			w := newWorld(t, seed)
			c := soldV1(t, 512<<10, int64(3_000_000+seed*1_300_000))
			l := newFakeLedger(w)
			l.delay = delay
			buyer := w.settleMember("buyer", c, l, Config{}, false, false)
			units := uint32(c.torrent.Info.Units())
			buyer.frozen = units + units/4
			for i, name := range []string{"a", "b", "c"}[:2+seed%2] {
				seller := w.settleMember("seller "+name, c, l, Config{}, true, false)
				w.after(time.Duration(i)*time.Duration(seed)*100*time.Millisecond, func() { buyer.meet(seller) })
			}
			w.watchRules()
			w.run(5*time.Minute, buyer.s.Complete)
			w.pass(time.Second)
			if buyer.owed != int(units) || buyer.s.Status().Paid != uint64(units) {
				t.Errorf("seed %d: %d units, %d owed, %d paid", seed, units, buyer.owed, buyer.s.Status().Paid)
			}
		}
	}
}

// A piece costs too much before it is judged: nothing is bought.
func TestLongPiecesOfV1AreNotBought(t *testing.T) {
	for _, k := range []struct {
		pieceLength int64
		bought      int
	}{{4 << 20, 1}, {8 << 20, 0}} {
		info := &metainfo.Info{Name: "x", PieceLength: k.pieceLength, Length: 20 << 20, HasV1: true, Pieces: make([]byte, 20*((20<<20)/k.pieceLength)), Pay: &metainfo.Pay{}}
		s, now := New(Config{Info: info, Pays: true, Account: payment.Account{1}}), time.Unix(1e9, 0)
		s.Opened(now, piece.NewBitfield(s.layout.Pieces()), nil)
		s.Ledger(now, payment.LedgerEvent{Kind: payment.EventPrice, Price: testPrice, Epoch: 1})
		s.Join(now, 1, Peer{ID: [20]byte{9}, Pay: true, Fast: true})
		s.Authenticated(now, 1, payment.Account{9})
		s.Receive(now, 1, peerwire.Of(peerwire.HaveAll))
		s.Take()
		s.Receive(now, 1, peerwire.Message{ID: peerwire.PayTermsID, Rare: peerwire.PayTerms{Price: testPrice, Epoch: 1, Unit: piece.BlockSize}})
		if got := len(s.Take().Pays.Buy); got != k.bought {
			t.Errorf("pieces of %d bytes: %d commitments are asked for, want %d", k.pieceLength, got, k.bought)
		}
	}
}

// Connections break in the middle of pieces, and others go on with them: what
// is counted is paid, once for each delivery, and nothing is lost but by the
// windows that were on their way.
func TestBrokenConnectionsV1(t *testing.T) {
	for seed := range uint64(8) {
		w := newWorld(t, seed)
		c := soldV1(t, 128<<10, 3_000_000)
		l := newFakeLedger(w)
		a := w.settleMember("seller a", c, l, Config{}, true, false)
		b := w.settleMember("seller b", c, l, Config{Floor: 1}, true, false)
		buyer := w.settleMember("buyer", c, l, Config{}, false, false)
		buyer.meet(a)
		buyer.meet(b)
		w.after(time.Second, func() { buyer.breaks(a, b) })
		w.run(60*time.Minute, buyer.s.Complete)
		for _, seller := range []*citizen{a, b} {
			if !buyer.connected(seller) {
				buyer.meet(seller)
			}
		}
		w.pass(5 * time.Second)
		units, paid := int(c.torrent.Info.Units()), int(a.total()+b.total())
		if buyer.owed != units {
			t.Errorf("seed %d: %d units, %d owed", seed, units, buyer.owed)
		}
		// One unit for each seller may be paid ahead and lost.
		if paid < buyer.owed || paid > buyer.owed+2 {
			t.Errorf("seed %d: %d units are owed, and %d paid", seed, buyer.owed, paid)
		}
	}
}

// A liar is paid for what came of one piece at the most, as long as that is not
// judged, and is banned.
func TestLiarSellsOnePiece(t *testing.T) {
	for seed := range uint64(4) {
		w := newWorld(t, seed)
		c := soldV1(t, 128<<10, 3_000_000)
		l := newFakeLedger(w)
		honest := w.settleMember("honest", c, l, Config{}, true, false)
		liar := w.settleMember("liar", c, l, Config{}, true, false)
		liar.lies = func(b piece.Block) bool { return b.Begin == 0 }
		buyer := w.settleMember("buyer", c, l, Config{}, false, false)
		w.watchRules()
		buyer.meet(liar)
		buyer.meet(honest)
		w.run(10*time.Minute, buyer.s.Complete)
		w.pass(time.Second)
		units := int(c.torrent.Info.Units())
		if got := int(liar.total()); got > 8 {
			t.Errorf("seed %d: the liar sold %d units, more than a piece", seed, got)
		}
		if got := int(honest.total()); got != units || buyer.owed != units {
			t.Errorf("seed %d: %d units, %d paid to the honest seller, %d owed", seed, units, got, buyer.owed)
		}
		if !slices.ContainsFunc(buyer.dropped, func(e error) bool { return errors.Is(e, errFalseData) }) {
			t.Errorf("seed %d: the liar was not dropped: %v", seed, buyer.dropped)
		}
	}
}

// A liar that finishes no piece is never judged, and is paid for no more than one
// all the same.
func TestPiecesThatAreNeverWhole(t *testing.T) {
	w := newWorld(t, 1)
	c := soldV1(t, 64<<10, 3_000_000)
	l := newFakeLedger(w)
	liar := w.settleMember("liar", c, l, Config{Floor: 1024}, true, false)
	liar.lies = func(piece.Block) bool { return true }
	liar.keeps = func(b piece.Block) bool { return b.Begin == 3*piece.BlockSize }
	buyer := w.settleMember("buyer", c, l, Config{}, false, false)
	buyer.meet(liar)
	w.pass(3 * time.Minute)
	if liar.served < 4 {
		t.Fatalf("only %d units were served", liar.served)
	}
	if got := liar.total(); got > 4+prepaid {
		t.Errorf("%d units were paid, of pieces of 4", got)
	}
}

// A seller to whom nothing was paid before has nothing to list; a list of one
// that has neither begins all pieces nor keeps others from being asked.
func TestFalseListsOfLostUnits(t *testing.T) {
	for _, resumed := range []bool{false, true} {
		c := soldV1(t, 64<<10, 3_000_000)
		chain, err := payment.NewChain(payment.Seed{1}, payment.ChainID{1}, 1000)
		if err != nil {
			t.Fatal(err)
		}
		s, now := New(Config{Info: c.torrent.Info, Pays: true, Account: payment.Account{1}}), time.Unix(1e9, 0)
		s.Opened(now, piece.NewBitfield(s.layout.Pieces()), nil)
		s.Ledger(now, payment.LedgerEvent{Kind: payment.EventPrice, Price: testPrice, Epoch: 1})
		s.Join(now, 1, Peer{ID: [20]byte{9}, Pay: true, Fast: true})
		s.Authenticated(now, 1, payment.Account{9})
		say := func(m peerwire.Message) { s.Receive(now, 1, m) }
		say(peerwire.Of(peerwire.HaveAll))
		say(peerwire.Of(peerwire.Unchoke))
		say(peerwire.Message{ID: peerwire.PayTermsID, Rare: peerwire.PayTerms{Price: testPrice, Epoch: 1, Unit: piece.BlockSize}})
		var units []uint32
		for i := range uint32(s.layout.Pieces()) {
			units = append(units, 4*i+1)
		}
		say(peerwire.Message{ID: peerwire.PayUnpaidID, Rare: peerwire.PayUnpaid{Units: append(units, 1<<31)}})
		d := &Deal{Links: chain, Cap: 1000, Resumed: resumed, PayAhead: true}
		d.Commit = peerwire.PayCommit{Alias: 1, Commitment: payment.Commitment{Chain: payment.ChainID{1}, Root: chain.Root(), Links: 1000}}
		s.Bought(now, 1, d)
		s.Take()
		say(peerwire.Message{ID: peerwire.PayStatusID, Rare: peerwire.PayStatus{Alias: 1, State: peerwire.PayRegistered, Cap: 1000}})
		asked := 0
		for _, m := range s.Take().Send {
			if m.Message.ID == peerwire.Request {
				asked++
			}
		}
		if most := 1 + 2*maxLostPieces; asked == 0 || asked > most {
			t.Errorf("resumed %v: %d blocks are asked for, want 1 to %d", resumed, asked, most)
		}
		if owned := s.picker.Owned(1); owned > maxLostPieces+1 {
			t.Errorf("resumed %v: %d pieces are asked of it alone", resumed, owned)
		}
		before := s.peers[1].dropped
		say(peerwire.Message{ID: peerwire.PayUnpaidID, Rare: peerwire.PayUnpaid{Units: []uint32{1}}})
		if before || !s.peers[1].dropped {
			t.Errorf("resumed %v: a second list is no reason to part", resumed)
		}
	}
}

// A liar leaves in the middle of a piece, and an honest seller goes on with it:
// that copy is false, and pays nobody until a good one tells whose fault it was.
// The honest seller is paid for both.
func TestHonestShareOfAFalsePiece(t *testing.T) {
	w := newWorld(t, 2)
	c := soldV1(t, 1<<20, 1<<20)
	l := newFakeLedger(w)
	honest := w.settleMember("honest", c, l, Config{}, true, false)
	liar := w.settleMember("liar", c, l, Config{Floor: 1}, true, false)
	liar.lies = func(piece.Block) bool { return true }
	buyer := w.settleMember("buyer", c, l, Config{}, false, false)
	w.watchRules()
	buyer.meet(liar)
	w.run(time.Minute, func() bool { return liar.served >= 10 })
	for id := range buyer.links {
		buyer.hangUp(id, errSilent)
	}
	w.pass(100 * time.Millisecond)
	buyer.meet(honest)
	w.run(10*time.Minute, buyer.s.Complete)
	w.pass(time.Second)
	if got := int(honest.total()); got != honest.served || honest.served <= 64 {
		t.Errorf("the honest seller served %d units and was paid %d", honest.served, got)
	}
	if !buyer.s.book.banned[liar.addr.Addr()] || buyer.s.book.banned[honest.addr.Addr()] {
		t.Error("not the liar, or not only the liar, is banned")
	}
}

// After a restart what was paid of a piece that was not whole is gone: it was
// delivered, and buying goes on beyond it.
func TestResumedDealOfV1(t *testing.T) {
	c := soldV1(t, 64<<10, 1_000_000)
	chain, err := payment.NewChain(payment.Seed{1}, payment.ChainID{1}, 1000)
	if err != nil {
		t.Fatal(err)
	}
	id := payment.CommitmentID{}
	for name, k := range map[string]struct {
		owed, index uint32
		shown       uint32 // by the seller: the record of our links is written without hurry
		received    int    // units of pieces that are not whole
		verified    uint64
	}{
		"nothing paid ahead":          {40, 40, 40, 0, 40},
		"killed in the middle":        {40, 52, 52, 0, 51},
		"killed, and an old record":   {40, 46, 52, 0, 51},
		"the connection broke":        {40, 43, 43, 3, 40},
		"and one was paid ahead":      {40, 44, 44, 3, 40},
		"fewer paid than were judged": {40, 20, 20, 3, 40},
	} {
		s := New(Config{Info: c.torrent.Info, Pays: true, Account: payment.Account{1}})
		now := time.Unix(1e9, 0)
		s.Opened(now, piece.NewBitfield(s.layout.Pieces()), nil)
		s.Join(now, 1, Peer{ID: [20]byte{9}, Pay: true})
		commit := payment.Commitment{Chain: payment.ChainID{1}, Root: chain.Root(), Links: 1000}
		id = commit.ID()
		for i := range k.received {
			s.contributors.put(7, &contributors{now: append(s.sent(7).now, contributor{id: PeerID(50 + i), owed: id})})
		}
		d := &Deal{Links: chain, Cap: 100, Resumed: true, Owed: k.owed, Index: k.index}
		d.Commit.Commitment = commit
		s.Bought(now, 1, d)
		link, _ := chain.Link(k.shown)
		if err := s.onResumed(now, s.peers[1], peerwire.PayResume{Commitment: id, Index: k.shown, Link: link}); err != nil {
			t.Fatal(err)
		}
		if b := &s.peers[1].buy; b.verified != k.verified || b.pending != k.received {
			t.Errorf("%s: %d verified, %d to be judged, want %d and %d", name, b.verified, b.pending, k.verified, k.received)
		}
	}
}

// restart makes a buyer anew from what it kept: its wallet and whole pieces.
func (z *citizen) restart(t *testing.T) *citizen {
	for id := range z.links {
		z.hangUp(id, errSilent)
	}
	again := z.w.settleMember(z.name, z.content, z.ledger, Config{}, false, false)
	again.wallet, again.key, again.spki, again.last = z.wallet, z.key, z.spki, z.last
	for id, n := range again.wallet.released { // that is written without hurry
		again.wallet.released[id] = n - min(n, uint32(z.w.rnd.IntN(3)))
	}
	again.s.cfg.Account, again.short = z.s.cfg.Account, z.short
	return again
}

// restartSeller makes a seller anew from what it kept: its books, in which all
// that it had lent is in doubt, and the links.
func (z *citizen) restartSeller(t *testing.T) *citizen {
	kept := map[payment.Account][]byte{}
	for account, book := range z.books {
		kept[account] = book.Append(nil)
	}
	for id := range z.links {
		z.hangUp(id, errSilent)
	}
	again := z.w.settleMember(z.name, z.content, z.ledger, Config{}, true, false)
	again.wallet, again.key, again.spki = z.wallet, z.key, z.spki
	again.s.cfg.Account, again.redeemable = z.s.cfg.Account, z.redeemable
	for account, record := range kept {
		config := payment.BookConfig{Me: z.s.cfg.Account, Them: account, Price: testPrice}
		b, err := payment.ParseBook(z.w.now, config, record)
		if err != nil {
			t.Fatal(err)
		}
		for id, k := range z.wallet.claims {
			b.Recount(z.w.now, &k.Commitment, z.redeemable[id], payment.MaxLinks)
		}
		again.books[account] = b
	}
	return again
}

// Both die when a commitment has no link left: the buyer has lost what it paid,
// and the seller believes that what it had lent is owed. Neither waits for the
// other, and no link pays for what was not served.
func TestBothDieOnASpentCommitment(t *testing.T) {
	const links = 48
	spent := 0
	for kill := range 40 {
		w := newWorld(t, uint64(kill))
		c := soldV1(t, 64<<10, 1<<20)
		l := newFakeLedger(w)
		seller := w.settleMember("seller", c, l, Config{}, true, false)
		buyer := w.settleMember("buyer", c, l, Config{}, false, false)
		buyer.short = links
		buyer.meet(seller)
		w.run(time.Minute, func() bool { return buyer.s.totals.Paid >= links })
		seller, buyer = seller.restartSeller(t), buyer.restart(t)
		if d := buyer.wallet.deals[seller.s.cfg.Account]; buyer.wallet.released[d.Commit.Commitment.ID()] == links {
			spent++
		}
		buyer.meet(seller)
		began := w.now
		w.run(5*time.Minute, buyer.s.Complete)
		w.pass(time.Second)
		if took := w.now.Sub(began); took > 30*time.Second {
			t.Errorf("kill %d: the rest took %v", kill, took)
		}
		// It had nothing on its disk, and bought all of it.
		if paid := seller.total(); paid > links+64 {
			t.Errorf("kill %d: %d units were paid, more than were served", kill, paid)
		}
	}
	if spent == 0 {
		t.Error("no commitment had no link left")
	}
}

// Killed in the middle of a piece a buyer loses what it paid of that, and goes on
// at once.
func TestKilledBuyerV1(t *testing.T) {
	for kill := range 40 {
		w := newWorld(t, uint64(kill))
		c := soldV1(t, 64<<10, 1<<20)
		l := newFakeLedger(w)
		seller := w.settleMember("seller", c, l, Config{}, true, false)
		buyer := w.settleMember("buyer", c, l, Config{}, false, false)
		for n := range 3 {
			buyer.meet(seller)
			w.run(time.Minute, func() bool { return int(seller.total()) > kill+n*3 || buyer.s.Complete() })
			w.pass(time.Duration(w.rnd.IntN(40)) * time.Millisecond)
			if buyer.s.Complete() {
				break
			}
			buyer = buyer.restart(t)
			w.pass(100 * time.Millisecond)
		}
		buyer.meet(seller)
		began := w.now
		w.run(5*time.Minute, buyer.s.Complete)
		w.pass(time.Second)
		if took := w.now.Sub(began); took > 30*time.Second {
			t.Errorf("kill %d: the rest took %v", kill, took)
		}
		if lost := int(seller.total()) - 64 - 3*64; lost > 3*8 {
			t.Errorf("kill %d: %d units were paid, %d more than came", kill, seller.total(), lost)
		}
	}
}
