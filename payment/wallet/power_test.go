package wallet

import (
	"testing"

	"pgregory.net/rapid"

	"torrente/internal/crashfs"
	"torrente/payment"
)

// acknowledged is what a wallet has said that it keeps.
type acknowledged struct {
	claimed, opened, closed bool
	best, owed              uint32 // links counted, units owed: 1 ... best, 0 ... owed-1
	safeBest, safeOwed      uint32 // of those, what was synced or folded
}

// fill does what both sides of a sale do, step by step, until something fails
// or the power is gone, and notes what was acknowledged.
func fill(w *Wallet, in, out *payment.Commitment, power func() bool) (a acknowledged) {
	if w.SaveClaim(in, payment.Signature{}) != nil {
		return a
	}
	a.claimed = true
	if w.Reserve(Reservation{Request: payment.RequestID{1}, Signed: []byte("open"), Openings: []Opening{openingOf(out, 9)}}) != nil {
		return a
	}
	a.opened = true
	for n := range uint32(30) {
		if w.Link(in.ID(), linkOf(in, n+1)) != nil {
			return a
		}
		a.best = n + 1
		if _, err := w.Owed(out.ID(), n); err != nil {
			return a
		}
		a.owed = n + 1
		if n%4 == 3 {
			if w.syncLinks(); w.sold.log.broken != nil {
				return a
			}
			a.safeBest = a.best
		}
		if n%11 == 10 {
			if fold(w) != nil {
				return a
			}
			a.safeBest, a.safeOwed = a.best, a.owed
		}
	}
	if !power() { // wallet.db is on a disk that knows nothing of it
		return a
	}
	a.closed = w.SignedClose(closeOf(in, a.best)) == nil
	if a.closed {
		a.safeBest = a.best
	}
	return a
}

func fold(w *Wallet) error {
	w.write.Lock()
	defer w.write.Unlock()
	return w.fold(0)
}

// Section 6: the power goes before or after any write, cut or sync. What was
// synced is there, of the rest some, and nothing that never was.
func TestPowerLossAtAnyOperation(t *testing.T) {
	t.Parallel()
	in, out := commitment(0, false), commitment(1, true)
	rapid.Check(t, func(r *rapid.T) {
		d, dir := new(crashfs.Disk), t.TempDir()
		w := must[*Wallet](t)(Open(dir, on(d, testConfig())))
		last, count := rapid.IntRange(0, 80).Draw(r, "operations"), 0
		var left string
		cut := func(crashfs.Op) error {
			if count++; count == last {
				left = lost(t, d, dir, func(n int) int { return rapid.IntRange(0, n-1).Draw(r, "kept") })
				d.PowerOff()
			}
			return nil
		}
		if rapid.Bool().Draw(r, "after") {
			d.After = cut
		} else {
			d.Before = cut
		}
		a := fill(w, in, out, func() bool { return left == "" })
		d.Before, d.After = nil, nil
		if left == "" {
			left = lost(t, d, dir, func(n int) int { return rapid.IntRange(0, n-1).Draw(r, "kept") })
		}
		_ = w.Close() // without power it cannot fold
		a.check(t, left, in, out)
	})
}

// check opens what a loss of power has left. What was in the making may be
// there or not.
func (a *acknowledged) check(t *testing.T, dir string, in, out *payment.Commitment) {
	t.Helper()
	w := must[*Wallet](t)(Open(dir, testConfig()))
	defer func() { ok(t, w.Close()) }()
	c, held := w.Claim(in.ID())
	if a.claimed && (!held || c.Best != linkOf(in, c.Best.Index) || c.Best.Index < a.safeBest || c.Best.Index > a.best+1) {
		t.Fatalf("%v, link %d after %+v", held, c.Best.Index, a)
	}
	if a.closed && (c.Close == nil || c.Close.Final != a.best) {
		t.Fatalf("the close is lost: %+v", c)
	}
	if o, held := w.Opening(out.ID()); a.opened && (!held || o.Cap != 9) {
		t.Fatalf("the opening is lost: %+v", o)
	}
	if pending := must[[]Submission](t)(w.PendingSubmissions()); a.opened && len(pending) != 1 {
		t.Fatalf("%d submissions", len(pending))
	}
	if !a.opened {
		return
	}
	owed := map[uint32]bool{}
	for _, u := range must[[]uint32](t)(w.OwedUnits(out.ID())) {
		if owed[u] = true; u > a.owed {
			t.Fatalf("unit %d was never owed: %+v", u, a)
		}
	}
	for u := range a.safeOwed {
		if !owed[u] {
			t.Fatalf("unit %d was folded and is lost: %+v", u, a)
		}
	}
}

// The log must not bring back records of a commitment that was forgotten: nobody
// would know what they mean.
func TestPowerLossAfterForget(t *testing.T) {
	d, dir, in := new(crashfs.Disk), t.TempDir(), commitment(0, false)
	w := opened(t, dir, on(d, testConfig()))
	ok(t, w.SaveClaim(in, payment.Signature{}))
	ok(t, w.Link(in.ID(), linkOf(in, 1)))
	w.syncLinks()
	ok(t, w.Ended(in.ID(), 1))
	ok(t, w.Forget(in.ID()))
	for _, choose := range []func(int) int{func(int) int { return 0 }, func(n int) int { return n - 1 }} {
		if r := opened(t, lost(t, d, dir, choose), testConfig()); len(r.Claims()) != 0 {
			t.Errorf("%+v", r.Claims())
		}
	}
}
