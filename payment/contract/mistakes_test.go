package contract

import (
	"crypto/sha256"
	"testing"

	"torrente/payment"
)

// The mistakes of earlier systems (section 7 of the design): each must stay
// impossible.

// Redeem debited the free balance and the escrow: coins were destroyed.
func TestRedeemTakesFromTheEscrowAlone(t *testing.T) {
	w := newWorld(t)
	c, chain := w.opened("alice", "seller", w.declare("alice", 100), 64, 64)
	w.has("alice", 9000, 1000)
	w.ok("seller", redeemOf(&c, chain, 0, 30))
	w.has("alice", 9000, 700)
	w.has("seller", 300, 0)
}

// A commitment signed by a stranger over a victim's intention drained it.
func TestStrangerCannotOpenOnAnothersIntention(t *testing.T) {
	w := newWorld(t)
	victims := w.declare("alice", 100)
	own, _ := w.promise("mallory", "seller", victims, 64)
	w.refused("mallory", &OpenMany{[]Open{{own, 64}}}, NotPayer)
	forged, _ := w.promise("alice", "seller", victims, 64)
	w.refused("mallory", &OpenMany{[]Open{{forged, 64}}}, NotPayer)
	mine := w.declare("mallory", 100)
	forged.Intention = mine
	w.refused("mallory", &OpenMany{[]Open{{forged, 64}}}, NotPayer)
	w.refused("mallory", &Close{victims}, NotPayer)
	w.refused("mallory", &AddFunds{victims, 1, 100}, NotPayer)
	w.has("alice", 9000, 1000)
}

// Creating an account twice minted coins. There is no call that creates one:
// minting is in the genesis document, which begins a ledger once.
func TestNothingMintsTwice(t *testing.T) {
	w := newWorld(t)
	if err := Init(w.state, must[[]byte](t)(testGenesis().Encode())); err == nil {
		t.Error("a ledger began twice")
	}
	for c := range calls {
		if r := Call(c).rules(); r != nil && r.make().Call() != Call(c) {
			t.Errorf("call %d makes arguments of %s", c, r.make().Call())
		}
	}
	g := testGenesis()
	g.Mints = append(g.Mints, g.Mints[0])
	if _, err := g.Encode(); err == nil {
		t.Error("an account is minted to twice")
	}
	if b := w.audit(); b.Minted != 30_000 || b.Balance != 30_000 {
		t.Errorf("%+v", b)
	}
}

// The refund read a field that never existed, so that escrow could be taken
// back at any time.
func TestRefundWaitsForExpiry(t *testing.T) {
	w := newWorld(t)
	i := w.declare("alice", 100)
	c, chain := w.opened("alice", "seller", i, 64, 64)
	w.ok("alice", &Close{i})
	w.has("alice", 9360, 640)
	refund := &Refund{[]Settle{{c.ID(), 0}}}
	for _, at := range []uint64{start, c.Expiry - 1, c.Expiry, c.Expiry + 30*60 - 1} {
		w.now = at
		w.refused("alice", refund, TooEarly)
	}
	w.now = c.Expiry - 1
	w.ok("seller", redeemOf(&c, chain, 0, 10))
	w.now = c.Expiry + 30*60
	w.refused("seller", refund, NotPayer)
	w.ok("alice", refund)
	w.has("alice", 9900, 0)
	w.refused("alice", refund, Already)
	w.has("alice", 9900, 0)
}

// The signature covered only the first 32 bytes. What is opened here is the
// whole layout, by its hash: one bit of it changed is another commitment.
func TestEveryByteOfACommitmentIsItsName(t *testing.T) {
	w := newWorld(t)
	c, chain := w.opened("alice", "seller", w.declare("alice", 100), 64, 64)
	layout := c.Append(nil)
	link, _ := chain.Link(1)
	for bit := range 8 * len(layout) {
		layout[bit/8] ^= 1 << (bit % 8)
		id := payment.CommitmentID(sha256.Sum256(layout))
		layout[bit/8] ^= 1 << (bit % 8)
		tx := w.transaction(&RedeemMany{[]Redeem{{id, 0, 1, link}}})
		w.expect(w.apply("seller", tx), NoCommitment)
	}
}

