package wallet

import (
	"crypto/ecdsa"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	bolt "go.etcd.io/bbolt"

	"torrente/internal/vectors"
	"torrente/payment"
)

// reopens runs a check on a wallet as it is, after SIGKILL, and after Close.
func reopens(t *testing.T, dir string, w *Wallet, check func(t *testing.T, w *Wallet)) {
	t.Helper()
	t.Run("open", func(t *testing.T) { check(t, w) })
	t.Run("killed", func(t *testing.T) { check(t, opened(t, crashed(t, dir), testConfig())) })
	ok(t, w.Close())
	t.Run("closed", func(t *testing.T) { check(t, opened(t, dir, testConfig())) })
}

func TestPayer(t *testing.T) {
	dir := t.TempDir()
	w := opened(t, dir, testConfig())
	c0, c1 := commitment(0, true), commitment(1, true)
	in := &Intention{ID: payment.IntentionID{4}, Torrent: payment.TorrentID{5}, Request: payment.RequestID{6}, Units: 100, Coins: 1250}
	r := Reservation{
		Request: payment.RequestID{6}, Signed: []byte("declare"), Intention: in,
		Openings: []Opening{openingOf(c0, 20), openingOf(c1, 30)},
	}
	ok(t, w.Reserve(r))
	ok(t, w.Reserve(r)) // again: no effect
	ok(t, w.Reserve(Reservation{
		Request: payment.RequestID{1}, Signed: []byte("top up"),
		Caps: map[payment.CommitmentID]uint32{c0.ID(): 50},
	}))
	ok(t, w.SetCap(c0.ID(), 40)) // caps only rise
	for _, unit := range []uint32{7, 4096, 7, 1<<32 - 1, 0, 63, 64} {
		must[bool](t)(w.Owed(c0.ID(), unit))
	}
	if n, err := w.OwedMany([]payment.Delivery{owe(c1, 5), owe(c1, 5), owe(c0, 7), owe(c0, 8)}); n != 2 || err != nil {
		t.Errorf("%d new, %v", n, err)
	}
	if fresh, err := w.Owed(c1.ID(), 5); fresh || err != nil {
		t.Errorf("a unit is owed twice: %v", err)
	}
	ok(t, w.Ended(c1.ID(), 1))
	if _, err := w.Owed(c1.ID(), 6); !errors.Is(err, ErrFinal) {
		t.Errorf("owed on an ended chain: %v", err)
	}
	want0, want1 := openingOf(c0, 50), openingOf(c1, 30)
	want0.Owed, want1.Owed, want1.Ended, want1.Final = 7, 1, true, 1
	reopens(t, dir, w, func(t *testing.T, w *Wallet) {
		for _, want := range []Opening{want0, want1} {
			got, _ := w.Opening(want.Commitment.ID())
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
		}
		if got := must[[]uint32](t)(w.OwedUnits(c0.ID())); !cmp.Equal(got, []uint32{0, 7, 8, 63, 64, 4096, 1<<32 - 1}) {
			t.Errorf("owed: %v", got)
		}
		if d := cmp.Diff([]Intention{*in}, w.Intentions()); d != "" {
			t.Error(d)
		}
		want := []Submission{{payment.RequestID{6}, []byte("declare")}, {payment.RequestID{1}, []byte("top up")}}
		if d := cmp.Diff(want, must[[]Submission](t)(w.PendingSubmissions())); d != "" {
			t.Error(d)
		}
	})
	w = opened(t, t.TempDir(), testConfig())
	if len(w.Openings()) != 0 {
		t.Error("a new wallet has openings")
	}
}

func TestReleasedIsFolded(t *testing.T) {
	dir := t.TempDir()
	w := opened(t, dir, testConfig())
	c := commitment(0, true)
	ok(t, w.Reserve(Reservation{Openings: []Opening{openingOf(c, 20)}}))
	ok(t, w.Released(c.ID(), 12))
	ok(t, w.Released(c.ID(), 11))
	ok(t, w.Close())
	if o, _ := opened(t, dir, testConfig()).Opening(c.ID()); o.Released != 12 {
		t.Errorf("released %d", o.Released)
	}
}

