package node

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"torrente/payment"
	"torrente/payment/contract"
	"torrente/payment/wallet"
)

// until lets time pass, and what is due happen.
func until(at time.Time) {
	time.Sleep(time.Until(at))
	synctest.Wait()
}

func pass(d time.Duration) { until(time.Now().Add(d)) }

// What a buyer paid is redeemed when it has been silent for five minutes, and
// not while it goes on.
func TestRedeemAfterSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := startDealing(t)
		s := d.open(40, 24*time.Hour)
		n, _ := d.run(d.seller)
		defer n.Close()
		for i := range uint32(4) {
			s.pay(i + 1)
			pass(4*time.Minute + 50*time.Second)
			if d.earned() != 0 {
				t.Fatalf("%d units were redeemed while links came", d.earned())
			}
		}
		pass(30 * time.Second)
		if d.earned() != 4 {
			t.Fatalf("%d units were redeemed after silence", d.earned())
		}
		s.pay(7)
		pass(6 * time.Minute)
		if d.earned() != 7 {
			t.Fatalf("%d units were redeemed after the second silence", d.earned())
		}
		if got := told(t, d.seller); !slices.Equal(got, []string{wallet.EventRedeemed, wallet.EventRedeemed}) {
			t.Errorf("history: %v", got)
		}
		if got := d.moody.calls(); !slices.Equal(got, []int{1, 1}) {
			t.Errorf("calls: %v", got)
		}
	})
}

// While links keep coming they are redeemed at expiry - max(2 h, 10 % of life),
// and again at expiry - 30 min.
func TestRedeemNearExpiry(t *testing.T) {
	for _, c := range []struct{ life, early time.Duration }{
		{4 * time.Hour, 2 * time.Hour}, {30 * time.Hour, 3 * time.Hour},
	} {
		synctest.Test(t, func(t *testing.T) {
			d := startDealing(t)
			s := d.open(60, c.life)
			expiry := time.Unix(int64(s.commit.Expiry), 0)
			n, _ := d.run(d.seller)
			defer n.Close()
			paid := uint32(0)
			// A link every four minutes, from shortly before each of the two.
			around := func(at time.Time, before, after int) {
				t.Helper()
				until(at.Add(-15 * time.Minute))
				if d.earned() != before {
					t.Errorf("%d units are redeemed before, want %d", d.earned(), before)
				}
				d.moody.calls()
				for range 7 { // 24 minutes
					paid++
					s.pay(paid)
					pass(4 * time.Minute)
				}
				if d.earned() != after {
					t.Errorf("%d units are redeemed after, want %d", d.earned(), after)
				}
				if got := d.moody.calls(); len(got) != 1 {
					t.Errorf("calls: %v", got)
				}
				pass(6 * time.Minute) // silence redeems the rest
			}
			around(expiry.Add(-c.early), 0, 4)
			around(expiry.Add(-redeemLate), 7, 11)
		})
	}
}

// More than the limit is not kept at risk.
func TestRedeemAboveLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := startDealing(t)
		a, b := d.open(30, 24*time.Hour), d.open(30, 24*time.Hour)
		d.seller.RedeemAbove = 20 * clubPrice
		n, _ := d.run(d.seller)
		defer n.Close()
		a.pay(10)
		b.pay(10)
		pass(time.Minute)
		if d.earned() != 0 {
			t.Errorf("%d units were redeemed at the limit", d.earned())
		}
		b.pay(11)
		pass(redeemLook)
		if d.earned() != 21 {
			t.Errorf("%d units were redeemed above the limit", d.earned())
		}
	})
}

func TestDefaultLimit(t *testing.T) {
	var r redeemer
	r.member = &Membership{}
	if r.isMuch(redeemAboveUnits, 1<<60) || !r.isMuch(redeemAboveUnits+1, 0) {
		t.Error("the usual limit is not in units")
	}
	r.member.RedeemAbove = 5
	if r.isMuch(1<<60, 5) || !r.isMuch(0, 6) {
		t.Error("the limit that was set is not in coins")
	}
}

