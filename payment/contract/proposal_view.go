package contract

import (
	"fmt"
	"slices"
	"strings"

	"torrente/payment"
)

// ProposalInfo is a proposal and who agrees to it.
type ProposalInfo struct {
	ID            TxID         `json:"id"`
	By            string       `json:"by"`       // the proposer's organisation
	Proposed      uint64       `json:"proposed"` // seconds since 1970
	Lapses        uint64       `json:"lapses"`   // the last second in which it can be approved
	Decision      DecisionInfo `json:"decision"`
	Approved      []string     `json:"approved"`        // organisations, in order
	Needed        int          `json:"needed"`          // organisations that make it pass
	Organisations int          `json:"organisations"`   // when it passed, or now
	Passed        uint64       `json:"passed,omitzero"` // when, in seconds since 1970; 0: it has not
}

// Open reports whether it can still be approved at a time in seconds since 1970.
func (p *ProposalInfo) Open(now uint64) bool { return p.Passed == 0 && now <= p.Lapses }

func (a *asking) proposal() error { return a.addProposal(a.q.Proposal) }

func (a *asking) addProposal(id TxID) error {
	info, _, err := a.proposalInfo(id)
	if err == nil && info != nil {
		a.answer.Proposals = append(a.answer.Proposals, *info)
	}
	return err
}

func (a *asking) proposals() error {
	return a.page("prop/", func(key string, _ []byte) error {
		var id TxID
		if err := id.UnmarshalText([]byte(key)); err != nil {
			return err
		}
		return a.addProposal(id)
	})
}

// proposalInfo reads a proposal and its votes; nil: there is none.
func (v view) proposalInfo(id TxID) (*ProposalInfo, Decision, error) {
	var p proposal
	var passed passing
	if ok, err := v.read(keyProposal(id), &p); err != nil || !ok {
		return nil, nil, err
	}
	if _, err := v.read(keyPassed(id), &passed); err != nil {
		return nil, nil, err
	}
	voters := int(passed.organisations)
	if passed.time == 0 {
		all, err := v.organisations()
		if err != nil {
			return nil, nil, err
		}
		voters = len(all)
	}
	info := &ProposalInfo{
		ID: id, By: p.msp, Proposed: p.time, Lapses: p.time + proposalLife, Decision: Describe(p.decision),
		Needed: voters/2 + 1, Organisations: voters, Passed: passed.time,
	}
	prefix := hexed("vote/", id) + "/"
	rows, err := v.st.Range(prefix, "", maxOrganisations)
	for _, row := range rows {
		info.Approved = append(info.Approved, strings.TrimPrefix(row.Key, prefix))
	}
	return info, p.decision, err
}

// organisations are the ids of all, in order.
func (v view) organisations() (all organisationList, err error) {
	_, err = v.read(keyOrganisations, &all)
	return all, err
}

// minted is all coins that there are: the genesis document's, and those that a
// majority minted since.
func (v view) minted(l *ledgerRow) (payment.Amount, error) {
	var since coins
	if _, err := v.read(keyMinted, &since); err != nil {
		return 0, err
	}
	sum, ok := l.minted.Add(payment.Amount(since))
	if !ok {
		return 0, fmt.Errorf("%w: more was minted than 64 bits hold", ErrBooks)
	}
	return sum, nil
}

// auditProposals checks that more than half of the organisations, which were as many
// as the genesis document's or more, agreed to everything that passed, and adds up what was
// minted by it (L9). Organisations are those of the document and those admitted.
func (v view) auditProposals(founders int) error {
	all, err := v.organisations()
	if err != nil {
		return err
	}
	var minted payment.Amount
	admitted := map[string]bool{}
	err = v.walk("pass/", func(rest string, _ []byte) error {
		var id TxID
		if err := id.UnmarshalText([]byte(rest)); err != nil {
			return err
		}
		info, d, err := v.proposalInfo(id)
		if err != nil {
			return err
		}
		if info == nil || !info.majorityOf(all, founders) {
			return fmt.Errorf("%w: proposal %v passed without a majority", ErrBooks, id)
		}
		switch d := d.(type) {
		case *Admit:
			admitted[d.MSP] = true // proposed twice, it was admitted once
			return v.auditAdmission(d)
		case *Mint:
			var ok bool
			if minted, ok = minted.Add(d.Coins); !ok {
				return fmt.Errorf("%w: more was minted than 64 bits hold", ErrBooks)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if len(all) != founders+len(admitted) {
		return fmt.Errorf("%w: there are %d organizations, and %d of the genesis document and %d admitted", ErrBooks, len(all), founders, len(admitted))
	}
	var since coins
	if _, err := v.read(keyMinted, &since); err != nil {
		return err
	}
	if payment.Amount(since) != minted {
		return fmt.Errorf("%w: %s coins were minted, and a majority agreed to %s", ErrBooks, payment.Amount(since), minted)
	}
	return nil
}

// majorityOf reports whether enough of all organisations approved, of as many as there can
// have been.
func (p *ProposalInfo) majorityOf(all []string, founders int) bool {
	stranger := func(msp string) bool { return !slices.Contains(all, msp) }
	return len(p.Approved) >= p.Needed && p.Organisations >= founders && p.Organisations <= len(all) && !slices.ContainsFunc(p.Approved, stranger)
}

// auditAdmission checks that an organisation is there that was admitted.
func (v view) auditAdmission(a *Admit) error {
	var o organisation
	if there, err := v.read(keyOrganisation(a.MSP), &o); err != nil {
		return err
	} else if !there || o.administrator != a.Administrator {
		return fmt.Errorf("%w: %s was admitted, and is not there with that administrator", ErrBooks, a.MSP)
	}
	return nil
}