func TestReceiver(t *testing.T) {
	dir := t.TempDir()
	w := opened(t, dir, testConfig())
	c0, c1, c2 := commitment(0, false), commitment(1, false), commitment(2, false)
	for _, c := range []*payment.Commitment{c2, c0, c1} {
		ok(t, w.SaveClaim(c, payment.Signature{1}))
	}
	ok(t, w.Link(c0.ID(), linkOf(c0, 5)))
	ok(t, w.Links([]Paid{
		{c0.ID(), linkOf(c0, 9)}, {c0.ID(), linkOf(c0, 8)}, {c1.ID(), linkOf(c1, testLinks)}, {c2.ID(), linkOf(c2, 3)},
	}))
	ok(t, w.SaveClaim(c0, payment.Signature{2})) // held: nothing changes
	ok(t, w.Redeemed(map[payment.CommitmentID]uint32{c0.ID(): 4, c1.ID(): 10}))
	ok(t, w.Redeemed(map[payment.CommitmentID]uint32{c0.ID(): 3}))
	signed := closeOf(c0, 7)
	ok(t, w.SignedClose(signed))
	ok(t, w.SignedClose(signed)) // again: no effect
	if err := w.Link(c0.ID(), linkOf(c0, 10)); !errors.Is(err, ErrFinal) {
		t.Errorf("a link after the close: %v", err)
	}
	ok(t, w.Ended(c2.ID(), 2))
	want := []Claim{
		{Commitment: *c0, Signature: payment.Signature{1}, Best: linkOf(c0, 9), Redeemed: 4, Close: signed},
		{Commitment: *c1, Signature: payment.Signature{1}, Best: linkOf(c1, testLinks), Redeemed: 10},
		{Commitment: *c2, Signature: payment.Signature{1}, Best: linkOf(c2, 3), Redeemed: 2, Ended: true},
	}
	reopens(t, dir, w, func(t *testing.T, w *Wallet) {
		if d := cmp.Diff(want, w.Claims()); d != "" {
			t.Error(d)
		}
		units, coins := w.Redeemable(today)
		if units != 3+testLinks-10 || coins != 10*payment.Amount(units) {
			t.Errorf("%d units, %s coins redeemable", units, coins)
		}
		if units, _ := w.Redeemable(today.Add(time.Hour)); units != testLinks-10 {
			t.Errorf("%d units redeemable after one expired", units)
		}
		if err := w.Link(c0.ID(), linkOf(c0, 10)); !errors.Is(err, ErrFinal) {
			t.Errorf("a link after the close: %v", err)
		}
	})
}

func TestForget(t *testing.T) {
	dir := t.TempDir()
	w := opened(t, dir, testConfig())
	sale, buy, stays := commitment(0, false), commitment(1, true), commitment(2, true)
	ok(t, w.SaveClaim(sale, payment.Signature{}))
	ok(t, w.Reserve(Reservation{Openings: []Opening{openingOf(buy, 9), openingOf(stays, 9)}}))
	ok(t, w.Link(sale.ID(), linkOf(sale, 5)))
	for unit := range uint32(3) {
		must[bool](t)(w.Owed(buy.ID(), unit*chunkUnits))
		must[bool](t)(w.Owed(stays.ID(), unit))
	}
	for _, c := range []*payment.Commitment{sale, buy} {
		if err := w.Forget(c.ID()); err == nil {
			t.Error("one that has not ended was forgotten")
		}
		ok(t, w.Ended(c.ID(), 3))
		ok(t, w.Forget(c.ID()))
		ok(t, w.Forget(c.ID()))
	}
	reopens(t, dir, w, func(t *testing.T, w *Wallet) {
		if n := len(w.Claims()); n != 0 {
			t.Errorf("%d claims", n)
		}
		if n := len(w.Openings()); n != 1 {
			t.Errorf("%d openings", n)
		}
		if got := must[[]uint32](t)(w.OwedUnits(stays.ID())); !cmp.Equal(got, []uint32{0, 1, 2}) {
			t.Errorf("owed: %v", got)
		}
	})
}

func TestSubmissions(t *testing.T) {
	w := opened(t, t.TempDir(), testConfig())
	in := Intention{ID: payment.IntentionID{1}}
	ok(t, w.Reserve(Reservation{Request: payment.RequestID{1}, Signed: []byte("a"), Intention: &in}))
	ok(t, w.DoneSubmission(payment.RequestID{1}))
	ok(t, w.DoneSubmission(payment.RequestID{1}))
	ok(t, w.IntentionClosed(in.ID))
	if got := must[[]Submission](t)(w.PendingSubmissions()); len(got)+len(w.Intentions()) != 0 {
		t.Errorf("left: %v", got)
	}
	ok(t, w.Reserve(Reservation{Request: payment.RequestID{1}, Signed: []byte("b")}))
	c := commitment(0, true)
	err := w.Reserve(Reservation{Request: payment.RequestID{1}, Signed: []byte("c"), Openings: []Opening{openingOf(c, 1)}})
	if !errors.Is(err, ErrRequest) {
		t.Errorf("other bytes under one request id: %v", err)
	}
	if _, held := w.Opening(c.ID()); held {
		t.Error("half of a reservation was kept")
	}
}

