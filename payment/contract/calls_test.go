package contract

import (
	"bytes"
	"crypto/sha256"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"torrente/payment"
)

func TestRegisterTorrent(t *testing.T) {
	w := newWorld(t)
	info := infoOf(t, w.ledger, "album", 65)
	if got := w.ok("seller", &RegisterTorrent{Info: info}); len(got.Events) != 1 || got.Events[0].Units != 65 {
		t.Errorf("%+v", got)
	}
	w.refused("other", &RegisterTorrent{Info: info}, Already)
	id := payment.TorrentID(sha256.Sum256(info))
	got := must[Answer](t)(Ask(w.state.memory, Query{Kind: QueryTorrent, Torrent: id})).Torrent
	if got == nil || got.Units != 65 || !got.V1 || got.V2 || len(got.SHA1) != 40 {
		t.Errorf("%+v", got)
	}
	for what, bad := range map[string][]byte{
		"nothing":        {},
		"no dictionary":  []byte("le"),
		"another ledger": infoOf(t, payment.LedgerID{9}, "film", 10),
		"no units":       infoOf(t, w.ledger, "empty", 0),
		"cut off":        info[:len(info)-1],
		"v1, long pieces": bytes.Replace(infoOf(t, w.ledger, "film", 512), []byte("i1048576e6:pieces160:"+strings.Repeat("\x00", 160)),
			[]byte("i8388608e6:pieces20:"+strings.Repeat("\x00", 20)), 1),
	} {
		if got := w.call("seller", &RegisterTorrent{Info: bad}); got.Code != BadTorrent {
			t.Errorf("%s: %v", what, got.Code)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	w := newWorld(t)
	i := w.declare("alice", 100)
	closed := w.declare("alice", 10)
	w.ok("alice", &Close{closed})
	c, _ := w.opened("alice", "seller", i, 64, 10)
	for what, bad := range map[string]struct {
		change func(o *Open)
		code   Code
	}{
		"ledger":       {func(o *Open) { o.Commitment.Ledger[0]++ }, OtherLedger},
		"intention":    {func(o *Open) { o.Commitment.Intention[0]++ }, NoIntention},
		"closed":       {func(o *Open) { o.Commitment.Intention = closed }, Closed},
		"torrent":      {func(o *Open) { o.Commitment.Torrent[0]++ }, OtherTorrent},
		"price":        {func(o *Open) { o.Commitment.Price++ }, OtherPrice},
		"epoch":        {func(o *Open) { o.Commitment.Epoch++ }, OtherPrice},
		"too short":    {func(o *Open) { o.Commitment.Expiry = w.now + 2*hour - 1 }, BadExpiry},
		"too long":     {func(o *Open) { o.Commitment.Expiry = w.now + 7*24*hour + 1 }, BadExpiry},
		"past":         {func(o *Open) { o.Commitment.Expiry = 0 }, BadExpiry},
		"no cap":       {func(o *Open) { o.Cap = 0 }, BadCap},
		"over chain":   {func(o *Open) { o.Cap = 65 }, BadCap},
		"root":         {func(o *Open) { o.Commitment.Root = c.Root }, RootUsed},
		"slot":         {func(o *Open) { o.Commitment.Slot = c.Slot }, SlotUsed},
		"funds":        {func(o *Open) { o.Commitment.Links, o.Cap = 91, 91 }, NoFunds},
		"price wraps":  {func(o *Open) { o.Commitment.Links, o.Cap = 1<<20, 1<<20 }, NoFunds},
		"same, by cap": {func(o *Open) { o.Commitment = c; o.Cap = 11 }, Conflict},
		"same":         {func(o *Open) { *o = Open{c, 10} }, Already},
		"shortest":     {func(o *Open) { o.Commitment.Expiry = w.now + 2*hour }, OK},
		"longest":      {func(o *Open) { o.Commitment.Expiry = w.now + 7*24*hour }, OK},
	} {
		p, _ := w.promise("alice", "seller", i, 64)
		o := Open{p, 1}
		bad.change(&o)
		t.Run(what, func(*testing.T) { w.refused("alice", &OpenMany{[]Open{o}}, bad.code) })
	}
	w.now += 7*24*hour + 1
	late, _ := w.promise("alice", "seller", i, 64)
	w.refused("alice", &OpenMany{[]Open{{late, 1}}}, Stale)
}

func TestTopUpRefuses(t *testing.T) {
	w := newWorld(t)
	i := w.declare("alice", 50)
	c, _ := w.opened("alice", "seller", i, 64, 10)
	id := c.ID()
	one := func(k uint8, limit uint32) *TopUpMany { return &TopUpMany{[]TopUp{{id, k, limit}}} }
	w.refused("mallory", one(1, 20), NotPayer)
	w.refused("alice", &TopUpMany{[]TopUp{{payment.CommitmentID{1}, 1, 20}}}, NoCommitment)
	w.refused("alice", one(2, 20), BadCap)
	w.refused("alice", one(1, 10), BadCap)
	w.refused("alice", one(1, 9), BadCap)
	w.refused("alice", one(1, 65), BadCap)
	w.refused("alice", one(1, 51), NoFunds)
	w.ok("alice", one(1, 20))
	w.refused("alice", one(1, 20), Already)
	w.refused("alice", one(1, 30), Conflict)
	w.ok("alice", one(2, 30))
	w.now = c.Expiry
	w.refused("alice", one(3, 40), Expired)
	w.now = start
	l := w.closeOf(&c, "seller", 5)
	w.ok("alice", &ReleaseMany{[]Release{{l, 2}}})
	w.refused("alice", one(3, 40), Ended)
	d, _ := w.opened("alice", "seller", i, 64, 10)
	w.ok("alice", &Close{i})
	w.refused("alice", &TopUpMany{[]TopUp{{d.ID(), 1, 11}}}, Closed)
}

// At most 64 caps: the number has no room for more.
func TestCapsAreCounted(t *testing.T) {
	w := newWorld(t)
	c, _ := w.opened("alice", "seller", w.declare("alice", 100), 100, 1)
	for k := uint8(1); k < MaxCaps; k++ {
		w.ok("alice", &TopUpMany{[]TopUp{{c.ID(), k, uint32(k) + 1}}})
	}
	tx := w.transaction(&TopUpMany{[]TopUp{{c.ID(), MaxCaps, 90}}})
	if _, err := ParseTransaction(tx.Append(nil)); err == nil {
		t.Error("cap number 64 is accepted")
	}
	info := must[Answer](t)(Ask(w.state.memory, Query{Kind: QueryCommitment, Commitment: c.ID()})).Commitments[0]
	if info.K != 63 || info.Cap != 64 {
		t.Errorf("%+v", info)
	}
	w.ok("alice", &ReleaseMany{[]Release{{w.closeOf(&c, "seller", 0), 63}}})
}

// L5, and the time rule of L6.
func TestRedeemRefuses(t *testing.T) {
	w := newWorld(t)
	c, chain := w.opened("alice", "seller", w.declare("alice", 100), 64, 64)
	other, otherChain := w.opened("bob", "seller", w.declare("bob", 100), 64, 64)
	foreign := redeemOf(&other, otherChain, 0, 8)
	foreign.Redeems[0].Commitment = c.ID()
	w.refused("seller", foreign, BadLink)
	for _, who := range []string{"alice", "mallory", "other"} {
		w.refused(who, redeemOf(&c, chain, 0, 8), NotReceiver)
	}
	shifted := redeemOf(&c, chain, 0, 8)
	shifted.Redeems[0].Index = 9
	w.refused("seller", shifted, BadLink)
	w.ok("seller", redeemOf(&c, chain, 0, 8))
	w.refused("seller", redeemOf(&c, chain, 0, 8), Already)
	w.refused("seller", redeemOf(&c, chain, 0, 3), Already)
	same := redeemOf(&c, chain, 0, 8)
	same.Redeems[0].Link[0] ^= 1
	w.refused("seller", same, BadLink)
	w.now = c.Expiry
	w.refused("seller", redeemOf(&c, chain, 0, 9), Expired)
	w.now = c.Expiry - 1
	w.ok("seller", redeemOf(&c, chain, 0, 9))
	w.has("seller", 90, 0)
}

func TestDelegate(t *testing.T) {
	w := newWorld(t)
	c, chain := w.opened("alice", "seller", w.declare("alice", 100), 64, 64)
	w.refused("seller", &SetDelegate{people()["seller"].Account()}, ToOneself)
	w.refused("seller", &SetDelegate{}, Already)
	w.ok("seller", &SetDelegate{people()["other"].Account()})
	w.refused("seller", &SetDelegate{people()["other"].Account()}, Already)
	w.refused("mallory", redeemOf(&c, chain, 0, 8), NotReceiver)
	w.ok("other", redeemOf(&c, chain, 0, 8))
	w.has("other", 0, 0) // the coins are the receiver's
	w.has("seller", 80, 0)
	w.refused("other", &Sweep{[]TxID{w.last.ID(people()["other"].Account())}}, NoCredit)
	w.ok("seller", &SetDelegate{})
	w.refused("other", redeemOf(&c, chain, 0, 9), NotReceiver)
}

// A signed close is final: the payer has the rest at once, the receiver can
// redeem up to it and not beyond.
func TestRelease(t *testing.T) {
	w := newWorld(t)
	i := w.declare("alice", 100)
	c, chain := w.opened("alice", "seller", i, 64, 50)
	w.ok("seller", redeemOf(&c, chain, 0, 10))
	w.ok("alice", &Close{i})
	w.has("alice", 9500, 400)
	one := func(signer string, final uint32, k uint8) *ReleaseMany {
		return &ReleaseMany{[]Release{{w.closeOf(&c, signer, final), k}}}
	}
	w.refused("seller", one("seller", 30, 0), NotPayer)
	w.refused("alice", one("alice", 30, 0), BadClose)
	w.refused("alice", one("other", 30, 0), BadClose)
	w.refused("alice", one("seller", 30, 1), BadCap)
	w.refused("alice", one("seller", 51, 0), OverCap)
	w.refused("alice", one("seller", 9, 0), BelowRedeemed)
	foreign := one("seller", 30, 0)
	foreign.Releases[0].Close.Ledger[0] ^= 1
	w.refused("alice", foreign, BadClose)
	w.ok("alice", one("seller", 30, 0))
	w.has("alice", 9700, 200)
	w.refused("alice", one("seller", 30, 0), Already)
	w.refused("alice", one("seller", 20, 0), Ended)
	w.refused("seller", redeemOf(&c, chain, 0, 31), OverCap)
	w.ok("seller", redeemOf(&c, chain, 0, 25))
	w.now = c.Expiry + 30*60
	w.ok("alice", &Refund{[]Settle{{c.ID(), 0}}})
	w.has("alice", 9750, 0)
	w.has("seller", 250, 0)
}

// A release at exactly what was redeemed leaves nothing to wait for.
func TestReleaseAtRedeemedSettles(t *testing.T) {
	w := newWorld(t)
	i := w.declare("alice", 100)
	c, chain := w.opened("alice", "seller", i, 64, 50)
	w.ok("seller", redeemOf(&c, chain, 0, 10))
	w.ok("alice", &ReleaseMany{[]Release{{w.closeOf(&c, "seller", 10), 0}}})
	w.ok("alice", &Close{i})
	w.has("alice", 9900, 0)
	w.refused("alice", &Refund{[]Settle{{c.ID(), 0}}}, Already)
	w.refused("alice", &Close{i}, Already)
	open := must[Answer](t)(Ask(w.state.memory, Query{Kind: QueryIntentions, Account: people()["alice"].Account()}))
	received := must[Answer](t)(Ask(w.state.memory, Query{Kind: QueryReceived, Account: people()["seller"].Account()}))
	if len(open.Intentions)+len(received.Commitments) != 0 {
		t.Errorf("still open: %+v, %+v", open, received)
	}
}

// L6: whatever the second, a redeem and a refund of one commitment are never
// both valid, and neither is in the 30 minutes between.
func TestRedeemAndRefundNeverOverlap(t *testing.T) {
	w := newWorld(t)
	c, chain := w.opened("alice", "seller", w.declare("alice", 100), 64, 50)
	before := copyOf(w.state.memory)
	for _, offset := range []int64{-hour, -1, 0, 1, 1799, 1800, 1801, hour} {
		w.now = uint64(int64(c.Expiry) + offset)
		w.state = newCommitted(copyOf(before))
		redeemed := w.call("seller", redeemOf(&c, chain, 0, 1)).Code == OK
		w.state = newCommitted(copyOf(before))
		refunded := w.call("alice", &Refund{[]Settle{{c.ID(), 0}}}).Code == OK
		if redeemed != (offset < 0) || refunded != (offset >= 1800) {
			t.Errorf("%d s from expiry: redeem %v, refund %v", offset, redeemed, refunded)
		}
	}
}

func copyOf(m memory) memory {
	c := memory{}
	for k, v := range m {
		c[k] = v
	}
	return c
}

func TestRefundNamesTheLastCap(t *testing.T) {
	w := newWorld(t)
	c, _ := w.opened("alice", "seller", w.declare("alice", 100), 64, 10)
	w.ok("alice", &TopUpMany{[]TopUp{{c.ID(), 1, 20}}})
	w.now = c.Expiry + hour
	w.refused("alice", &Refund{[]Settle{{c.ID(), 0}}}, BadCap)
	w.refused("alice", &Refund{[]Settle{{c.ID(), 2}}}, BadCap)
	w.refused("alice", &Refund{[]Settle{{payment.CommitmentID{1}, 0}}}, NoCommitment)
	w.ok("alice", &Refund{[]Settle{{c.ID(), 1}}})
}

func TestTransferAndSweep(t *testing.T) {
	w := newWorld(t)
	bob := people()["bob"].Account()
	w.refused("alice", &Transfer{bob, 10_001}, NoCoins)
	w.refused("alice", &Transfer{bob, 0}, BadArguments)
	w.refused("alice", &Transfer{payment.Account{}, 5}, BadArguments)
	w.refused("alice", &Transfer{people()["alice"].Account(), 5}, ToOneself)
	w.ok("alice", &Transfer{bob, 10_000})
	credit := w.last.ID(people()["alice"].Account())
	w.has("alice", 0, 0)
	w.has("bob", 20_000, 0)
	w.refused("bob", &Transfer{people()["alice"].Account(), 10_001}, NoCoins) // not swept yet
	w.refused("alice", &Sweep{[]TxID{credit}}, NoCredit)
	got := w.call("bob", &Sweep{[]TxID{{1}, credit}})
	if got.Code != OK || got.Coins != 10_000 || !cmp.Equal(got.Items, []Code{NoCredit, OK}) {
		t.Errorf("%+v", got)
	}
	w.refused("bob", &Sweep{[]TxID{credit}}, NoCredit)
	if a := w.account("bob"); a.Balance != 20_000 || a.Unswept != 0 {
		t.Errorf("%+v", a)
	}
}

// Declare carries the credits that the coins come from: what the sum does not suffice
// for is refused, and leaves them as they were.
func TestDeclareCarriesCredits(t *testing.T) {
	w := newWorld(t)
	w.ok("alice", &Transfer{people()["bob"].Account(), 10_000})
	credit := w.last.ID(people()["alice"].Account())
	w.ok("bob", &Transfer{people()["alice"].Account(), 10_000}) // of the balance
	w.refused("bob", &Declare{Torrent: w.film, Units: 100, Margin: 100, MaxPrice: price}, NoCoins)
	w.refused("bob", &Declare{Torrent: w.film, Units: 101, Margin: 100, MaxPrice: price, Credits: []TxID{credit}}, BadUnits)
	if a := w.account("bob"); a.Balance != 0 || a.Unswept != 10_000 {
		t.Errorf("%+v", a)
	}
	got := w.call("bob", &Declare{Torrent: w.film, Units: 100, Margin: 100, MaxPrice: price, Credits: []TxID{{1}, credit}})
	if got.Code != OK || got.Coins != 100*price {
		t.Errorf("%+v", got)
	}
	if e := got.Events; len(e) != 2 || e[0].Kind != payment.EventSwept || e[0].Coins != 10_000 || e[1].Coins != 100*price {
		t.Errorf("%+v", e)
	}
	w.has("bob", 10_000-100*price, 100*price)
	if a := w.account("bob"); a.Unswept != 0 {
		t.Errorf("%+v", a)
	}
	w.audit()
}

// P5: a call sent again has the effect of one; the same request with other
// arguments is an error.
func TestRequestsAreIdempotent(t *testing.T) {
	w := newWorld(t)
	bob := people()["bob"].Account()
	i := w.declare("alice", 10)
	for _, args := range []struct{ first, other Arguments }{
		{&Transfer{bob, 7}, &Transfer{bob, 8}},
		{&AddFunds{i, 3, 100}, &AddFunds{i, 4, 100}},
		{&Declare{Torrent: w.film, Units: 5, Margin: 100, MaxPrice: price}, &Declare{Torrent: w.film, Units: 5, Margin: 101, MaxPrice: price}},
	} {
		first := w.ok("alice", args.first)
		tx := *w.last
		before := copyOf(w.state.memory)
		tx.Time += 60 // signed anew: the request is what counts
		again := w.apply("alice", &tx)
		if again.Code != OK || again.Wrote || again.Coins != first.Coins || !cmp.Equal(again.Items, first.Items) {
			t.Errorf("%s again: %+v", tx.Args.Call(), again)
		}
		tx.Args = args.other
		if got := w.apply("alice", &tx); got.Code != RequestReused {
			t.Errorf("%s with other arguments: %v", tx.Args.Call(), got.Code)
		}
		if !cmp.Equal(before, w.state.memory) {
			t.Errorf("%s changed the state: %s", tx.Args.Call(), cmp.Diff(before, w.state.memory))
		}
		// Somebody else's request of the same number is another one.
		if got := w.apply("bob", &Transaction{w.ledger, w.now, tx.Request, &Transfer{people()["alice"].Account(), 1}}); got.Code != OK {
			t.Errorf("bob's: %v", got.Code)
		}
	}
}

// A refused call leaves its request id free: the wish was not granted.
func TestRefusedRequestMayBeRepeated(t *testing.T) {
	w := newWorld(t)
	tx := w.transaction(&Transfer{people()["bob"].Account(), 10_001})
	w.expect(w.apply("alice", tx), NoCoins)
	tx.Args = &Transfer{people()["bob"].Account(), 1}
	w.expect(w.apply("alice", tx), OK)
}

// Declare carries the first opens, which can know the intention's name before
// it exists; one that fails does not undo it.
func TestDeclareCarriesOpens(t *testing.T) {
	w := newWorld(t)
	tx := w.transaction(nil)
	i := payment.IntentionOf(w.ledger, people()["alice"].Account(), w.film, tx.Request)
	a, chain := w.promise("alice", "seller", i, 64)
	b, _ := w.promise("alice", "other", i, 64)
	tx.Args = &Declare{w.film, 50, 100, price, []Open{{a, 40}, {b, 40}}, nil}
	got := w.apply("alice", tx)
	if got.Code != OK || got.Coins != 500 || !cmp.Equal(got.Items, []Code{OK, NoFunds}) {
		t.Fatalf("%+v", got)
	}
	w.audit()
	w.ok("seller", redeemOf(&a, chain, 0, 40))
	again := w.apply("alice", tx)
	if again.Wrote || !cmp.Equal(again.Items, got.Items) {
		t.Errorf("again: %+v", again)
	}
	w.has("alice", 9500, 100)
}

// L10: an unknown or revoked identity can freeze, open and transfer nothing;
// what it earned stays redeemable.
func TestRevokedSpendsNothingAndLosesNothing(t *testing.T) {
	w := newWorld(t)
	bob := people()["bob"]
	i := w.declare("bob", 100)
	mine, _ := w.opened("bob", "seller", i, 64, 10)
	next, _ := w.promise("bob", "seller", i, 64)
	earned, chain := w.opened("alice", "bob", w.declare("alice", 100), 64, 64)
	w.refused("mallory", &Revoke{bob.MSP, bob.SPKI}, NotAdmin)
	w.refused("admin", &Revoke{"Org9MSP", bob.SPKI}, UnknownMember)
	w.refused("admin", &Revoke{people()["admin"].MSP, people()["admin"].SPKI}, IsAdministrator)
	w.ok("admin", &Revoke{bob.MSP, bob.SPKI})
	w.refused("admin", &Revoke{bob.MSP, bob.SPKI}, Already)
	if !w.account("bob").Revoked {
		t.Error("not shown")
	}
	for _, args := range []Arguments{
		&Declare{Torrent: w.film, Units: 1, Margin: 100, MaxPrice: price}, &AddFunds{i, 1, 100}, &OpenMany{[]Open{{next, 1}}},
		&TopUpMany{[]TopUp{{mine.ID(), 1, 20}}}, &Transfer{people()["alice"].Account(), 1},
	} {
		w.refused("bob", args, Revoked)
	}
	w.ok("bob", redeemOf(&earned, chain, 0, 50))
	w.ok("bob", &Sweep{[]TxID{w.last.ID(bob.Account())}})
	w.ok("bob", &Close{i})
	w.has("bob", 10_400, 100)
	w.refused("admin", &Reinstate{people()["alice"].Account()}, Already)
	w.ok("admin", &Reinstate{bob.Account()})
	w.ok("bob", &Transfer{people()["alice"].Account(), 10_400})
	for c := range calls {
		if r := Call(c).rules(); r != nil {
			tx := &Transaction{w.ledger, w.now, payment.RequestID{}, r.make()}
			if a, ok := tx.Args.(*Propose); ok {
				a.Decision = &SetPrice{}
			}
			if got := must[Result](t)(Apply(w.state, people()["stranger"].Creator, tx)); got.Code != UnknownMember {
				t.Errorf("a stranger's %s: %v", Call(c), got.Code)
			}
		}
	}
}

func TestOtherLedgersTransactionsAreRefused(t *testing.T) {
	w := newWorld(t)
	tx := w.transaction(&Transfer{people()["bob"].Account(), 1})
	tx.Ledger[0]++
	w.expect(w.apply("alice", tx), OtherLedger)
	if _, err := Apply(memory{}, people()["alice"].Creator, tx); err == nil {
		t.Error("a ledger that has not begun answers")
	}
}

func TestRootsOfAuthorities(t *testing.T) {
	w := newWorld(t)
	one, two := sha256.Sum256(authorityRoot()), sha256.Sum256(secondRoot())
	w.refused("alice", &AddRoot{"Org1MSP", secondRoot()}, NotAdmin)
	w.refused("admin", &AddRoot{"Org2MSP", secondRoot()}, UnknownMember)
	w.refused("admin", &AddRoot{"Org1MSP", []byte{0x30}}, BadRoot)
	w.refused("admin", &AddRoot{"Org1MSP", authorityRoot()}, Already)
	w.refused("admin", &RemoveRoot{"Org1MSP", two}, NoRoot)
	w.refused("admin", &RemoveRoot{"Org1MSP", one}, LastRoot)
	w.trusts(authorityRoot())
	w.ok("admin", &AddRoot{"Org1MSP", secondRoot()})
	w.trusts(authorityRoot(), secondRoot())
	w.ok("admin", &RemoveRoot{"Org1MSP", one})
	w.trusts(secondRoot())
	w.refused("admin", &RemoveRoot{"Org1MSP", one}, Already)
	w.refused("admin", &RemoveRoot{"Org1MSP", two}, LastRoot)
	roots := must[Answer](t)(Ask(w.state.memory, Query{Kind: QueryRoots})).Roots
	trusted := 0
	for _, r := range roots {
		if r.Trusted {
			trusted++
		}
	}
	if len(roots) != 2 || trusted != 1 || roots[0].MSP != "Org1MSP" {
		t.Errorf("%+v", roots)
	}
	w.ok("admin", &AddRoot{"Org1MSP", authorityRoot()})
	w.trusts(secondRoot(), authorityRoot())
	for _, other := range []string{"Org2MSP", "", "Org1MSP/"} {
		if got := must[[][]byte](t)(TrustedRoots(w.state.memory, other)); len(got) > 0 {
			t.Errorf("%q: %d roots", other, len(got))
		}
	}
}

// trusts compares the one row by which transactions are admitted.
func (w *world) trusts(roots ...[]byte) {
	w.t.Helper()
	if diff := cmp.Diff(roots, must[[][]byte](w.t)(TrustedRoots(w.state.memory, "Org1MSP"))); diff != "" {
		w.t.Fatal(diff)
	}
}

// What a call reads for sure: each row costs a ledger on other machines. Of whom a
// call may be though it is revoked, that is not asked.
func TestReads(t *testing.T) {
	w := newWorld(t)
	c, chain := w.opened("alice", "seller", w.declare("alice", 100), 64, 64)
	id, seller := c.ID(), people()["seller"].Creator
	redeem := w.transaction(redeemOf(&c, chain, 0, 5))
	want := []string{keyOrganisation("Org1MSP"), keyCommitment(id), keyRedeemed(id)}
	if diff := cmp.Diff(want, Reads(seller, redeem)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(append(want, keyCap(id, 1)), Reads(seller, w.transaction(redeemOf(&c, chain, 1, 5)))); diff != "" {
		t.Error(diff)
	}
	transfer := w.transaction(&Transfer{To: c.Payer, Coins: 1})
	want = []string{keyOrganisation("Org1MSP"), keyRevoked(seller.Account()), keyRequest(seller.Account(), transfer.Request)}
	if diff := cmp.Diff(want, Reads(seller, transfer)); diff != "" {
		t.Error(diff)
	}
	for _, tx := range []*Transaction{redeem, transfer} {
		own := tx.ID(seller.Account())
		st := &counting{State: newCommitted(copyOf(w.state.memory)), read: map[string]bool{}}
		if r, err := Apply(st, seller, tx); err != nil || tx == redeem && r.Code != OK {
			t.Fatal(r, err)
		}
		for _, key := range Reads(seller, tx) {
			if !st.read[key] {
				t.Errorf("%s: %s is not read", tx.Args.Call(), key)
			}
		}
		for key := range st.read {
			if Unwritten(key, own) != (key == keyCredit(seller.Account(), own)) {
				t.Errorf("%s: %s", tx.Args.Call(), key)
			}
			if tx == redeem && !slices.Contains(Reads(seller, tx), key) && !Unwritten(key, own) {
				t.Errorf("a redeem reads %s, too", key)
			}
		}
	}
}

// counting notes which rows are read.
type counting struct {
	State
	read map[string]bool
}

func (c *counting) Get(key string) ([]byte, error) {
	c.read[key] = true
	return c.State.Get(key)
}

func (c *counting) GetMany(keys []string) ([][]byte, error) {
	for _, key := range keys {
		c.read[key] = true
	}
	return c.State.GetMany(keys)
}
