package main

import (
	"context"
	"time"

	"torrente/node"
	"torrente/payment"
	"torrente/payment/contract"
	"torrente/payment/wallet"
)

// walletAccount is what the wallet commands ask: the files, if this process has them
// open, or the process that has.
type walletAccount interface {
	Balance(context.Context, struct{}) (balanceFacts, error)
	Redeem(context.Context, struct{}) (redeemFacts, error)
	Reclaim(context.Context, struct{}) (reclaimFacts, error)
	Inherit(context.Context, inheritRequest) (inheritFacts, error)
	Limit(context.Context, limitRequest) (limitFacts, error)
	History(context.Context, historyRequest) ([]wallet.Event, error)
	Recover(context.Context, struct{}) (recoverFacts, error)
}

// balanceFacts is what an account has, by the ledger and by the wallet. Without
// the ledger, Trouble says why, and what it knows is left out.
type balanceFacts struct {
	Account payment.Account `json:"account"`
	*LedgerFacts
	Redeemable payment.Amount `json:"redeemable"` // earned, and not redeemed so far
	Units      uint64         `json:"redeemable_units"`
	Trouble    string         `json:"trouble,omitempty"`
}

// LedgerFacts is what the ledger knows of an account. (It is exported for
// encoding/json, which could not make it otherwise.)
type LedgerFacts struct {
	Available payment.Amount `json:"available"`
	Frozen    payment.Amount `json:"frozen"`
}

// redeemFacts is what was redeemed. Trouble says why it was not all.
type redeemFacts struct {
	node.Redemption
	Trouble string `json:"trouble,omitempty"`
}

type reclaimFacts struct {
	Coins payment.Amount `json:"coins"`
}

// inheritRequest names the account that was reassigned.
type inheritRequest struct {
	From payment.Account `json:"from"`
}

type inheritFacts struct {
	Coins payment.Amount `json:"coins"`
}

// limitRequest asks for the limit; with Coins it sets it before.
type limitRequest struct {
	Coins *payment.Amount `json:"coins,omitempty"`
}

type limitFacts struct {
	Limit payment.Amount `json:"limit"`
}

type historyRequest struct {
	Newest int `json:"newest"` // how many
}

// recoverFacts is what was recovered, and what was lost.
type recoverFacts struct {
	node.Recovery
	Damaged int    `json:"damaged"`         // records that were left out
	Aside   string `json:"aside,omitempty"` // the folder of the old wallet, if a new one was begun
}

// ownAccount is an account whose files this process has open.
type ownAccount struct {
	m *member
	n *node.Node // nil: none runs
}

// balanceTime is how long the ledger may take to tell a balance.
const balanceTime = 3 * time.Second

// Balance asks the ledger and the wallet.
func (o *ownAccount) Balance(ctx context.Context, _ struct{}) (balanceFacts, error) {
	p := o.m.Identity.Principal()
	f := balanceFacts{Account: payment.AccountOf(p.MSP, p.SPKI)}
	f.Units, f.Redeemable = o.m.Wallet.Redeemable(o.m.now())
	short, cancel := context.WithTimeout(ctx, balanceTime)
	defer cancel()
	a, err := o.m.Ledger.Query(short, contract.Query{Kind: contract.QueryAccount, Account: f.Account})
	switch {
	case ctx.Err() != nil:
		return f, ctx.Err()
	case err != nil:
		f.Trouble = err.Error()
	default:
		f.LedgerFacts = &LedgerFacts{a.Account.Available, a.Account.Frozen}
	}
	return f, nil
}

// Redeem turns links into coins.
func (o *ownAccount) Redeem(ctx context.Context, _ struct{}) (redeemFacts, error) {
	r, err := o.m.Redeem(ctx, o.m.now())
	if err != nil && r.Units > 0 {
		return redeemFacts{r, err.Error()}, nil
	}
	return redeemFacts{Redemption: r}, err
}

// Reclaim takes back what is frozen for nothing.
func (o *ownAccount) Reclaim(ctx context.Context, _ struct{}) (f reclaimFacts, err error) {
	if o.n != nil {
		f.Coins, err = o.n.Reclaim(ctx)
	} else {
		f.Coins, err = o.m.Reclaim(ctx, o.m.now())
	}
	return f, err
}

// Inherit takes what an account has that was reassigned to this one.
func (o *ownAccount) Inherit(ctx context.Context, r inheritRequest) (f inheritFacts, err error) {
	f.Coins, err = o.m.Inherit(ctx, o.m.now(), r.From)
	return f, err
}

// Limit reads the wallet's limit, and sets it before if it is asked to.
func (o *ownAccount) Limit(_ context.Context, r limitRequest) (f limitFacts, err error) {
	if r.Coins != nil {
		if err := o.m.Wallet.SetLimit(*r.Coins); err != nil {
			return f, err
		}
		o.m.Note(o.m.now(), wallet.Event{Kind: wallet.EventLimit, Coins: *r.Coins, Text: "for a torrent"})
	}
	f.Limit, err = o.m.Wallet.Limit()
	return f, err
}

// History reads the newest events, the newest first.
func (o *ownAccount) History(_ context.Context, r historyRequest) ([]wallet.Event, error) {
	events, err := o.m.Wallet.History(r.Newest)
	if events == nil {
		events = []wallet.Event{} // a list all the same
	}
	return events, err
}

// Recover brings the wallet in line with the ledger.
func (o *ownAccount) Recover(ctx context.Context, _ struct{}) (recoverFacts, error) {
	lost := o.m.Wallet.Recovered()
	f := recoverFacts{Damaged: lost.Links.Damaged + lost.Owed.Damaged, Aside: o.m.aside}
	r, err := o.m.Recover(ctx, o.m.now())
	f.Recovery = r
	return f, err
}