func TestBooksHistoryAndNumbers(t *testing.T) {
	dir := t.TempDir()
	w := opened(t, dir, testConfig())
	if height := must[uint64](t)(w.Height()); height != 0 {
		t.Errorf("a new wallet's height is %d", height)
	}
	ok(t, w.SetHeight(1<<40))
	ok(t, w.SetHeight(99))
	ok(t, w.SaveBooks(map[payment.Account][]byte{{1}: []byte("one"), {2}: []byte("two"), {3}: []byte("three")}))
	ok(t, w.SaveBook(payment.Account{2}, nil))
	ok(t, w.SetLimit(1234))
	for n := range 3 {
		ok(t, w.AddEvent(Event{At: today.Add(time.Duration(n) * time.Second), Kind: "redeemed", Coins: payment.Amount(n)}))
	}
	if err := w.AddEvent(Event{Text: strings.Repeat("x", maxEventText+1)}); err == nil {
		t.Error("an endless event was kept")
	}
	reopens(t, dir, w, func(t *testing.T, w *Wallet) {
		want := map[payment.Account][]byte{{1}: []byte("one"), {3}: []byte("three")}
		if d := cmp.Diff(want, must[map[payment.Account][]byte](t)(w.Books())); d != "" {
			t.Error(d)
		}
		events := must[[]Event](t)(w.History(2))
		if len(events) != 2 || events[0].Coins != 2 || events[1].Coins != 1 || !events[0].At.Equal(today.Add(2*time.Second)) {
			t.Errorf("history: %+v", events)
		}
		if limit := must[payment.Amount](t)(w.Limit()); limit != 1234 {
			t.Errorf("limit %s", limit)
		}
		if height := must[uint64](t)(w.Height()); height != 99 {
			t.Errorf("height %d", height)
		}
	})
}

func TestHistoryIsBounded(t *testing.T) {
	w := opened(t, t.TempDir(), testConfig())
	ok(t, w.AddEvent(Event{Kind: "first"}))
	b := must[*bolt.Tx](t)(w.db.Begin(true))
	ok(t, b.Bucket(historyBucket).SetSequence(MaxHistory))
	ok(t, b.Commit())
	ok(t, w.AddEvent(Event{Kind: "last"}))
	events := must[[]Event](t)(w.History(MaxHistory))
	if len(events) != 1 || events[0].Kind != "last" {
		t.Errorf("history: %+v", events)
	}
}

