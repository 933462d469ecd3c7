package federation

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"torrente/identity"
	"torrente/payment"
	"torrente/payment/contract"
	"torrente/payment/ledger"
)

// conforms runs what every Ledger promises.
func conforms(t *testing.T, p *place, l ledger.Ledger, rich, poor *identity.Identity) {
	ctx := t.Context()
	transfer := func(coins payment.Amount) *contract.Signed {
		return p.signed(t, rich, &contract.Transfer{To: accountOf(poor), Coins: coins})
	}
	if l.ID() != p.books.ID() {
		t.Errorf("it is the ledger %v", l.ID())
	}
	t.Run("a receipt says what was done, again and again", func(t *testing.T) {
		tx := transfer(3)
		r := must[ledger.Receipt](t)(l.Submit(ctx, tx))
		if r.Err() != nil || r.Coins != 3 || r.Height == 0 || r.Tx != contract.IDOf(accountOf(rich), tx.Body) {
			t.Errorf("%+v", r)
		}
		again := must[ledger.Receipt](t)(l.Submit(ctx, tx))
		if d := cmp.Diff(r, again); d != "" {
			t.Error(d)
		}
	})
	t.Run("a refusal is a receipt", func(t *testing.T) {
		r := must[ledger.Receipt](t)(l.Submit(ctx, transfer(1<<50)))
		if r.Code != contract.NoCoins || !errors.Is(r.Err(), contract.NoCoins) {
			t.Errorf("%+v", r)
		}
		list := must[ledger.Receipt](t)(l.Submit(ctx, p.signed(t, rich, &contract.Sweep{Credits: []contract.TxID{{1}}})))
		if list.Code != contract.NoneDone || len(list.Items) != 1 || list.Items[0] != contract.NoCredit {
			t.Errorf("%+v", list)
		}
	})
	t.Run("errors that stay", func(t *testing.T) {
		forged := *transfer(1)
		forged.Signature[5] ^= 1
		_, err := l.Submit(ctx, &forged)
		if !errors.Is(err, payment.ErrSignature) {
			t.Errorf("forged: %v", err)
		}
		if _, err := l.Submit(ctx, &contract.Signed{Body: []byte("x"), Chain: rich.Chain()}); !errors.Is(err, contract.ErrTransaction) {
			t.Errorf("no body: %v", err)
		}
		a := must[*identity.Authority](t)(identity.NewAuthority("Alpha", p.clock.now(), time.Hour))
		stranger := certified(t, a, "x", p.clock.now(), time.Hour)
		if _, err := l.Submit(ctx, p.signed(t, stranger, &contract.SetDelegate{})); !errors.Is(err, identity.ErrOtherFederation) {
			t.Errorf("a stranger: %v", err)
		}
		tx := transfer(1)
		p.clock.pass(time.Hour)
		_, err = l.Submit(ctx, tx)
		p.clock.pass(-time.Hour)
		if off, ok := errors.AsType[*ledger.ClockOff](err); !ok || off.Ledger.Sub(off.Tx).Round(time.Minute) != time.Hour {
			t.Errorf("an hour late: %v", err)
		}
		if _, err := l.Query(ctx, contract.Query{Kind: "x"}); !errors.Is(err, contract.ErrQuery) {
			t.Errorf("an unknown query: %v", err)
		}
	})
	t.Run("queries see what was committed", func(t *testing.T) {
		before := p.balance(t, accountOf(poor))
		must[ledger.Receipt](t)(l.Submit(ctx, transfer(11)))
		a := must[contract.Answer](t)(l.Query(ctx, contract.Query{Kind: contract.QueryAccount, Account: accountOf(poor)}))
		if a.Account.Available != before+11 {
			t.Errorf("%s, and before %s", a.Account.Available, before)
		}
		direct := must[contract.Answer](t)(p.books.Query(ctx, contract.Query{Kind: contract.QueryCredits, Account: accountOf(poor), Limit: 1}))
		same := must[contract.Answer](t)(l.Query(ctx, contract.Query{Kind: contract.QueryCredits, Account: accountOf(poor), Limit: 1}))
		for _, answer := range []*contract.Answer{&direct, &same} {
			if wrong := ledger.CompareClocks(p.clock.now(), p.clock.now(), time.Unix(int64(answer.Time), 0)); wrong != nil {
				t.Error(wrong)
			}
			answer.Time = 0
		}
		if d := cmp.Diff(direct, same); d != "" || same.Next == "" {
			t.Error(d)
		}
		a = must[contract.Answer](t)(l.Query(ctx, contract.Query{Kind: contract.QueryLedger}))
		if want := p.books.Status().Height; a.Ledger.Height != want {
			t.Errorf("height %d, want %d", a.Ledger.Height, want)
		}
	})
	t.Run("events come in order without gaps", func(t *testing.T) { followsEvents(t, p, l, transfer) })
	t.Run("a context that is over", func(t *testing.T) {
		over, cancel := context.WithCancel(ctx)
		cancel()
		if _, err := l.Submit(over, transfer(1)); !errors.Is(err, context.Canceled) {
			t.Errorf("Submit: %v", err)
		}
		if _, err := l.Query(over, contract.Query{Kind: contract.QueryLedger}); !errors.Is(err, context.Canceled) {
			t.Errorf("Query: %v", err)
		}
		for _, err := range l.Events(over, 1) {
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("Events: %v", err)
			}
		}
	})
}

