package node

import (
	"context"
	"fmt"
	"time"

	"torrente/payment"
	"torrente/payment/contract"
	"torrente/payment/wallet"
)

// Inherit takes what another account has that the federation's organisations
// reassigned to this one: its balance and credits, what it froze and promised to
// nobody, and what nobody redeemed of its commitments that expired more than
// half an hour ago. What is not due yet comes by a later call. The error is
// contract.NotHeir if the account was not reassigned to this one.
func (m *Membership) Inherit(ctx context.Context, now time.Time, from payment.Account) (sum payment.Amount, err error) {
	for _, take := range []func(context.Context, time.Time, payment.Account) (payment.Amount, error){
		m.inheritCoins, m.inheritIntentions, m.inheritExpired,
	} {
		coins, err := take(ctx, now, from)
		sum, _ = sum.Add(coins) // a part of what was minted
		if err != nil {
			return sum, fmt.Errorf("inherit from %v: %w", from, err)
		}
	}
	return sum, nil
}

// inheritCoins takes balance and credits, a page of them at a time.
func (m *Membership) inheritCoins(ctx context.Context, now time.Time, from payment.Account) (sum payment.Amount, err error) {
	for {
		a, err := m.ask(ctx, contract.Query{Kind: contract.QueryCredits, Account: from})
		if err != nil {
			return sum, err
		}
		call := &contract.Inherit{From: from}
		for _, c := range a.Credits {
			call.Credits = append(call.Credits, c.Tx)
		}
		r, err := m.call(ctx, now, call)
		if err != nil {
			return sum, err
		}
		if r.Coins > 0 {
			m.Note(now, wallet.Event{Kind: wallet.EventInherited, Account: from, Coins: r.Coins})
		}
		sum, _ = sum.Add(r.Coins)
		if a.Next == "" {
			return sum, nil
		}
	}
}

// inheritIntentions closes what the account froze and may still be opened on.
func (m *Membership) inheritIntentions(ctx context.Context, now time.Time, from payment.Account) (sum payment.Amount, err error) {
	all, err := m.intentionsOf(ctx, from)
	if err != nil {
		return 0, err
	}
	for _, i := range all {
		if i.Closed {
			continue
		}
		r, err := m.call(ctx, now, &contract.Close{Intention: i.ID})
		if err != nil {
			return sum, err
		}
		m.noteReclaimed(now, i.Torrent, r.Coins)
		sum, _ = sum.Add(r.Coins)
	}
	return sum, nil
}

func (m *Membership) inheritExpired(ctx context.Context, now time.Time, from payment.Account) (sum payment.Amount, err error) {
	u, err := m.underway(ctx, from)
	if err != nil {
		return 0, err
	}
	return m.refundAll(ctx, now, u.expired(now))
}