func TestRefusals(t *testing.T) {
	w := opened(t, t.TempDir(), testConfig())
	in, out := commitment(0, false), commitment(1, true)
	ok(t, w.SaveClaim(in, payment.Signature{}))
	ok(t, w.Link(in.ID(), linkOf(in, 9)))
	ok(t, w.Reserve(Reservation{Openings: []Opening{openingOf(out, 9)}}))
	stranger, other, bad := commitment(2, true), commitment(3, true), commitment(4, true)
	stranger.Payer, other.Ledger, bad.Links = payment.Account{77}, payment.LedgerID{77}, 0
	unknown := payment.CommitmentID{1}
	caps := func(id payment.CommitmentID, n uint32) Reservation {
		return Reservation{Caps: map[payment.CommitmentID]uint32{id: n}}
	}
	for name, c := range map[string]struct{ err, want error }{
		"claim of another":        {w.SaveClaim(out, payment.Signature{}), ErrForeign},
		"claim of no links":       {w.SaveClaim(bad, payment.Signature{}), payment.ErrCommitment},
		"link of unknown":         {w.Link(unknown, linkOf(in, 1)), ErrUnknown},
		"link beyond the chain":   {w.Link(in.ID(), payment.Claim{Index: testLinks + 1}), ErrRange},
		"close of unknown":        {w.SignedClose(closeOf(out, 1)), ErrUnknown},
		"close beyond the best":   {w.SignedClose(closeOf(in, 10)), ErrRange},
		"redeemed of unknown":     {w.Redeemed(map[payment.CommitmentID]uint32{unknown: 1}), ErrUnknown},
		"redeemed beyond":         {w.Redeemed(map[payment.CommitmentID]uint32{in.ID(): testLinks + 1}), ErrRange},
		"opening by another":      {w.Reserve(Reservation{Openings: []Opening{openingOf(stranger, 1)}}), ErrForeign},
		"opening elsewhere":       {w.Reserve(Reservation{Openings: []Opening{openingOf(other, 1)}}), ErrForeign},
		"opening of no links":     {w.Reserve(Reservation{Openings: []Opening{openingOf(bad, 1)}}), payment.ErrCommitment},
		"opening without cap":     {w.Reserve(Reservation{Openings: []Opening{openingOf(commitment(5, true), 0)}}), ErrRange},
		"opening above the chain": {w.Reserve(Reservation{Openings: []Opening{openingOf(commitment(5, true), testLinks+1)}}), ErrRange},
		"cap above the chain":     {w.Reserve(caps(out.ID(), testLinks+1)), ErrRange},
		"cap of unknown":          {w.SetCap(unknown, 1), ErrUnknown},
		"released of unknown":     {w.Released(unknown, 1), ErrUnknown},
		"released beyond":         {w.Released(out.ID(), testLinks+1), ErrRange},
		"end of unknown":          {w.Ended(unknown, 1), ErrUnknown},
		"end beyond":              {w.Ended(out.ID(), testLinks+1), ErrRange},
		"end of claim beyond":     {w.Ended(in.ID(), testLinks+1), ErrRange},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v, want %v", name, c.err, c.want)
		}
	}
	if _, err := w.Owed(unknown, 1); !errors.Is(err, ErrUnknown) {
		t.Errorf("owed on unknown: %v", err)
	}
	if _, err := w.OwedUnits(unknown); !errors.Is(err, ErrUnknown) {
		t.Errorf("units of unknown: %v", err)
	}
	// A batch that is refused keeps nothing.
	if err := w.Links([]Paid{{in.ID(), linkOf(in, 20)}, {unknown, linkOf(in, 1)}}); !errors.Is(err, ErrUnknown) {
		t.Errorf("batch: %v", err)
	}
	if _, err := w.OwedMany([]payment.Delivery{{Commitment: out.ID(), Unit: 1}, {Commitment: unknown, Unit: 1}}); !errors.Is(err, ErrUnknown) {
		t.Errorf("batch: %v", err)
	}
	c, _ := w.Claim(in.ID())
	if o, _ := w.Opening(out.ID()); c.Best.Index != 9 || o.Owed != 0 {
		t.Errorf("a refused batch left %d links, %d units", c.Best.Index, o.Owed)
	}
	ok(t, w.Ended(out.ID(), 1))
	if err := w.SetCap(out.ID(), 10); !errors.Is(err, ErrFinal) {
		t.Errorf("cap after the end: %v", err)
	}
	ok(t, w.Ended(in.ID(), 1))
	if err := w.SignedClose(closeOf(in, 9)); !errors.Is(err, ErrFinal) {
		t.Errorf("close after the end: %v", err)
	}
}

func TestSecondCloseIsRefused(t *testing.T) {
	w := opened(t, t.TempDir(), testConfig())
	c := commitment(0, false)
	ok(t, w.SaveClaim(c, payment.Signature{}))
	ok(t, w.Link(c.ID(), linkOf(c, 9)))
	ok(t, w.SignedClose(closeOf(c, 9)))
	if err := w.SignedClose(closeOf(c, 8)); !errors.Is(err, ErrFinal) {
		t.Errorf("a second close: %v", err)
	}
}