// There was no maximum index.
func TestRedeemStopsAtTheCap(t *testing.T) {
	w := newWorld(t)
	c, chain := w.opened("alice", "seller", w.declare("alice", 100), 64, 20)
	w.refused("seller", redeemOf(&c, chain, 0, 21), OverCap)
	w.refused("seller", redeemOf(&c, chain, 0, 64), OverCap)
	w.refused("seller", &RedeemMany{[]Redeem{{c.ID(), 0, payment.MaxLinks, payment.Link{}}}}, OverCap)
	w.refused("seller", redeemOf(&c, chain, 1, 20), OverCap) // no such cap
	w.ok("seller", redeemOf(&c, chain, 0, 20))
	w.ok("alice", &TopUpMany{[]TopUp{{c.ID(), 1, 64}}})
	w.refused("seller", redeemOf(&c, chain, 0, 21), OverCap) // under the old cap still
	w.ok("seller", redeemOf(&c, chain, 1, 64))
}

// The client chose how much to freeze.
func TestTheLedgerComputesWhatIsFrozen(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		units  uint64
		margin uint16
		code   Code
	}{
		{0, 125, BadUnits},
		{101, 125, BadUnits},
		{1 << 63, 125, BadUnits},
		{10, 99, BadMargin},
		{10, 0, BadMargin},
		{10, 151, BadMargin},
		{10, 65535, BadMargin},
		{10, 125, OK},
	} {
		w.refused("bob", &Declare{Torrent: w.film, Units: c.units, Margin: c.margin, MaxPrice: price}, c.code)
	}
	w.has("bob", 9875, 125)
	w.refused("bob", &Declare{Torrent: payment.TorrentID{1}, Units: 1, Margin: 100}, NoTorrent)
	for i := range 7 {
		_ = i
		w.ok("bob", &Declare{Torrent: w.film, Units: 100, Margin: 125, MaxPrice: price})
	}
	w.refused("bob", &Declare{Torrent: w.film, Units: 100, Margin: 150, MaxPrice: price}, NoCoins)
}

// One flat key space let an intention take a redeem's key. Keys here begin
// with what they hold, and every identifier in them has a fixed length.
func TestKeysCannotCollide(t *testing.T) {
	var z [32]byte
	c := &payment.Commitment{}
	keys := []string{
		keyLedger, keyPriceNow, keyCommitment(z), keyCap(z, 1), keyRedeemed(z), keyIntention(z),
		keyCredit(z, z), keyAccount(z), keyTorrent(z), keyRoot(z, z), keySlot(c), keyDelegate(z),
		keyRequest(z, payment.RequestID{}), keyPrice(0), keyRevoked(z), keyOrganisation("x"), keyPile("x"), keyCA("x", z),
		hexed2(byPayer, z, z), hexed2(byIntention, z, z), hexed2(byReceiver, z, z),
	}
	for i, a := range keys {
		for j, b := range keys {
			if i != j && len(a) >= len(b) && a[:len(b)] == b {
				t.Errorf("%q begins with %q", a, b)
			}
		}
	}
	for _, msp := range []string{"", "a/b", "a\x00", "ä", "Org1MSP/"} {
		if validMSP(msp) {
			t.Errorf("%q is part of a key", msp)
		}
	}
}

// The index "Infinity" hung the contract; fractional and textual indexes were
// taken. Here an index is 32 bits with a bound, and a call's work has one too.
func TestIndexesAndWorkAreBounded(t *testing.T) {
	w := newWorld(t)
	c, chain := w.opened("alice", "seller", w.declare("alice", 100), 64, 64)
	for _, index := range []uint32{0, payment.MaxLinks + 1, 1<<32 - 1} {
		tx := w.transaction(&RedeemMany{[]Redeem{{c.ID(), 0, index, payment.Link{}}}})
		if _, err := ParseTransaction(tx.Append(nil)); err == nil {
			t.Errorf("index %d is accepted", index)
		}
	}
	r := &run{overlay: newOverlay(memory{}), hashes: MaxHashes - 5}
	last, _ := chain.Link(6)
	com := &commitment{Commitment: &c, cap: 1}
	if code := r.checkLink(com, c.Start(), payment.Claim{Index: 6, Link: last}); code != TooMuchWork {
		t.Errorf("six hashes of five left: %v", code)
	}
	last, _ = chain.Link(5)
	if code := r.checkLink(com, c.Start(), payment.Claim{Index: 5, Link: last}); code != OK || r.hashes != MaxHashes {
		t.Errorf("five of five: %v, %d", code, r.hashes)
	}
}

