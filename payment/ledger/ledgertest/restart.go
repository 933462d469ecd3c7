package ledgertest

import (
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"torrente/payment/contract"
)

// restart looks at everything before and after.
func restart(t *testing.T, f *Fixture) {
	signed := f.transfer(t, 21)
	receipt := f.submit(t, signed)
	rich, poor := f.account(t, AccountOf(f.Rich)), f.account(t, AccountOf(f.Poor))
	before := f.blocks(t, 1, receipt.Height)
	id := f.Ledger.ID()
	f.Ledger = f.Restart(t)
	if f.Ledger.ID() != id {
		t.Fatalf("it is the ledger %v, and was %v", f.Ledger.ID(), id)
	}
	if d := cmp.Diff(receipt, f.submit(t, signed)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(rich, f.account(t, AccountOf(f.Rich))) + cmp.Diff(poor, f.account(t, AccountOf(f.Poor))); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(before, f.blocks(t, 1, receipt.Height)); d != "" {
		t.Error(d)
	}
	f.done(t, f.Rich, &contract.Transfer{To: AccountOf(f.Poor), Coins: 1})
}

// submitters has several send transactions of one account at once, each twice:
// all of them write its balance, and none may be lost or done twice.
func submitters(t *testing.T, f *Fixture) {
	const crowd, each = 4, 4
	before := f.account(t, AccountOf(f.Poor)).Available
	var all sync.WaitGroup
	for range crowd {
		var calls []*contract.Signed
		for range each {
			calls = append(calls, f.transfer(t, 1))
		}
		all.Go(func() {
			for _, call := range calls {
				for range 2 {
					if r, err := f.Ledger.Submit(t.Context(), call); err != nil || r.Code != contract.OK || r.Coins != 1 {
						t.Errorf("%+v, %v", r, err)
					}
				}
			}
		})
	}
	// The same transaction at the same moment is done once, too.
	same := f.transfer(t, 100)
	for range crowd {
		all.Go(func() {
			if r, err := f.Ledger.Submit(t.Context(), same); err != nil || r.Code != contract.OK || r.Coins != 100 {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
	all.Wait()
	if got := f.account(t, AccountOf(f.Poor)).Available; got != before+crowd*each+100 {
		t.Errorf("%s, and before %s", got, before)
	}
}
