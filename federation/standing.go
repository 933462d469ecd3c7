package federation

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"torrente/identity"
	"torrente/payment"
	"torrente/payment/contract"
	"torrente/payment/ledger"
	"torrente/payment/ledger/remote"
)

// standing is whom the ledger trusts, as of one moment. It is replaced whole
// and never changed.
type standing struct {
	trust       *identity.Trust
	creators    *identity.Trust // trust, and the revoked
	authorities []contract.Root
	revoked     []contract.Revocation
	ledger      contract.LedgerInfo   // as of a moment before the lists were read
	own         []*identity.Authority // trusted ones of the portal, oldest first; never empty
}

// errNotAdmitted means that the ledger knows no organisation with such keys.
var errNotAdmitted = errors.New("the federation has not admitted this organization, or with other keys: send its founder's file to one that is a member, which proposes it by torrente federation admit propose FILE, and start again when more than half agree")

var errNoOwnRoot = errors.New("the ledger trusts none of the portal's roots: restore the folder authorities from a copy")

// refresh reads the ledger's lists anew. It is called after each transaction
// that changed them, before that transaction is answered.
// One at a time, so that what was read earlier never replaces what was read later.
func (f *Federation) refresh(ctx context.Context) error {
	f.refreshing.Lock()
	defer f.refreshing.Unlock()
	s := new(standing)
	answer, err := f.ledger.Query(ctx, contract.Query{Kind: contract.QueryLedger})
	switch {
	case errors.Is(err, identity.ErrOtherFederation): // the portal that has the ledger knows no root of ours
		return errNotAdmitted
	case err != nil:
		return err
	case answer.Ledger == nil: // it may be another's
		return errNameless
	}
	s.ledger = *answer.Ledger
	if s.authorities, err = pages(ctx, f, contract.QueryRoots, func(a contract.Answer) []contract.Root { return a.Roots }); err != nil {
		return err
	}
	if s.revoked, err = pages(ctx, f, contract.QueryRevoked, func(a contract.Answer) []contract.Revocation { return a.Revoked }); err != nil {
		return err
	}
	if s.trust, err = remote.TrustOf(s.authorities, s.revoked); err != nil {
		return err
	}
	if s.creators, err = remote.TrustOf(s.authorities, nil); err != nil {
		return err
	}
	if err := f.keepHostRoots(s); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.own {
		if s.trusts(a) {
			s.own = append(s.own, a)
		}
	}
	switch {
	case !slices.ContainsFunc(s.authorities, func(r contract.Root) bool { return r.MSP == f.settings.MSP }):
		return errNotAdmitted
	case len(s.own) == 0:
		return errNoOwnRoot
	}
	f.current = s
	f.tls = nil // its root may be another
	return nil
}

// upTo reads the lists anew if a block has changed them since. Who is told of the
// block asks for the directory at once, and once: it must not be of before.
func (f *Federation) upTo(ctx context.Context, b ledger.Block) error {
	if !slices.ContainsFunc(b.Events, changesLists) || f.standing().ledger.Height >= b.Height {
		return nil
	}
	return f.refresh(ctx)
}

func changesLists(e payment.LedgerEvent) bool {
	return e.Kind == payment.EventRevoked || e.Kind == payment.EventReinstated || e.Kind == payment.EventRoots || e.Kind == payment.EventPrice
}

// trusts reports whether the authority's root is one of the ledger's.
func (s *standing) trusts(a *identity.Authority) bool {
	for _, r := range s.authorities {
		if r.Trusted && r.MSP == a.MSP() && string(r.Certificate) == string(a.Root().Raw) {
			return true
		}
	}
	return false
}

// isRevoked reports whether the ledger refuses the account.
func (s *standing) isRevoked(account payment.Account) bool {
	for _, r := range s.revoked {
		if r.Account == account {
			return true
		}
	}
	return false
}

// maxRows is how much of a list is read of a ledger, which may be another's.
const maxRows = 1 << 20

var errNameless = errors.New("the ledger does not say which it is: ask its operator")

var errEndless = errors.New("its list has no end: ask the operator of the ledger")

// pages asks a query until the last page.
func pages[T any](ctx context.Context, f *Federation, kind contract.QueryKind, list func(contract.Answer) []T) (all []T, err error) {
	q := contract.Query{Kind: kind}
	for {
		answer, err := f.ledger.Query(ctx, q)
		if err != nil {
			return nil, fmt.Errorf("read the ledger's %s: %w", kind, err)
		}
		all = append(all, list(answer)...)
		if answer.Next == "" {
			return all, nil
		}
		if answer.Next <= q.After || len(all) > maxRows {
			return nil, fmt.Errorf("read the ledger's %s: %w", kind, errEndless)
		}
		q.After = answer.Next
	}
}

// directory is what members are told.
func (f *Federation) directory() *remote.Directory {
	s := f.standing()
	f.mu.Lock()
	at := f.at
	f.mu.Unlock()
	d := &remote.Directory{
		Name: s.ledger.Name, MSP: f.settings.MSP, URL: at.Portal, Tracker: at.Tracker, MemberTracker: at.MemberTracker,
		Authorities: s.authorities, Revoked: s.revoked, Genesis: f.ledger.Genesis(), Price: s.ledger.Price, Epoch: s.ledger.Epoch,
	}
	d.Complete()
	return d
}

// changesStanding reports whether a call may change whom the ledger trusts, or
// the price.
func changesStanding(c contract.Call) bool {
	switch c {
	case contract.CallRevoke, contract.CallReinstate, contract.CallAddRoot, contract.CallRemoveRoot,
		contract.CallPropose, contract.CallApprove:
		return true
	}
	return false
}
