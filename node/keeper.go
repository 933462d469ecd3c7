package node

import (
	"context"
	"errors"
	"time"

	"torrente/identity"
	"torrente/payment"
	"torrente/payment/wallet"
)

const (
	// keepEvery is how often the membership is looked after, and keepRetry how
	// soon again after something failed.
	keepEvery = time.Hour
	keepRetry = time.Minute
	// certificateWarning is how long before its end a certificate that cannot be
	// renewed is worth a warning, once a day.
	certificateWarning = 7 * 24 * time.Hour
	warnEvery          = 24 * time.Hour
)

// keeper does at the start and every hour what a member should not have to
// think of: it takes back what expired, renews the certificate, and finds out
// whether the account is in use elsewhere.
type keeper struct {
	node   *Node
	member *Membership
	warned time.Time // about the certificate
	told   bool      // that the account is in use elsewhere
}

func newKeeper(n *Node, m *Membership) *keeper { return &keeper{node: n, member: m} }

func (k *keeper) run(ctx context.Context) {
	for ctx.Err() == nil {
		wait := keepEvery
		if !k.look(ctx, k.node.cfg.Now()) {
			wait = keepRetry
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
		case <-timer.C:
		}
	}
}

// look reports whether all could be done.
func (k *keeper) look(ctx context.Context, now time.Time) bool {
	u, err := k.member.checkRecords(ctx)
	if foreign, ok := errors.AsType[*Foreign](err); ok {
		if !k.told {
			k.told = true
			k.node.say("%v", foreign)
		}
		err = nil
	}
	coins, err2 := k.refund(ctx, now, u)
	if coins > 0 {
		k.node.cfg.Log.Info("reclaimed what expired", "coins", coins)
	}
	err3 := k.renew(ctx, now)
	for _, e := range []error{err, err2, err3} {
		if e != nil && ctx.Err() == nil {
			k.node.cfg.Log.Warn("look after the account", "err", e)
		}
	}
	return err == nil && err2 == nil && err3 == nil
}

// refund takes back what expired, by what the ledger said just now, or by asking it.
func (k *keeper) refund(ctx context.Context, now time.Time, u *underway) (coins payment.Amount, err error) {
	if u == nil {
		if u, err = k.member.underway(ctx, k.member.account()); err != nil {
			return 0, err
		}
	}
	return k.member.refundExpired(ctx, now, u)
}

// renew gets the next certificate at half of the old one's life. Until that
// works the old one does.
func (k *keeper) renew(ctx context.Context, now time.Time) error {
	m := k.member
	old := m.Certified()
	if m.Renew == nil || now.Before(old.RenewAt()) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, ledgerTime)
	defer cancel()
	next, err := m.Renew(ctx)
	if err == nil && !next.Principal().Equal(old.Principal()) {
		err = identity.ErrMismatch
	}
	if err == nil && next.NotAfter().After(old.NotAfter()) {
		m.renewed.Store(next)
		m.Note(now, wallet.Event{Kind: wallet.EventRenewed, Text: "certificate until " + next.NotAfter().UTC().Format(time.DateOnly)})
		return nil
	}
	if left := old.NotAfter().Sub(now); left < certificateWarning && now.Sub(k.warned) >= warnEvery && ctx.Err() != context.Canceled {
		k.warned = now
		k.node.say("the certificate of this account is good until %s and could not be renewed (%v): ask the federation's operator, or enroll again with a new invite",
			old.NotAfter().Local().Format(time.DateTime), reason(err))
	}
	return err
}

// reason is why a certificate was not renewed.
func reason(err error) error {
	if err == nil {
		return errSameCertificate
	}
	return err
}

var errSameCertificate = errors.New("the federation gave the same one again")