// A node that ends redeems what it has; if the ledger does not answer within
// seconds it ends all the same, says so, and loses nothing.
func TestRedeemAtEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := startDealing(t)
		s := d.open(40, 24*time.Hour)
		n, said := d.run(d.seller)
		synctest.Wait()
		s.pay(12)
		d.moody.set(true)
		began := time.Now()
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > lastRedeem {
			t.Errorf("it ended after %s", took)
		}
		if got := said(); len(got) != 1 || !strings.HasPrefix(got[0], "24 coins that you earned are kept, and not redeemed so far (redeem: the ledger is down): run torrente wallet redeem before 2000-") {
			t.Errorf("it said %q", got)
		}
		d.moody.set(false)
		n, said = d.run(d.seller)
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		if got := said(); len(got) != 1 || got[0] != "redeemed 24 coins for 12 units" || d.earned() != 12 {
			t.Errorf("it said %q, and redeemed %d units", got, d.earned())
		}
		n, said = d.run(d.seller)
		if err := n.Close(); err != nil || len(said()) != 0 {
			t.Errorf("with nothing to redeem it said %q, %v", said(), err)
		}
	})
}

// After a conflict a call is sent once more, then in halves, and each
// commitment is paid once.
func TestRedeemInConflict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := startDealing(t)
		for _, c := range []struct {
			conflicts int
			calls     []int
		}{{1, []int{5, 5}}, {4, []int{5, 5, 2, 2, 1, 1, 3}}} {
			d.moody.conflicts = c.conflicts
			before := d.earned()
			for range 5 {
				d.open(5, 24*time.Hour).pay(5)
			}
			got, err := d.seller.Redeem(t.Context(), time.Now())
			if err != nil || int(got.Units) != d.earned()-before || got.Coins != payment.Amount(got.Units*clubPrice) || got.Units == 0 {
				t.Errorf("redeemed %+v, %v; %d units earned", got, err, d.earned()-before)
			}
			if calls := d.moody.calls(); !slices.Equal(calls, c.calls) {
				t.Errorf("%d conflicts: calls of %v, want %v", c.conflicts, calls, c.calls)
			}
			if units, _ := d.seller.Wallet.Redeemable(time.Now()); units != 0 {
				t.Errorf("%d units are left", units)
			}
		}
		// One that never ends is an error, and nothing is lost.
		d.open(2, 24*time.Hour).pay(2)
		d.moody.conflicts = 100
		if got, err := d.seller.Redeem(t.Context(), time.Now()); err == nil || got.Units != 0 {
			t.Errorf("redeemed %+v, %v", got, err)
		}
		d.moody.conflicts = 0
		if got, err := d.seller.Redeem(t.Context(), time.Now()); err != nil || got.Units != 2 {
			t.Errorf("redeemed %+v, %v", got, err)
		}
	})
}

// Many are asked for at once, and redeemed in one call.
func TestRedeemMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := startDealing(t)
		for range 3 * listAbove {
			d.open(2, 24*time.Hour).pay(1)
		}
		got, err := d.seller.Redeem(t.Context(), time.Now())
		if calls := d.moody.calls(); err != nil || got.Units != 3*listAbove || !slices.Equal(calls, []int{3 * listAbove}) {
			t.Errorf("redeemed %+v, %v in calls of %v", got, err, calls)
		}
	})
}

// sellUnits opens so many commitments and pays one unit on each.
func (d *dealing) sellUnits(number int) (all []*sale) {
	d.t.Helper()
	for left := number - testFunds; left > 0; left -= testFunds {
		d.do(d.buyer, &contract.AddFunds{Intention: d.intention, Units: uint64(min(left, testFunds)), Margin: 100})
	}
	for range number {
		all = append(all, d.promise(d.torrent(), d.intention, 1, 24*time.Hour))
	}
	for some := range slices.Chunk(all, contract.MaxItems) {
		d.registerMany(some, 1)
	}
	for _, s := range all {
		if err := d.seller.Wallet.SaveClaim(&s.commit, s.sig); err != nil {
			d.t.Fatal(err)
		}
		s.pay(1)
	}
	return all
}

