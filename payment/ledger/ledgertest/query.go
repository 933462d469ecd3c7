package ledgertest

import (
	"testing"
	"time"

	"torrente/payment"
	"torrente/payment/contract"
	"torrente/payment/ledger"
)

// queries asks after a transaction, which the answer must have seen.
func queries(t *testing.T, f *Fixture) {
	for range 5 {
		before := f.account(t, AccountOf(f.Poor)).Available
		r := f.done(t, f.Rich, &contract.Transfer{To: AccountOf(f.Poor), Coins: 11})
		if got := f.account(t, AccountOf(f.Poor)).Available; got != before+11 {
			t.Errorf("%s, and before %s", got, before)
		}
		if h := f.info(t).Height; h < r.Height {
			t.Errorf("height %d after block %d", h, r.Height)
		}
	}
	asked := f.Now()
	a := f.ask(t, contract.Query{Kind: contract.QueryLedger})
	if wrong := ledger.CompareClocks(asked, f.Now(), time.Unix(int64(a.Time), 0)); wrong != nil || a.Time == 0 {
		t.Errorf("time %d: %v", a.Time, wrong)
	}
	if a.Ledger.ID != f.Ledger.ID() || a.Ledger.Price == 0 || a.Ledger.Epoch == 0 || a.Ledger.Organisations == 0 {
		t.Errorf("%+v", a.Ledger)
	}
	for what, q := range map[string]contract.Query{
		"an account": {Kind: contract.QueryAccount, Account: payment.Account{1}}, "a torrent": {Kind: contract.QueryTorrent},
		"an intention": {Kind: contract.QueryIntention}, "a commitment": {Kind: contract.QueryCommitment},
	} {
		a := f.ask(t, q)
		if a.Torrent != nil || len(a.Intentions)+len(a.Commitments) > 0 || a.Account != nil && a.Account.Available != 0 {
			t.Errorf("%s that was never seen: %+v", what, a)
		}
	}
}

// pages reads a list in pages of every length.
func pages(t *testing.T, f *Fixture) {
	for range 3 {
		f.done(t, f.Rich, &contract.Transfer{To: AccountOf(f.Poor), Coins: 2})
	}
	want := f.credits(t, 0)
	if len(want) < 3 {
		t.Fatalf("%d credits", len(want))
	}
	for limit := 1; limit <= len(want)+1; limit++ {
		got := f.credits(t, limit)
		for tx, coins := range want {
			if got[tx] != coins {
				t.Errorf("%d a page: credit %v of %s, not %s", limit, tx, got[tx], coins)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%d a page: %d credits of %d", limit, len(got), len(want))
		}
	}
}

// longestList is the most pages that a list is read in: one more is a list that
// never ends.
const longestList = 10_000

// credits returns all of Poor's, each of which must come once. Every page but
// the last goes on behind the one before.
func (f *Fixture) credits(t *testing.T, limit int) map[contract.TxID]payment.Amount {
	t.Helper()
	all := map[contract.TxID]payment.Amount{}
	q := contract.Query{Kind: contract.QueryCredits, Account: AccountOf(f.Poor), Limit: limit}
	for range longestList {
		a := f.ask(t, q)
		for _, c := range a.Credits {
			if _, twice := all[c.Tx]; twice {
				t.Fatalf("%d a page: %v comes twice", limit, c.Tx)
			}
			all[c.Tx] = c.Coins
		}
		if limit > 0 && len(a.Credits) > limit {
			t.Fatalf("a page of %d credits has %d", limit, len(a.Credits))
		}
		if a.Next == "" {
			return all
		}
		if len(a.Credits) == 0 || a.Next == q.After {
			t.Fatalf("%d a page: after %q comes %q, with %d credits", limit, q.After, a.Next, len(a.Credits))
		}
		q.After = a.Next
	}
	t.Fatalf("%d a page: the list does not end", limit)
	return nil
}
