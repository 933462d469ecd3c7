package federation

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"torrente/identity"
	"torrente/payment"
	"torrente/payment/contract"
	"torrente/payment/ledger"
	"torrente/payment/ledger/ledgertest"
)

// conforms runs what every Ledger promises on a federation of its own, whose
// ledger is seen as through says.
func conforms(t *testing.T, through func(p *place, rich, poor *identity.Identity) ledger.Ledger) {
	ledgertest.Run(t, func(t *testing.T) *ledgertest.Fixture {
		p := served(t, nil)
		rich, poor := p.enrolled(t, "rich").Identity, p.enrolled(t, "poor").Identity
		must[Funding](t)(p.Fund(t.Context(), FundRequest{To: "rich", Coins: 100_000}))
		credits := must[contract.Answer](t)(p.books.Query(t.Context(), contract.Query{Kind: contract.QueryCredits, Account: accountOf(rich)}))
		must[ledger.Receipt](t)(p.books.Submit(t.Context(), p.signed(t, rich, &contract.Sweep{Credits: []contract.TxID{credits.Credits[0].Tx}})))
		return &ledgertest.Fixture{
			Ledger: through(p, rich, poor), Rich: rich, Poor: poor, Now: p.clock.now,
			Others: []payment.Account{accountOf(p.administrator())},
			Restart: func(t *testing.T) ledger.Ledger {
				p.stop()
				p.open(t).serve(t)
				return through(p, rich, poor)
			},
		}
	})
}

func TestLedgersConform(t *testing.T) {
	t.Run("embedded", func(t *testing.T) {
		conforms(t, func(p *place, _, _ *identity.Identity) ledger.Ledger { return p.books })
	})
	t.Run("remote", func(t *testing.T) {
		conforms(t, func(p *place, rich, _ *identity.Identity) ledger.Ledger { return p.client(t, rich) })
	})
	t.Run("remote, through another member", func(t *testing.T) {
		conforms(t, func(p *place, _, poor *identity.Identity) ledger.Ledger { return p.client(t, poor) })
	})
}

// What a member is answered over HTTP is what the ledger answers.
func TestAnswersTravel(t *testing.T) {
	p := served(t, nil)
	who := p.enrolled(t, "a").Identity
	must[Funding](t)(p.Fund(t.Context(), FundRequest{To: "a", Coins: 100}))
	must[Funding](t)(p.Fund(t.Context(), FundRequest{To: "a", Coins: 50}))
	far := p.client(t, who)
	for _, q := range []contract.Query{
		{Kind: contract.QueryCredits, Account: accountOf(who), Limit: 1},
		{Kind: contract.QueryLedger},
		{Kind: contract.QueryAccount, Account: accountOf(who)},
		{Kind: contract.QueryRoots},
	} {
		direct := must[contract.Answer](t)(p.books.Query(t.Context(), q))
		same := must[contract.Answer](t)(far.Query(t.Context(), q))
		for _, answer := range []*contract.Answer{&direct, &same} {
			if wrong := ledger.CompareClocks(p.clock.now(), p.clock.now(), time.Unix(int64(answer.Time), 0)); wrong != nil {
				t.Error(wrong)
			}
			answer.Time = 0
		}
		if d := cmp.Diff(direct, same); d != "" {
			t.Errorf("%s: %s", q.Kind, d)
		}
	}
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
