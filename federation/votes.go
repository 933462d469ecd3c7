package federation

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"torrente/payment"
	"torrente/payment/contract"
)

// ProposeRequest asks for a proposal. Which fields count stands beside each
// kind: price: Price; mint: Who, Coins; revoke: Who; reinstate: Who;
// reassign: Who (the old account), Heir (the new one); admit: Founder.
type ProposeRequest struct {
	Kind  contract.DecisionKind `json:"kind"`
	Price payment.Amount        `json:"price,omitzero"`
	Coins payment.Amount        `json:"coins,omitzero"`
	Who   RevokeRequest         `json:"who,omitzero"`
	Heir  RevokeRequest         `json:"heir,omitzero"`
	// Founder is the organisation's file, as MakeKeys wrote it.
	Founder *Founder `json:"founder,omitempty"`
}

// ApproveRequest names a proposal.
type ApproveRequest struct {
	ID string `json:"id"` // in hex, or the beginning of it
}

// ProposalsRequest names proposals.
type ProposalsRequest struct {
	ID string `json:"id,omitempty"` // in hex, or the beginning of it; empty: all
}

// Proposal is one, and how it stands.
type Proposal struct {
	contract.ProposalInfo
	State string `json:"state"` // open, passed or lapsed
}

// The states of a proposal.
const (
	ProposalOpen   = "open"
	ProposalPassed = "passed"
	ProposalLapsed = "lapsed"
)

// errSoAlready says that a proposal would change nothing.
var errSoAlready = errors.New("it is so already: nothing was proposed")

// Propose asks all organisations to agree. If this one is more than half of
// them the proposal passes at once.
func (f *Federation) Propose(ctx context.Context, r ProposeRequest) (Proposal, error) {
	f.admin.Lock()
	defer f.admin.Unlock()
	d, err := f.decision(r)
	if err != nil {
		return Proposal{}, err
	}
	receipt, err := f.perform(ctx, &contract.Propose{Decision: d})
	if err != nil {
		return Proposal{}, fmt.Errorf("propose to the organizations: %w", err)
	}
	if receipt.Code == contract.Already {
		return Proposal{}, errSoAlready
	}
	return f.proposal(ctx, receipt.Tx)
}

// decision is what is asked for, in the contract's words.
func (f *Federation) decision(r ProposeRequest) (contract.Decision, error) {
	switch r.Kind {
	case contract.DecidePrice:
		return &contract.SetPrice{Price: r.Price}, nil
	case contract.DecideMint:
		account, err := f.accountFor(r.Who)
		return &contract.Mint{Account: account, Coins: r.Coins}, err
	case contract.DecideReinstate:
		account, err := f.accountFor(r.Who)
		return &contract.Reinstate{Account: account}, err
	case contract.DecideRevoke:
		m, err := f.whom(r.Who)
		return &contract.Revoke{MSP: m.MSP, SPKI: m.SPKI}, err
	case contract.DecideReassign:
		return f.reassignment(r)
	case contract.DecideAdmit:
		if r.Founder == nil {
			return nil, ErrFounder
		}
		return &contract.Admit{Organisation: r.Founder.organisation()}, nil
	}
	return nil, errors.New("there is no such decision: update this program")
}

func (f *Federation) reassignment(r ProposeRequest) (contract.Decision, error) {
	from, err := f.whom(r.Who)
	if err != nil {
		return nil, err
	}
	to, err := f.whom(r.Heir)
	if err != nil {
		return nil, err
	}
	if from.MSP != to.MSP {
		return nil, fmt.Errorf("%s is of %s and %s of %s: an account is reassigned to another of the same organization",
			from.label(), from.MSP, to.label(), to.MSP)
	}
	return &contract.Reassign{MSP: from.MSP, Old: from.SPKI, New: to.SPKI}, nil
}

// accountFor finds an account by a member's name, by a certificate, or as it
// stands.
func (f *Federation) accountFor(r RevokeRequest) (payment.Account, error) {
	m, err := f.whom(r)
	if errors.Is(err, errNoMember) && m.Account.UnmarshalText([]byte(r.Who)) == nil {
		return m.Account, nil // of another portal, or not enrolled yet
	}
	return m.Account, err
}

