package node

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"torrente/payment"
	"torrente/payment/contract"
	"torrente/payment/wallet"
)

// records is whether the wallet knows all that the ledger knows of this account
// (section 2, "Account id").
type records struct {
	mu      sync.Mutex // held while the ledger is asked
	checked bool
	foreign *Foreign
}

// Foreign means that the ledger knows of coins frozen, or chains opened, by this
// account that the wallet has no record of: the key is in use elsewhere, or the
// wallet is an older copy. Whoever opened on would pay on chains that another
// process pays on as well.
type Foreign struct {
	intentions []contract.IntentionInfo // open ones
	chains     []outstanding
}

func (f *Foreign) Error() string {
	return fmt.Sprintf("this account has %s and %s under way that the wallet here knows nothing of, because the same key runs elsewhere or the wallet is an old copy, so it buys nothing: stop the other one, then run torrente wallet recover",
		count(len(f.intentions), "download"), count(len(f.chains), "payment"))
}

// CheckRecords compares the wallet with the ledger, once. The errors are
// *Foreign, also each time after, and the ledger's, after which it is to be
// asked again.
func (m *Membership) CheckRecords(ctx context.Context) error {
	_, err := m.checkRecords(ctx)
	return err
}

// checkRecords returns, too, what the ledger said if it was asked just now.
func (m *Membership) checkRecords(ctx context.Context) (u *underway, err error) {
	r := &m.records
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.checked {
		var f *Foreign
		u, err = m.underway(ctx, m.account())
		if err == nil {
			f, err = m.strangers(ctx, u)
		}
		if err != nil {
			return nil, fmt.Errorf("compare the wallet with the ledger: %w", err)
		}
		r.checked, r.foreign = true, f
	}
	if r.foreign != nil {
		return u, r.foreign
	}
	return u, nil
}

// strangers finds what the wallet has no record of; nil: nothing. The wallet is
// always told first, so it is asked last; and what was on the ledger at first
// may have ended meanwhile.
func (m *Membership) strangers(ctx context.Context, u *underway) (*Foreign, error) {
	var f Foreign
	for _, i := range u.intentions {
		if !i.Closed {
			f.intentions = append(f.intentions, i)
		}
	}
	for _, o := range u.commitments {
		if !o.info.Released {
			f.chains = append(f.chains, o)
		}
	}
	known := map[payment.IntentionID]bool{}
	for _, i := range m.Wallet.Intentions() {
		known[i.ID] = true
	}
	f.intentions = slices.DeleteFunc(f.intentions, func(i contract.IntentionInfo) bool { return known[i.ID] })
	f.chains = slices.DeleteFunc(f.chains, func(o outstanding) bool {
		_, held := m.Wallet.Opening(o.info.ID)
		return held
	})
	if err := m.dropClosed(ctx, &f); err != nil || len(f.intentions)+len(f.chains) == 0 {
		return nil, err
	}
	return &f, nil
}

// dropClosed looks a second time at intentions that seem strange: this node may
// have closed them, and forgotten them, since the first look.
func (m *Membership) dropClosed(ctx context.Context, f *Foreign) error {
	var open []contract.IntentionInfo
	for _, i := range f.intentions {
		a, err := m.ask(ctx, contract.Query{Kind: contract.QueryIntention, Intention: i.ID})
		if err != nil {
			return err
		}
		if len(a.Intentions) == 1 && !a.Intentions[0].Closed {
			open = append(open, a.Intentions[0])
		}
	}
	f.intentions = open
	return nil
}

// Recovery is what Recover did.
type Recovery struct {
	Downloads int            `json:"downloads"` // that were closed
	Payments  int            `json:"payments"`  // that were given up
	Coins     payment.Amount `json:"coins"`     // that came back at once
	Later     []Return       `json:"later,omitempty"`
}

// Return is coins that come back from a time on, less what sellers redeem
// before.
type Return struct {
	From  time.Time      `json:"from"`
	Coins payment.Amount `json:"coins"`
}

// Recover makes the wallet know what the ledger knows: downloads that it has no
// record of are closed, whose free coins come back at once, and payments that
// it has no record of count as ended, the rest of which comes back after their
// expiry. Then the account may buy again. It tells also what comes back later
// of payments that the wallet knows.
func (m *Membership) Recover(ctx context.Context, now time.Time) (r Recovery, err error) {
	m.records.mu.Lock()
	defer m.records.mu.Unlock()
	if err := m.finish(ctx); err != nil {
		return r, fmt.Errorf("recover: %w", err)
	}
	u, err := m.underway(ctx, m.account())
	if err != nil {
		return r, fmt.Errorf("recover: %w", err)
	}
	f, err := m.strangers(ctx, u)
	if err == nil && f != nil {
		err = m.adopt(ctx, now, f, &r)
	}
	if err != nil {
		return r, fmt.Errorf("recover: %w", err)
	}
	m.records.checked, m.records.foreign = true, nil
	r.Later = u.returns()
	return r, nil
}

// adopt takes over what is strange. The wallet is told of chains first: after a
// crash here the next recover closes what is left.
func (m *Membership) adopt(ctx context.Context, now time.Time, f *Foreign, r *Recovery) error {
	var openings []wallet.Opening
	for _, o := range f.chains {
		openings = append(openings, wallet.Opening{Commitment: *o.commitment, Cap: o.info.Cap, Final: o.info.Redeemed})
	}
	if err := m.Wallet.Adopt(openings); err != nil {
		return err
	}
	for _, i := range f.intentions {
		receipt, err := m.call(ctx, now, &contract.Close{Intention: i.ID})
		if err != nil {
			return err
		}
		r.Coins, _ = r.Coins.Add(receipt.Coins) // parts of what was minted
		m.Note(now, wallet.Event{Kind: wallet.EventRecovered, Torrent: i.Torrent, Coins: receipt.Coins})
	}
	r.Downloads, r.Payments = len(f.intentions), len(f.chains)
	return nil
}

// returns sums by time what comes back later, the soonest first.
func (u *underway) returns() (list []Return) {
	byTime := map[uint64]payment.Amount{}
	for _, o := range u.commitments {
		if coins := o.coins(); coins > 0 {
			byTime[o.commitment.Expiry], _ = byTime[o.commitment.Expiry].Add(coins)
		}
	}
	for expiry, coins := range byTime {
		list = append(list, Return{time.Unix(int64(expiry), 0).Add(refundAfter).UTC(), coins})
	}
	slices.SortFunc(list, func(a, b Return) int { return a.From.Compare(b.From) })
	return list
}