// More commitments than one call takes are redeemed in several; each is credited
// once, also if a call in the middle conflicts until it is cut in four, and if
// one was redeemed before by a process that died.
func TestRedeemInSeveralCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const number = 450
		d := startDealing(t)
		all := d.sellUnits(number)
		link, _ := all[300].chain.Link(1)
		d.do(d.seller, &contract.RedeemMany{Redeems: []contract.Redeem{{Commitment: all[300].id, Index: 1, Link: link}}})
		d.moody.spared, d.moody.conflicts = 1, 4 // the second call twice, then its first half twice
		got, err := d.seller.Redeem(t.Context(), time.Now())
		if err != nil || got != (Redemption{number - 1, (number - 1) * clubPrice}) {
			t.Errorf("redeemed %+v, %v", got, err)
		}
		calls := d.moody.calls()
		// About 200, 200, 200, 100, 100, 50, 50, 100, 50: the one that was redeemed
		// before is missing somewhere.
		if len(calls) != 9 || slices.Max(calls) > maxRedeems {
			t.Errorf("calls of %v", calls)
		}
		if d.earned() != number {
			t.Errorf("%d units were credited", d.earned())
		}
		for _, s := range all {
			info, err := d.seller.commitment(t.Context(), s.id)
			c, _ := d.seller.Wallet.Claim(s.id)
			if err != nil || info == nil || info.Redeemed != 1 || c.Redeemed != 1 {
				t.Fatalf("%+v, %v; the wallet has %d", info, err, c.Redeemed)
			}
		}
		if got, err := d.seller.Redeem(t.Context(), time.Now()); err != nil || got != (Redemption{}) || d.moody.calls() != nil {
			t.Errorf("a second time %+v, %v", got, err)
		}
		if books, err := d.club.ledger.Audit(); err != nil || !books.Conserved() {
			t.Errorf("%+v, %v", books, err)
		}
	})
}

func TestBatchesFitIntoCalls(t *testing.T) {
	of := func(n int, links uint32) (claims []wallet.Claim) {
		for range n {
			claims = append(claims, wallet.Claim{Best: payment.Claim{Index: links}})
		}
		return claims
	}
	for _, c := range []struct {
		claims []wallet.Claim
		want   int
	}{
		{of(1, payment.MaxLinks), 1},
		{of(3, payment.MaxLinks), 1},
		{of(3, contract.MaxHashes/2), 2},
		{of(500, 5), maxRedeems},
		{of(7, 5), 7},
	} {
		if got := fitting(c.claims); got != c.want {
			t.Errorf("%d claims of %d links: %d, want %d", len(c.claims), c.claims[0].Best.Index, got, c.want)
		}
	}
}

// A link beyond the cap is not lost: the ledger is shown the one at the cap.
func TestRedeemUpToTheCap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := startDealing(t)
		s := d.openUpTo(40, 10, 24*time.Hour)
		s.pay(25)
		for _, want := range []uint64{10, 0} {
			if got, err := d.seller.Redeem(t.Context(), time.Now()); err != nil || got.Units != want {
				t.Errorf("redeemed %+v, %v, want %d", got, err, want)
			}
		}
		d.do(d.buyer, &contract.TopUpMany{TopUps: []contract.TopUp{{Commitment: s.id, K: 1, Cap: 30}}})
		if got, err := d.seller.Redeem(t.Context(), time.Now()); err != nil || got.Units != 15 {
			t.Errorf("redeemed %+v, %v", got, err)
		}
	})
}

// What was redeemed by a process that died before it wrote that down is not
// counted again.
func TestRedeemedBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := startDealing(t)
		s := d.open(40, 24*time.Hour)
		s.pay(8)
		link, _ := s.chain.Link(8)
		d.do(d.seller, &contract.RedeemMany{Redeems: []contract.Redeem{{Commitment: s.id, Index: 8, Link: link}}})
		got, err := d.seller.Redeem(t.Context(), time.Now())
		if err != nil || got.Units != 0 || len(d.moody.calls()) != 0 {
			t.Errorf("redeemed %+v, %v", got, err)
		}
		if units, _ := d.seller.Wallet.Redeemable(time.Now()); units != 0 {
			t.Errorf("%d units are left", units)
		}
	})
}

// What could not be redeemed before it expired is given up and said; what the
// user is told before comes once an hour.
func TestExpiredIsSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := startDealing(t)
		s := d.open(40, 4*time.Hour)
		s.pay(9)
		n, said := d.run(d.seller)
		defer n.Close()
		d.moody.set(true)
		pass(4*time.Hour + time.Minute)
		if c, _ := d.seller.Wallet.Claim(s.id); c.Ended {
			t.Error("it was given up before the ledger was asked")
		}
		warnings := 0
		for _, w := range said() {
			if strings.HasPrefix(w, "18 coins that you earned are lost at 2000-") {
				warnings++
			}
		}
		if warnings < 1 || warnings > 3 {
			t.Errorf("it said %q", said())
		}
		d.moody.set(false)
		pass(redeemRetry + 2*ledgerTime)
		if c, _ := d.seller.Wallet.Claim(s.id); !c.Ended {
			t.Error("it was not given up")
		}
		events, err := d.seller.Wallet.History(10)
		if err != nil || len(events) != 1 || events[0].Kind != wallet.EventExpired || events[0].Units != 9 || events[0].Coins != 9*clubPrice {
			t.Errorf("history: %+v, %v", events, err)
		}
	})
}