func TestClosedWallet(t *testing.T) {
	w := must[*Wallet](t)(Open(t.TempDir(), testConfig()))
	in, out := commitment(0, false), commitment(1, true)
	ok(t, w.SaveClaim(in, payment.Signature{}))
	ok(t, w.Reserve(Reservation{Openings: []Opening{openingOf(out, 9)}}))
	ok(t, w.Close())
	ok(t, w.Close())
	_, owed := w.Owed(out.ID(), 1)
	_, books := w.Books()
	for name, err := range map[string]error{
		"link": w.Link(in.ID(), linkOf(in, 1)), "owed": owed, "book": w.SaveBook(payment.Account{}, []byte{1}), "books": books,
	} {
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhoseWallet(t *testing.T) {
	dir := t.TempDir()
	ok(t, opened(t, dir, testConfig()).Close())
	for name, c := range map[string]struct {
		change func(*Config)
		want   error
	}{
		"account": {func(c *Config) { c.Account[31]++ }, ErrAccount},
		"ledger":  {func(c *Config) { c.Ledger[31]++ }, ErrAccount},
		"key":     {func(c *Config) { c.Key[31]++ }, ErrKey},
	} {
		config := testConfig()
		c.change(&config)
		if _, err := Open(dir, config); !errors.Is(err, c.want) {
			t.Errorf("another %s: %v", name, err)
		}
	}
	other, config := t.TempDir(), testConfig()
	config.Account[0]++
	ok(t, opened(t, other, config).Close())
	for _, name := range []string{linksName, owedName} {
		mixed := crashed(t, dir)
		ok(t, os.WriteFile(filepath.Join(mixed, name), must[[]byte](t)(os.ReadFile(filepath.Join(other, name))), 0o600))
		if _, err := Open(mixed, testConfig()); !errors.Is(err, ErrAccount) {
			t.Errorf("another account's %s: %v", name, err)
		}
	}
}

func TestSeeds(t *testing.T) {
	alice, bob := must[[32]byte](t)(DeriveKey(vectors.Key(t, "alice"))), must[[32]byte](t)(DeriveKey(vectors.Key(t, "bob")))
	if alice == bob || alice != must[[32]byte](t)(DeriveKey(vectors.Key(t, "alice"))) {
		t.Error("a key gives not one wallet key of its own")
	}
	if _, err := DeriveKey(&ecdsa.PrivateKey{}); err == nil {
		t.Error("no key gave a wallet key")
	}
	dir := t.TempDir()
	w := opened(t, dir, testConfig())
	one, two := must[payment.Seed](t)(w.Seed(payment.ChainID{1})), must[payment.Seed](t)(w.Seed(payment.ChainID{2}))
	ok(t, w.Close())
	w = opened(t, dir, testConfig())
	if again := must[payment.Seed](t)(w.Seed(payment.ChainID{1})); one == two || one != again {
		t.Error("a chain has not one seed of its own")
	}
	elsewhere := must[payment.Seed](t)(opened(t, t.TempDir(), testConfig()).Seed(payment.ChainID{1}))
	if elsewhere == one {
		t.Error("two wallets have one secret")
	}
	for _, name := range []string{dbName, linksName, owedName} {
		raw := string(must[[]byte](t)(os.ReadFile(filepath.Join(dir, name))))
		if strings.Contains(raw, string(w.secret[:])) || strings.Contains(raw, string(one[:])) {
			t.Errorf("%s holds the secret in the clear", name)
		}
	}
}

// All methods at once, under the race detector, with folds in between.
func TestTogether(t *testing.T) {
	dir, config := t.TempDir(), testConfig()
	config.SyncEvery, config.foldAt = time.Millisecond, 4096
	w := opened(t, dir, config)
	in, out := commitment(0, false), commitment(1, true)
	ok(t, w.SaveClaim(in, payment.Signature{}))
	ok(t, w.Reserve(Reservation{Openings: []Opening{openingOf(out, 9)}}))
	var all sync.WaitGroup
	each := func(n uint32, do func(n uint32) error) {
		all.Go(func() {
			for i := range n {
				if err := do(i + 1); err != nil {
					t.Error(err)
				}
			}
		})
	}
	each(testLinks, func(n uint32) error { return w.Link(in.ID(), linkOf(in, n)) })
	each(testLinks, func(n uint32) error { _, err := w.Owed(out.ID(), n); return err })
	each(testLinks, func(n uint32) error { _, err := w.Owed(out.ID(), n+500); return err })
	each(testLinks, func(n uint32) error { return w.Released(out.ID(), n) })
	each(20, func(n uint32) error { return w.SetCap(out.ID(), n+9) })
	each(20, func(n uint32) error { return w.Redeemed(map[payment.CommitmentID]uint32{in.ID(): n}) })
	each(20, func(n uint32) error { return w.SaveBook(payment.Account{byte(n)}, []byte{1}) })
	each(20, func(uint32) error { w.Claims(); w.Openings(); w.Redeemable(today); return nil })
	all.Wait()
	check := func(w *Wallet) {
		c, _ := w.Claim(in.ID())
		o, _ := w.Opening(out.ID())
		if c.Best != linkOf(in, testLinks) || c.Redeemed != 20 || o.Owed != testLinks+500 || o.Cap != 29 {
			t.Errorf("%+v, %+v", c, o)
		}
	}
	check(w)
	check(opened(t, crashed(t, dir), testConfig()))
	ok(t, w.Close())
	w = opened(t, dir, testConfig())
	check(w)
	if o, _ := w.Opening(out.ID()); o.Released != testLinks {
		t.Errorf("released %d", o.Released)
	}
}

func owe(c *payment.Commitment, unit uint32) payment.Delivery {
	return payment.Delivery{Commitment: c.ID(), Unit: unit}
}