// followsEvents reads all blocks, the last of which are committed meanwhile.
func followsEvents(t *testing.T, p *place, l ledger.Ledger, transfer func(payment.Amount) *contract.Signed) {
	last := p.books.Status().Height + 5
	go func() {
		for range 5 {
			if _, err := l.Submit(t.Context(), transfer(1)); err != nil {
				t.Error(err)
			}
		}
	}()
	for _, from := range []uint64{0, 1, 3, last} {
		next := max(from, 1)
		for b, err := range l.Events(t.Context(), from) {
			if err != nil {
				t.Fatal(err)
			}
			if b.Height != next || len(b.Events) == 0 || b.Time == 0 {
				t.Fatalf("from %d: block %d with %d events, not %d", from, b.Height, len(b.Events), next)
			}
			if next++; b.Height == last {
				break
			}
		}
	}
}

func TestLedgersConform(t *testing.T) {
	p := served(t, nil)
	rich, poor := p.enrolled(t, "rich").Identity, p.enrolled(t, "poor").Identity
	must[Funding](t)(p.Fund(t.Context(), FundRequest{To: "rich", Coins: 100_000}))
	credits := must[contract.Answer](t)(p.books.Query(t.Context(), contract.Query{Kind: contract.QueryCredits, Account: accountOf(rich)}))
	must[ledger.Receipt](t)(p.books.Submit(t.Context(), p.signed(t, rich, &contract.Sweep{Credits: []contract.TxID{credits.Credits[0].Tx}})))
	t.Run("embedded", func(t *testing.T) { conforms(t, p, p.books, rich, poor) })
	t.Run("remote", func(t *testing.T) { conforms(t, p, p.client(t, rich), rich, poor) })
	t.Run("remote, through another member", func(t *testing.T) { conforms(t, p, p.client(t, poor), rich, poor) })
}

// Members who transfer at random, embedded and over HTTP, lose no coin.
func TestCoinsAreConservedOverHTTP(t *testing.T) {
	p := served(t, nil)
	var who []*identity.Identity
	for _, name := range []string{"a", "b", "c"} {
		who = append(who, p.enrolled(t, name).Identity)
		must[Funding](t)(p.Fund(t.Context(), FundRequest{To: name, Coins: 100}))
	}
	ledgers := []ledger.Ledger{p.books, p.client(t, who[0]), p.client(t, who[1])}
	rapid.Check(t, func(r *rapid.T) {
		from := rapid.SampledFrom(who).Draw(r, "from")
		to := rapid.SampledFrom(who).Draw(r, "to")
		l := rapid.SampledFrom(ledgers).Draw(r, "through")
		var args contract.Arguments = &contract.Transfer{To: accountOf(to), Coins: payment.Amount(rapid.IntRange(0, 60).Draw(r, "coins"))}
		if rapid.Bool().Draw(r, "sweep") {
			a, err := l.Query(t.Context(), contract.Query{Kind: contract.QueryCredits, Account: accountOf(from)})
			if err != nil {
				r.Fatal(err)
			}
			s := &contract.Sweep{}
			for _, c := range a.Credits {
				s.Credits = append(s.Credits, c.Tx)
			}
			if args = s; len(s.Credits) == 0 {
				return
			}
		}
		if _, err := l.Submit(t.Context(), p.signed(t, from, args)); err != nil {
			r.Fatal(err)
		}
		books, err := p.books.Audit()
		if err != nil || !books.Conserved() {
			r.Fatalf("%+v, %v", books, err)
		}
	})
}
