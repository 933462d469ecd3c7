package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"torrente/payment"
	"torrente/payment/contract"
	"torrente/payment/ledger"
	"torrente/payment/wallet"
)

// Redemption is what was redeemed at once.
type Redemption struct {
	Units uint64         `json:"units"`
	Coins payment.Amount `json:"coins"`
}

// maxRedeems is how many commitments one call redeems.
const maxRedeems = 200

// Redeem turns the links that others gave us into coins. It may be called at
// any time before the commitments expire; what was redeemed before is not
// asked for again.
func (m *Membership) Redeem(ctx context.Context, now time.Time) (sum Redemption, err error) {
	var batch []wallet.Claim
	for _, c := range m.Wallet.Claims() {
		if c.Best.Index > c.Redeemed && !c.Ended && uint64(now.Unix()) < c.Commitment.Expiry {
			batch = append(batch, c)
		}
	}
	for len(batch) > 0 {
		part := batch[:min(len(batch), maxRedeems)]
		batch = batch[len(part):]
		got, err := m.redeem(ctx, now, part)
		if err != nil {
			return sum, err
		}
		sum.Units += got.Units
		sum.Coins, _ = sum.Coins.Add(got.Coins) // both are parts of what was minted
	}
	return sum, nil
}

func (m *Membership) redeem(ctx context.Context, now time.Time, claims []wallet.Claim) (sum Redemption, err error) {
	var call contract.RedeemMany
	indexes := map[payment.CommitmentID]uint32{}
	for _, c := range claims {
		id := c.Commitment.ID()
		a, err := m.Ledger.Query(ctx, contract.Query{Kind: contract.QueryCommitment, Commitment: id})
		if err != nil {
			return sum, fmt.Errorf("redeem: %w", err)
		}
		if len(a.Commitments) == 0 || a.Commitments[0].Cap < c.Best.Index {
			continue // not registered so far
		}
		call.Redeems = append(call.Redeems, contract.Redeem{
			Commitment: id, K: a.Commitments[0].K, Index: c.Best.Index, Link: c.Best.Link,
		})
		indexes[id] = c.Best.Index
		sum.Units += uint64(c.Best.Index - a.Commitments[0].Redeemed)
	}
	if len(call.Redeems) == 0 {
		return Redemption{}, nil
	}
	receipt, err := m.call(ctx, now, &call)
	if err != nil {
		return Redemption{}, fmt.Errorf("redeem: %w", err)
	}
	if len(receipt.Items) != len(call.Redeems) {
		return Redemption{}, fmt.Errorf("redeem: the ledger answered for %d of %d commitments: try again", len(receipt.Items), len(call.Redeems))
	}
	for i, code := range receipt.Items {
		if code.Err() != nil { // it is kept, and tried again
			delete(indexes, call.Redeems[i].Commitment)
		}
	}
	sum.Coins = receipt.Coins
	return sum, m.Wallet.Redeemed(indexes)
}

// call signs and sends a call that reserves nothing.
func (m *Membership) call(ctx context.Context, now time.Time, args contract.Arguments) (ledger.Receipt, error) {
	signed, err := contract.Sign(m.Identity.Key(), m.Identity.Chain(), &contract.Transaction{
		Ledger: m.Ledger.ID(), Time: uint64(now.Unix()), Request: newRequest(), Args: args,
	})
	if err != nil {
		return ledger.Receipt{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, ledgerTime)
	defer cancel()
	r, err := m.Ledger.Submit(ctx, signed)
	return r, errors.Join(err, r.Err())
}
