package node

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"torrente/payment"
	"torrente/payment/contract"
	"torrente/payment/wallet"
)

// The heir of an account whose key is lost gets all of it: balance and credits
// at once, what was frozen when nobody can redeem it any more.
func TestInherit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := startDealing(t)
		heir := d.club.member(t, "heir")
		silent, paid := d.open(10, 4*time.Hour), d.open(10, 4*time.Hour)
		paid.pay(6)
		d.club.fund(t, d.buyer, 30)
		old := d.buyer.account()
		if _, err := heir.Inherit(t.Context(), time.Now(), old); !errors.Is(err, contract.NotHeir) {
			t.Errorf("before the vote: %v", err)
		}
		d.do(d.club.administrator(), &contract.Propose{Decision: &contract.Reassign{
			MSP: "club", Old: d.buyer.Identity.Principal().SPKI, New: heir.Identity.Principal().SPKI,
		}})
		const promised = 20 * clubPrice
		inherits := func(want payment.Amount) {
			t.Helper()
			if got, err := heir.Inherit(t.Context(), time.Now(), old); err != nil || got != want {
				t.Errorf("inherited %s, %v, want %s", got, err, want)
			}
		}
		inherits(30 + (testFunds-20)*clubPrice)
		inherits(0)
		if _, err := d.seller.Redeem(t.Context(), time.Now()); err != nil {
			t.Fatal(err)
		}
		pass(5 * time.Hour)
		inherits(promised - 6*clubPrice)
		if a, f := d.has(heir); a != funds+30-6*clubPrice || f != 0 {
			t.Errorf("the heir has %s and %s frozen", a, f)
		}
		if a, f := d.has(d.buyer); a != 0 || f != 0 {
			t.Errorf("the old account has %s and %s frozen", a, f)
		}
		for _, s := range []*sale{silent, paid} {
			if info, err := heir.commitment(t.Context(), s.id); err != nil || !info.Settled {
				t.Errorf("%+v, %v", info, err)
			}
		}
		want := []string{wallet.EventInherited, wallet.EventReclaimed, wallet.EventReclaimed, wallet.EventReclaimed}
		if got := told(t, heir); !slices.Equal(got, want) {
			t.Errorf("history: %v", got)
		}
	})
}

// administrator is the treasury's owner as a member.
func (c *club) administrator() *Membership {
	return &Membership{Identity: c.treasury, Ledger: c.ledger}
}
