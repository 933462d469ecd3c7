package node

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"torrente/identity"
	"torrente/payment"
	"torrente/payment/contract"
	"torrente/payment/ledger"
	"torrente/payment/wallet"
)

// Membership is what makes a node able to pay and be paid: who it is, whom it
// believes, and the ledgers on which it has an account. Its methods may be
// called at the same time.
type Membership struct {
	// Identity is key and certificate at the start; Certified tells those of now.
	Identity *identity.Identity
	Trust    *identity.Trust
	Ledger   ledger.Ledger
	Wallet   *wallet.Wallet
	// Refresh, if set, asks the federation anew whom to trust; it is called when
	// the ledger tells that somebody was revoked, or a root changed.
	Refresh func(ctx context.Context) error
	// Renew, if set, gets the next certificate of the key and keeps it for the
	// next start; it is called from half of the certificate's life on.
	Renew func(ctx context.Context) (*identity.Identity, error)
	// Floor is how many units strangers are served before they pay.
	Floor uint64
	// RedeemAbove is how many coins may be earned and not redeemed; 0: what
	// 262,144 units (4 GiB) cost.
	RedeemAbove payment.Amount

	renewed   atomic.Pointer[identity.Identity]
	redeeming sync.Mutex // held while links are redeemed: each is shown once
	records   records
}

// Certified returns the identity with its newest certificate. The key, and so
// the account, stay the same.
func (m *Membership) Certified() *identity.Identity {
	if id := m.renewed.Load(); id != nil {
		return id
	}
	return m.Identity
}

// account is ours on the ledger.
func (m *Membership) account() payment.Account {
	p := m.Identity.Principal()
	return payment.AccountOf(p.MSP, p.SPKI)
}

// call signs and sends a call that reserves nothing. The error is also that of
// the ledger's answer.
func (m *Membership) call(ctx context.Context, now time.Time, args contract.Arguments) (ledger.Receipt, error) {
	r, err := m.submit(ctx, now, args)
	if err != nil {
		return r, err
	}
	if len(r.Items) == 1 && r.Items[0].Err() != nil {
		return r, r.Items[0] // it says more than that none was done
	}
	return r, r.Err()
}

// submit is call for those who look at the answer themselves.
func (m *Membership) submit(ctx context.Context, now time.Time, args contract.Arguments) (ledger.Receipt, error) {
	id := m.Certified()
	signed, err := contract.Sign(id.Key(), id.Chain(), &contract.Transaction{
		Ledger: m.Ledger.ID(), Time: uint64(now.Unix()), Request: newRequest(), Args: args,
	})
	if err != nil {
		return ledger.Receipt{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, ledgerTime)
	defer cancel()
	return m.Ledger.Submit(ctx, signed)
}

// ask queries the ledger, for as long as a call may take.
func (m *Membership) ask(ctx context.Context, q contract.Query) (contract.Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, ledgerTime)
	defer cancel()
	return m.Ledger.Query(ctx, q)
}

// pages queries a list to its end.
func (m *Membership) pages(ctx context.Context, q contract.Query, page func(*contract.Answer) error) error {
	for {
		a, err := m.ask(ctx, q)
		if err != nil {
			return err
		}
		if err := page(&a); err != nil || a.Next == "" {
			return err
		}
		if a.Next == q.After {
			return fmt.Errorf("the ledger's answer to %s goes in a circle", q.Kind)
		}
		q.After = a.Next
	}
}
