package admission

import (
	"crypto/x509"
	"fmt"

	"torrente/identity"
	"torrente/payment/contract"
)

// TrustOf reads the roots of all organisations that r shows. Those removed are
// remembered, so that their members are told why.
func TrustOf(r contract.Reader) (*identity.Trust, error) {
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

// TrustIn trusts the roots of one organisation, as contract.TrustedRoots tells
// them. It knows nothing of those removed.
func TrustIn(msp string, roots [][]byte) (*identity.Trust, error) {
	t := identity.NewTrust()
	for _, der := range roots {
		if err := addRoot(t, contract.Root{MSP: msp, Certificate: der, Trusted: true}); err != nil {
			return nil, err
		}
	}
	return t, nil
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
