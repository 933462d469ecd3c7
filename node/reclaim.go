package node

import (
	"context"
	"fmt"
	"time"

	"torrente/payment"
	"torrente/payment/contract"
	"torrente/payment/wallet"
)

// refundAfter is how long after its expiry a commitment's rest is refunded
// (payment protocol, section 5).
const refundAfter = 30 * time.Minute

// Reclaim takes back what downloads froze and did not spend: at once what no
// seller was promised, and what sellers did not redeem of commitments that
// expired more than half an hour ago. It must not run beside a download of the
// same wallet: that would have to freeze anew.
func (m *Membership) Reclaim(ctx context.Context, now time.Time) (sum payment.Amount, err error) {
	for _, i := range m.Wallet.Intentions() {
		coins, err := m.closeIntention(ctx, now, i.ID)
		if err != nil {
			return sum, fmt.Errorf("reclaim: %w", err)
		}
		sum, _ = sum.Add(coins) // a part of what was minted
	}
	for _, o := range m.Wallet.Openings() {
		if o.Ended || uint64(now.Add(-refundAfter).Unix()) < o.Commitment.Expiry {
			continue
		}
		coins, err := m.refund(ctx, now, &o)
		if err != nil {
			return sum, fmt.Errorf("reclaim: %w", err)
		}
		sum, _ = sum.Add(coins)
	}
	return sum, nil
}

// refund settles one expired commitment.
func (m *Membership) refund(ctx context.Context, now time.Time, o *wallet.Opening) (payment.Amount, error) {
	id := o.Commitment.ID()
	a, err := m.Ledger.Query(ctx, contract.Query{Kind: contract.QueryCommitment, Commitment: id})
	if err != nil {
		return 0, err
	}
	if len(a.Commitments) == 0 {
		return 0, m.Wallet.Ended(id, 0) // it was never registered
	}
	c := a.Commitments[0]
	r, err := m.call(ctx, now, &contract.Refund{Settles: []contract.Settle{{Commitment: id, K: c.K}}})
	if err != nil {
		return 0, err
	}
	return r.Coins, m.Wallet.Ended(id, c.Redeemed)
}
