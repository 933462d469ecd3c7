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

func (r *Redemption) add(more Redemption) {
	r.Units += more.Units
	r.Coins, _ = r.Coins.Add(more.Coins) // both are parts of what was minted
}

// maxRedeems is how many commitments one call redeems, listAbove from how many
// on the ledger is asked for all at once.
const (
	maxRedeems = 200
	listAbove  = 8
)

// Redeem turns the links that others gave us into coins. It may be called at
// any time before the commitments expire; what was redeemed before is not
// asked for again. After an error the rest was redeemed, or can be later.
func (m *Membership) Redeem(ctx context.Context, now time.Time) (Redemption, error) {
	return m.redeemSome(ctx, now, func(*wallet.Claim) bool { return true })
}

// redeemSome redeems what of the wanted claims can be redeemed.
func (m *Membership) redeemSome(ctx context.Context, now time.Time, want func(*wallet.Claim) bool) (sum Redemption, err error) {
	m.redeeming.Lock()
	defer m.redeeming.Unlock()
	var due []wallet.Claim
	for _, c := range m.Wallet.Claims() {
		if c.Redeemable(now) > 0 && want(&c) {
			due = append(due, c)
		}
	}
	for len(due) > 0 {
		n := fitting(due)
		got, err := m.redeemBatch(ctx, now, due[:n])
		sum.add(got)
		if err != nil {
			return sum, fmt.Errorf("redeem: %w", err)
		}
		due = due[n:]
	}
	return sum, nil
}

// fitting returns how many of the first claims fit into one call: by number, and
// by the hashes that the ledger has to make for them.
func fitting(claims []wallet.Claim) (n int) {
	var hashes uint64
	for n < min(len(claims), maxRedeems) {
		hashes += uint64(claims[n].Deepest() - claims[n].Redeemed)
		if n > 0 && hashes > contract.MaxHashes {
			break
		}
		n++
	}
	return n
}

// redeemBatch redeems what one call can. Another call that wrote the same rows
// at the same moment makes it fail as a whole: then it is tried once more, and
// then in halves, so that one commitment cannot keep all others from being
// paid.
func (m *Membership) redeemBatch(ctx context.Context, now time.Time, claims []wallet.Claim) (sum Redemption, err error) {
	for range 2 {
		sum, err = m.redeemOnce(ctx, now, claims)
		if !errors.Is(err, contract.Conflict) || ctx.Err() != nil {
			return sum, err
		}
	}
	if len(claims) == 1 {
		return sum, err
	}
	half := len(claims) / 2
	first, err1 := m.redeemBatch(ctx, now, claims[:half])
	second, err2 := m.redeemBatch(ctx, now, claims[half:])
	first.add(second)
	return first, errors.Join(err1, err2)
}

// showing is a link that is shown to the ledger.
type showing struct {
	contract.Redeem
	claim *wallet.Claim
	units uint32 // that it pays, more than were paid before
}

// redeemOnce shows one link of each claim to the ledger, the deepest that it
// will pay.
func (m *Membership) redeemOnce(ctx context.Context, now time.Time, claims []wallet.Claim) (sum Redemption, err error) {
	known, err := m.registered(ctx, claims)
	if err != nil {
		return sum, err
	}
	var shown []showing
	paid := map[payment.CommitmentID]uint32{} // that the ledger has paid
	for i := range claims {
		c := &claims[i]
		id := c.Commitment.ID()
		info, ok := known[id]
		switch {
		case !ok || info.Settled: // not registered so far; or its end comes as an event
		case info.Redeemed >= min(c.Deepest(), info.Cap):
			paid[id] = info.Redeemed // we died before it was written down
		default:
			shown = append(shown, show(c, &info))
		}
	}
	var refused error
	if len(shown) > 0 {
		if sum, refused, err = m.show(ctx, now, shown, paid); err != nil {
			return sum, err
		}
	}
	return sum, errors.Join(m.Wallet.Redeemed(paid), refused)
}

// show makes the link that the ledger will pay: the best one, or one below it
// if the cap or a close ends there.
func show(c *wallet.Claim, info *contract.CommitmentInfo) showing {
	index := min(c.Deepest(), info.Cap)
	link, _ := payment.Below(c.Commitment.Chain, c.Best, index) // not above it
	return showing{
		contract.Redeem{Commitment: c.Commitment.ID(), K: info.K, Index: index, Link: link}, c, index - info.Redeemed,
	}
}

// show submits a RedeemMany. What the ledger has paid then is noted in paid; the
// last reason for which it did not pay something is in refused.
func (m *Membership) show(ctx context.Context, now time.Time, shown []showing, paid map[payment.CommitmentID]uint32) (sum Redemption, refused, err error) {
	var call contract.RedeemMany
	for _, s := range shown {
		call.Redeems = append(call.Redeems, s.Redeem)
	}
	receipt, err := m.submit(ctx, now, &call)
	if err != nil {
		return sum, nil, err
	}
	if code := receipt.Code; code.Err() != nil && code != contract.NoneDone {
		return sum, nil, code
	}
	if len(receipt.Items) != len(shown) {
		return sum, nil, fmt.Errorf("the ledger answered for %d of %d commitments: try again", len(receipt.Items), len(shown))
	}
	sum, refused = m.paid(now, receipt, shown, paid)
	return sum, refused, nil
}

// paid reads a receipt.
func (m *Membership) paid(now time.Time, r ledger.Receipt, shown []showing, paid map[payment.CommitmentID]uint32) (sum Redemption, refused error) {
	var events []wallet.Event
	for i, code := range r.Items {
		s := &shown[i]
		c := &s.claim.Commitment
		if code.Err() != nil { // the link is kept, and shown again
			refused = fmt.Errorf("commitment %.8s: %w", s.Commitment, code)
			continue
		}
		paid[s.Commitment] = s.Index
		if code == contract.Already {
			continue
		}
		sum.Units += uint64(s.units)
		events = append(events, wallet.Event{
			Kind: wallet.EventRedeemed, Torrent: c.Torrent, Account: c.Payer, Commitment: s.Commitment,
			Units: uint64(s.units), Coins: s.claim.Worth(s.units),
		})
	}
	sum.Coins = r.Coins
	m.Note(now, events...)
	return sum, refused
}

// registered asks the ledger about claims. What it does not know is left out.
func (m *Membership) registered(ctx context.Context, claims []wallet.Claim) (map[payment.CommitmentID]contract.CommitmentInfo, error) {
	known := map[payment.CommitmentID]contract.CommitmentInfo{}
	if len(claims) > listAbove {
		q := contract.Query{Kind: contract.QueryReceived, Account: m.account()}
		return known, m.pages(ctx, q, func(a *contract.Answer) error {
			for _, c := range a.Commitments {
				known[c.ID] = c
			}
			return nil
		})
	}
	for i := range claims {
		id := claims[i].Commitment.ID()
		info, err := m.commitment(ctx, id)
		if err != nil {
			return nil, err
		}
		if info != nil {
			known[id] = *info
		}
	}
	return known, nil
}
