package ledgertest

import (
	"testing"

	"torrente/payment"
)

// Run runs all tests on one ledger, which open makes ready and which its
// cleanups end.
func Run(t *testing.T, open func(t *testing.T) *Fixture) {
	f := open(t)
	for _, promise := range []struct {
		says  string
		holds func(t *testing.T, f *Fixture)
	}{
		{"a receipt says what was done, again and again", receipts},
		{"a request id is used once", requests},
		{"a refusal is a receipt with its code", refusals},
		{"items of a list succeed or fail alone", items},
		{"errors that stay", errorsThatStay},
		{"the clock", clocks},
		{"queries see what was committed", queries},
		{"pages", pages},
		{"a download is paid", download},
		{"events come in order without gaps", events},
		{"submitters do not stand in each other's way", submitters},
		{"a context that is over", contexts},
		{"a restart changes nothing", restart},
	} {
		t.Run(promise.says, func(t *testing.T) {
			promise.holds(t, f)
			f.conserved(t)
		})
	}
}

// conserved adds up the coins of all accounts: there are as many as were
// minted (L1). A call whose caller went away may be executed meanwhile: then they are
// added up anew.
func (f *Fixture) conserved(t *testing.T) {
	t.Helper()
	for before := f.info(t); ; {
		sum, after := f.coins(t), f.info(t)
		if after.Height == before.Height {
			if sum != after.Minted {
				t.Errorf("%s coins are somewhere, %s were minted", sum, after.Minted)
			}
			return
		}
		before = after
	}
}

// coins adds up those of all accounts.
func (f *Fixture) coins(t *testing.T) (sum payment.Amount) {
	t.Helper()
	for _, a := range append(f.Others[:len(f.Others):len(f.Others)], AccountOf(f.Rich), AccountOf(f.Poor)) {
		i := f.account(t, a)
		for _, coins := range []payment.Amount{i.Balance, i.Unswept, i.Frozen} {
			var ok bool
			if sum, ok = sum.Add(coins); !ok {
				t.Fatal("the coins exceed 64 bits")
			}
		}
	}
	return sum
}
