package ledgertest

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"torrente/payment"
	"torrente/payment/contract"
	"torrente/payment/ledger"
)

// blocks reads all blocks from a height to another.
func (f *Fixture) blocks(t *testing.T, from, to uint64) (all []ledger.Block) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	next := max(from, 1)
	for b, err := range f.Ledger.Events(ctx, from) {
		if err != nil {
			t.Fatal(err)
		}
		if b.Height != next {
			t.Fatalf("from %d: block %d, not %d", from, b.Height, next)
		}
		for _, e := range b.Events {
			if e.Height != b.Height || b.Time == 0 {
				t.Errorf("block %d at %d: %+v", b.Height, b.Time, e)
			}
		}
		all = append(all, b)
		if next++; b.Height >= to {
			break
		}
	}
	return all
}

// events reads blocks, the last of which are committed meanwhile, and finds in
// each what its transactions did.
func events(t *testing.T, f *Fixture) {
	begin := f.info(t).Height + 1
	const n = 5
	var calls []*contract.Signed
	for i := range n {
		calls = append(calls, f.transfer(t, payment.Amount(1000+i)))
	}
	receipts := make(chan ledger.Receipt, n)
	go func() {
		defer close(receipts)
		for _, call := range calls {
			r, err := f.Ledger.Submit(t.Context(), call)
			if err != nil {
				t.Error(err)
				return
			}
			receipts <- r
		}
	}()
	live := f.untilCoins(t, begin, 1000+n-1)
	last := live[len(live)-1].Height
	for _, from := range []uint64{0, 1, 3, last} {
		all := f.blocks(t, from, last)
		tail := all[len(all)-min(len(all), len(live)):]
		if d := cmp.Diff(live[len(live)-len(tail):], tail); d != "" {
			t.Errorf("from %d: %s", from, d)
		}
	}
	i := 0
	for r := range receipts {
		if !f.tells(live, r.Height, payment.Amount(1000+i)) {
			t.Errorf("block %d does not tell of %d coins", r.Height, 1000+i)
		}
		i++
	}
	if i != n {
		t.Errorf("%d receipts", i)
	}
}

// untilCoins reads blocks until one tells of a transfer of so many coins.
func (f *Fixture) untilCoins(t *testing.T, from uint64, coins payment.Amount) (all []ledger.Block) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for b, err := range f.Ledger.Events(ctx, from) {
		if err != nil {
			t.Fatal(err)
		}
		if b.Height != from+uint64(len(all)) {
			t.Fatalf("block %d after %d from %d", b.Height, len(all), from)
		}
		all = append(all, b)
		if f.tells(all, b.Height, coins) {
			break
		}
	}
	return all
}

// tells reports whether the block of this height tells of Rich's transfer.
func (f *Fixture) tells(all []ledger.Block, height uint64, coins payment.Amount) bool {
	for _, b := range all {
		for _, e := range b.Events {
			if b.Height == height && e.Kind == payment.EventTransfer && e.Coins == coins && e.Account == AccountOf(f.Rich) && e.Receiver == AccountOf(f.Poor) {
				return true
			}
		}
	}
	return false
}