// The price was hard-coded a second time in redeem. It is the commitment's,
// which is the intention's, whatever the price is meanwhile (L9).
func TestPriceIsLockedByTheIntention(t *testing.T) {
	w := newWorld(t)
	i := w.declare("alice", 100)
	c, chain := w.opened("alice", "seller", i, 64, 10)
	w.setPrice(2, 77)
	w.ok("seller", redeemOf(&c, chain, 0, 10))
	w.has("seller", 100, 0)
	w.ok("alice", &TopUpMany{[]TopUp{{c.ID(), 1, 20}}})
	w.ok("alice", &AddFunds{i, 10, 100})
	w.has("alice", 8900, 1000)
	for _, change := range []func(c *payment.Commitment){
		func(c *payment.Commitment) { c.Price = 77 },
		func(c *payment.Commitment) { c.Epoch = 2 },
		func(c *payment.Commitment) { c.Price = 1 },
	} {
		other, _ := w.promise("alice", "seller", i, 8)
		change(&other)
		w.refused("alice", &OpenMany{[]Open{{other, 1}}}, OtherPrice)
	}
	previous, _ := w.promise("alice", "seller", i, 8)
	w.ok("alice", &OpenMany{[]Open{{previous, 1}}}) // of the previous epoch: still
	w.setPrice(3, 88)
	late, _ := w.promise("alice", "seller", i, 8)
	w.refused("alice", &OpenMany{[]Open{{late, 1}}}, Stale)
	w.ok("bob", &Declare{Torrent: w.film, Units: 1, Margin: 100, MaxPrice: 88})
	w.has("bob", 10_000-88, 88)
}

// The price is the ledger's, and may rise between what a payer was told and
// what is frozen: never more than it has agreed to.
func TestDeclareBoundsThePrice(t *testing.T) {
	w := newWorld(t)
	at := func(most payment.Amount) *Declare {
		return &Declare{Torrent: w.film, Units: 10, Margin: 125, MaxPrice: most}
	}
	w.refused("bob", at(price-1), PriceRose)
	w.refused("bob", at(0), PriceRose)
	w.has("bob", 10_000, 0)
	w.ok("bob", at(price))
	w.has("bob", 10_000-125, 125)
	w.setPrice(2, price+1)
	w.refused("bob", at(price), PriceRose)
	w.has("bob", 10_000-125, 125)
	w.ok("bob", at(1<<64-1)) // frozen at the price, not at the bound
	w.has("bob", 10_000-125-138, 125+138)
	w.setPrice(3, price-1)
	w.ok("bob", at(price)) // it fell
	w.has("bob", 10_000-125-138-113, 125+138+113)
	w.setPrice(4, 0)
	w.ok("bob", at(0))
	w.has("bob", 10_000-125-138-113, 125+138+113)
}

// The opens that a Declare carries go with it.
func TestARefusedPriceOpensNothing(t *testing.T) {
	w := newWorld(t)
	tx := w.transaction(nil)
	i := payment.IntentionOf(w.ledger, people()["alice"].Account(), w.film, tx.Request)
	c, _ := w.promise("alice", "seller", i, 8)
	tx.Args = &Declare{w.film, 10, 100, price - 1, []Open{{c, 8}}, nil}
	w.expect(w.apply("alice", tx), PriceRose)
	w.has("alice", 10_000, 0)
	w.refused("alice", &TopUpMany{[]TopUp{{c.ID(), 1, 8}}}, NoCommitment)
}

// setPrice begins an epoch, by the vote of the one organisation there is.
func (w *world) setPrice(now uint64, p payment.Amount) {
	w.t.Helper()
	w.ok("admin", &Propose{&SetPrice{p}})
	if got := must[Answer](w.t)(Ask(w.state.memory, Query{Kind: QueryLedger})).Ledger; got.Epoch != now || got.Price != p {
		w.t.Fatalf("price %s in epoch %d", got.Price, got.Epoch)
	}
}

