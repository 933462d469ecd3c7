package ledger

import (
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"torrente/identity"
	"torrente/payment"
	"torrente/payment/contract"
)

// candidate is a transaction whose signature is good for the key in its own
// certificate. Whether the certificate is good is the next question.
type candidate struct {
	signed  *contract.Signed
	tx      *contract.Transaction
	creator contract.Creator
	id      contract.TxID
}

// identify reads a transaction and checks its signature. The errors are
// contract.ErrTransaction, identity.ErrMalformed, identity.ErrKeyType and
// payment.ErrSignature.
func identify(s *contract.Signed) (*candidate, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	tx, err := contract.ParseTransaction(s.Body)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(s.Chain[0])
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", identity.ErrMalformed, err)
	}
	if len(leaf.Subject.Organization) != 1 {
		return nil, identity.ErrMalformed
	}
	creator := contract.Creator{MSP: leaf.Subject.Organization[0], SPKI: leaf.RawSubjectPublicKeyInfo}
	if err := s.VerifySignature(creator.SPKI); err != nil {
		return nil, err
	}
	return &candidate{s, tx, creator, contract.IDOf(creator.Account(), s.Body)}, nil
}

// trusted checks the creator's certificates as of the transaction's own time,
// so that whoever executes the log later comes to the same answer. Revoked
// accounts pass: what they may still do is the contract's to say.
func (c *candidate) trusted(t *identity.Trust) error {
	p, err := t.Verify(c.signed.Chain, time.Unix(int64(c.tx.Time), 0))
	if err != nil {
		return err
	}
	if !p.Equal(identity.Principal{MSP: c.creator.MSP, SPKI: c.creator.SPKI}) {
		return identity.ErrMalformed
	}
	return nil
}

// trustOf reads the roots of all organisations. Those removed are remembered,
// so that their members are told why.
func trustOf(r contract.Reader) (*identity.Trust, error) {
	t := identity.NewTrust()
	q := contract.Query{Kind: contract.QueryRoots}
	for {
		a, err := contract.Ask(r, q)
		if err != nil {
			return nil, err
		}
		for _, root := range a.Roots {
			if err := addRoot(t, root); err != nil {
				return nil, err
			}
		}
		if a.Next == "" {
			return t, nil
		}
		q.After = a.Next
	}
}

func addRoot(t *identity.Trust, root contract.Root) error {
	c, err := x509.ParseCertificate(root.Certificate)
	if err != nil {
		return fmt.Errorf("root of %s: %w", root.MSP, err)
	}
	if err := t.AddRoot(root.MSP, c); err != nil {
		return fmt.Errorf("root of %s: %w", root.MSP, err)
	}
	if !root.Trusted {
		t.RemoveRoot(root.MSP, c)
	}
	return nil
}

// changesRoots reports whether a block's transactions changed whom to trust.
func changesRoots(results []contract.Result) bool {
	return slices.ContainsFunc(results, func(r contract.Result) bool {
		return slices.ContainsFunc(r.Events, func(e payment.LedgerEvent) bool { return e.Kind == payment.EventRoots })
	})
}

// record notes a block and what its transactions did in the stage.
func (s *stage) record(b *block, hash [32]byte, ledger payment.LedgerID, txs []*candidate, results []contract.Result) error {
	events := []payment.LedgerEvent{}
	for i := range results {
		s.putReceipt(txs[i].id, b.height, &results[i])
		for _, e := range results[i].Events {
			e.Height = b.height
			events = append(events, e)
		}
	}
	s.putTip(tip{b.height, hash, ledger})
	return s.putEvents(Block{b.height, b.time, events})
}
