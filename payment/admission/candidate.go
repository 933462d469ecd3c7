package admission

import (
	"crypto/x509"
	"fmt"
	"time"

	"torrente/identity"
	"torrente/payment/contract"
)

// Candidate is a transaction whose signature is good for the key in its own
// certificate. Whether the certificate is good is the next question: Trusted.
type Candidate struct {
	Signed  *contract.Signed
	Tx      *contract.Transaction
	Creator contract.Creator
	ID      contract.TxID
}

// Identify reads a transaction and checks its signature. The errors are
// contract.ErrTransaction, identity.ErrMalformed, identity.ErrKeyType and
// payment.ErrSignature.
func Identify(s *contract.Signed) (*Candidate, error) {
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
	return &Candidate{s, tx, creator, contract.IDOf(creator.Account(), s.Body)}, nil
}

// Trusted checks the creator's certificates as of the transaction's own time,
// so that whoever executes it later, or elsewhere, comes to the same answer.
// Revoked accounts pass: what they may still do is the contract's to say. The
// errors are identity's.
func (c *Candidate) Trusted(t *identity.Trust) error {
	p, err := t.Verify(c.Signed.Chain, time.Unix(int64(c.Tx.Time), 0))
	if err != nil {
		return err
	}
	if !p.Equal(identity.Principal{MSP: c.Creator.MSP, SPKI: c.Creator.SPKI}) {
		return identity.ErrMalformed
	}
	return nil
}