// The same root was used for several receivers.
func TestRootIsUsedOnce(t *testing.T) {
	w := newWorld(t)
	i := w.declare("alice", 100)
	c, _ := w.opened("alice", "seller", i, 8, 8)
	again, _ := w.promise("alice", "other", i, 8)
	again.Root, again.Chain = c.Root, c.Chain
	w.refused("alice", &OpenMany{[]Open{{again, 8}}}, RootUsed)
	j := w.declare("alice", 10)
	again.Intention = j
	w.refused("alice", &OpenMany{[]Open{{again, 8}}}, RootUsed)
	// Twice in one call, where no row shows it yet.
	a, _ := w.promise("alice", "seller", i, 8)
	b, _ := w.promise("alice", "other", i, 8)
	b.Root = a.Root
	w.refused("alice", &OpenMany{[]Open{{a, 1}, {b, 1}}}, Duplicate)
	// Another payer may: it only pays by links that it has not got.
	theirs, _ := w.promise("bob", "seller", w.declare("bob", 10), 8)
	theirs.Root = c.Root
	w.ok("bob", &OpenMany{[]Open{{theirs, 1}}})
}

// The account was bound to the certificate, so that renewal lost the money. It
// is bound to organisation and key; a certificate is no part of a call.
func TestAccountOutlivesCertificates(t *testing.T) {
	alice := people()["alice"]
	if alice.Account() != (Creator{alice.MSP, alice.SPKI}).Account() {
		t.Error("another account")
	}
	w := newWorld(t)
	tx := w.transaction(&Transfer{people()["bob"].Account(), 1})
	one := must[*Signed](t)(Sign(alice.key, [][]byte{{1}}, tx))
	two := must[*Signed](t)(Sign(alice.key, [][]byte{{2}, {3}}, tx))
	if IDOf(alice.Account(), one.Body) != IDOf(alice.Account(), two.Body) {
		t.Error("a renewed certificate makes another transaction")
	}
}

// Two redeems of one commitment in one call would pay twice on a backend that
// does not show a transaction its own writes.
func TestDuplicatesInACallAreRefused(t *testing.T) {
	w := newWorld(t)
	i := w.declare("alice", 100)
	c, chain := w.opened("alice", "seller", i, 64, 20)
	redeem := redeemOf(&c, chain, 0, 5).Redeems[0]
	deeper := redeemOf(&c, chain, 0, 9).Redeems[0]
	w.refused("seller", &RedeemMany{[]Redeem{redeem, redeem}}, Duplicate)
	w.refused("seller", &RedeemMany{[]Redeem{redeem, deeper}}, Duplicate)
	w.refused("alice", &TopUpMany{[]TopUp{{c.ID(), 1, 30}, {c.ID(), 2, 40}}}, Duplicate)
	o, _ := w.promise("alice", "other", i, 8)
	w.refused("alice", &OpenMany{[]Open{{o, 1}, {o, 1}}}, Duplicate)
	w.refused("bob", &Declare{w.film, 10, 100, price, []Open{{o, 1}, {o, 1}}, nil}, Duplicate)
	w.refused("bob", &Declare{w.film, 10, 100, price, nil, []TxID{{1}, {1}}}, Duplicate)
	l := Release{w.closeOf(&c, "seller", 3), 0}
	w.refused("alice", &ReleaseMany{[]Release{l, l}}, Duplicate)
	w.now = c.Expiry + hour
	w.refused("alice", &Refund{[]Settle{{c.ID(), 0}, {c.ID(), 0}}}, Duplicate)
	w.refused("seller", &Sweep{[]TxID{{1}, {1}}}, Duplicate)
}

// Several commitments of one intention in one call share its coins, and
// several redeems of one receiver one credit, although no read shows the
// writes.
func TestACallSeesItsOwnWrites(t *testing.T) {
	w := newWorld(t)
	i := w.declare("alice", 100)
	var opens []Open
	var redeems []Redeem
	for range 4 {
		c, chain := w.promise("alice", "seller", i, 64)
		opens = append(opens, Open{c, 30})
		redeems = append(redeems, redeemOf(&c, chain, 0, 7).Redeems...)
	}
	got := w.call("alice", &OpenMany{opens})
	if got.Code != OK || got.Items[2] != OK || got.Items[3] != NoFunds {
		t.Fatalf("%+v", got)
	}
	got = w.call("seller", &RedeemMany{redeems})
	if got.Code != OK || got.Coins != 210 || got.Items[3] != NoCommitment {
		t.Fatalf("%+v", got)
	}
	credits := must[Answer](t)(Ask(w.state.memory, Query{Kind: QueryCredits, Account: people()["seller"].Account()})).Credits
	if len(credits) != 1 || credits[0].Coins != 210 {
		t.Fatalf("%+v", credits)
	}
}