// Approve agrees to a proposal. It answers how the proposal stands then.
func (f *Federation) Approve(ctx context.Context, r ApproveRequest) (Proposal, error) {
	f.admin.Lock()
	defer f.admin.Unlock()
	p, err := f.findProposal(ctx, r.ID)
	if err != nil {
		return Proposal{}, err
	}
	if _, err := f.perform(ctx, &contract.Approve{Proposal: p.ID}); err != nil {
		return Proposal{}, fmt.Errorf("approve %.16s: %w", p.ID, err)
	}
	return f.proposal(ctx, p.ID)
}

// Proposals lists proposals, the newest first.
func (f *Federation) Proposals(ctx context.Context, r ProposalsRequest) ([]Proposal, error) {
	if r.ID != "" {
		p, err := f.findProposal(ctx, r.ID)
		if err != nil {
			return nil, err
		}
		return []Proposal{p}, nil
	}
	return f.proposals(ctx)
}

func (f *Federation) proposals(ctx context.Context) ([]Proposal, error) {
	found, err := pages(ctx, f, contract.QueryProposals, func(a contract.Answer) []contract.ProposalInfo { return a.Proposals })
	if err != nil {
		return nil, err
	}
	list := make([]Proposal, 0, len(found))
	for _, p := range found {
		list = append(list, standingOf(p, f.now()))
	}
	slices.SortStableFunc(list, func(a, b Proposal) int { return cmp.Compare(b.Proposed, a.Proposed) })
	return list, nil
}

// findProposal finds the one proposal whose id begins so.
func (f *Federation) findProposal(ctx context.Context, prefix string) (found Proposal, err error) {
	prefix = strings.ToLower(prefix)
	if len(prefix) == hex.EncodedLen(len(found.ID)) {
		if raw, err := hex.DecodeString(prefix); err == nil {
			return f.proposal(ctx, contract.TxID(raw))
		}
	}
	list, err := f.proposals(ctx)
	if err != nil {
		return found, err
	}
	n := 0
	for _, p := range list {
		if prefix != "" && strings.HasPrefix(p.ID.String(), prefix) {
			found = p
			n++
		}
	}
	switch {
	case n == 0:
		return found, fmt.Errorf("no proposal's id begins with %.80q: list them with torrente federation proposals", prefix)
	case n > 1:
		return found, fmt.Errorf("the ids of %d proposals begin with %.80q: give more of it", n, prefix)
	}
	return found, nil
}

func (f *Federation) proposal(ctx context.Context, id contract.TxID) (Proposal, error) {
	a, err := f.ledger.Query(ctx, contract.Query{Kind: contract.QueryProposal, Proposal: id})
	if err != nil {
		return Proposal{}, err
	}
	if len(a.Proposals) != 1 {
		return Proposal{}, contract.NoProposal
	}
	return standingOf(a.Proposals[0], f.now()), nil
}

func standingOf(p contract.ProposalInfo, now time.Time) Proposal {
	switch {
	case p.Passed != 0:
		return Proposal{p, ProposalPassed}
	case p.Open(uint64(now.Unix())):
		return Proposal{p, ProposalOpen}
	}
	return Proposal{p, ProposalLapsed}
}

// Reinstate lets a member spend again that this organisation revoked.
func (f *Federation) Reinstate(ctx context.Context, r RevokeRequest) (Member, error) {
	f.admin.Lock()
	defer f.admin.Unlock()
	account, err := f.accountFor(r)
	if err != nil {
		return Member{}, err
	}
	m, err := f.registry.memberOf(account.String())
	if errors.Is(err, errNoMember) {
		m, err = member{Account: account, MSP: f.settings.MSP}, nil
	}
	if err != nil {
		return Member{}, err
	}
	receipt, err := f.perform(ctx, &contract.Reinstate{Account: account})
	if err == nil && receipt.Code == contract.Already {
		err = contract.NotRevoked
	}
	if err != nil {
		return Member{}, fmt.Errorf("reinstate %s: %w", m.label(), err)
	}
	return m.public(f.standing()), nil
}
