package remote

import (
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"

	"torrente/identity"
	"torrente/metainfo"
	"torrente/payment"
	"torrente/payment/contract"
)

// Bounds of a directory.
const (
	maxDirectory   = 16 << 20 // bytes of JSON
	maxAuthorities = 4096
	maxRevoked     = 100_000
)

// ErrDirectory means that a directory contradicts itself, or names something
// that cannot be.
var ErrDirectory = errors.New("the federation's directory is damaged: enroll again")

// Directory is what a federation says of itself: GET /v1/directory, and the
// file federation.json of a member's home.
type Directory struct {
	// Ledger is the first 8 bytes of LedgerID in hex: what sold torrents carry.
	Ledger   string           `json:"ledger"`
	LedgerID payment.LedgerID `json:"ledger_id"` // SHA-256 of Genesis
	Name     string           `json:"name"`
	MSP      string           `json:"msp"` // the organisation whose portal it is
	URL      string           `json:"url"` // of the portal, as sold torrents carry it
	// Portal is the address at which a member reaches the portal, if another.
	// The portal itself leaves it out.
	Portal        string `json:"portal,omitempty"`
	Tracker       string `json:"tracker"`        // announce URL for what is free
	MemberTracker string `json:"member_tracker"` // announce URL for what is sold: with a certificate
	Roots         string `json:"roots"`          // PEM, all that are trusted
	// Authorities are the trusted roots and those that were removed, whose
	// members are told so.
	Authorities []contract.Root       `json:"authorities"`
	Revoked     []contract.Revocation `json:"revoked,omitempty"`
	Genesis     []byte                `json:"genesis"`
	Price       payment.Amount        `json:"price"` // of a unit
	Epoch       uint64                `json:"epoch"`
}

// Complete fills in what follows from the other fields.
func (d *Directory) Complete() {
	d.LedgerID = contract.GenesisID(d.Genesis)
	short := d.LedgerID.Short()
	d.Ledger = hex.EncodeToString(short[:])
	d.Roots = ""
	for _, a := range d.Authorities {
		if a.Trusted {
			d.Roots += string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate}))
		}
	}
}

// Check compares what must agree. The error is ErrDirectory.
func (d *Directory) Check() error {
	again := *d
	again.Complete()
	switch {
	case again.LedgerID != d.LedgerID || again.Ledger != d.Ledger:
		return fmt.Errorf("%w (ledger and genesis differ)", ErrDirectory)
	case again.Roots != d.Roots:
		return fmt.Errorf("%w (roots and authorities differ)", ErrDirectory)
	case len(d.Authorities) > maxAuthorities || len(d.Revoked) > maxRevoked:
		return fmt.Errorf("%w (%d authorities, %d revocations)", ErrDirectory, len(d.Authorities), len(d.Revoked))
	}
	for _, u := range []string{d.URL, d.Address()} {
		if err := metainfo.CheckFederation(u); err != nil {
			return fmt.Errorf("%w (%w)", ErrDirectory, err)
		}
	}
	if _, err := contract.ParseGenesis(d.Genesis); err != nil {
		return fmt.Errorf("%w (%w)", ErrDirectory, err)
	}
	_, err := d.Trust()
	return err
}

// Address returns where a member reaches the portal.
func (d *Directory) Address() string {
	if d.Portal != "" {
		return d.Portal
	}
	return d.URL
}

// Trust returns what the directory says of certificates. The error is
// ErrDirectory.
func (d *Directory) Trust() (*identity.Trust, error) { return TrustOf(d.Authorities, d.Revoked) }

// TrustOf returns what a ledger's lists say of certificates. A root that was
// removed is first trusted and then not, so that its members are told why.
func TrustOf(authorities []contract.Root, revoked []contract.Revocation) (*identity.Trust, error) {
	t := identity.NewTrust()
	for _, a := range authorities {
		root, err := addRoot(t, a)
		if err != nil {
			return nil, err
		}
		if !a.Trusted { // its members are told why
			t.RemoveRoot(a.MSP, root)
		}
	}
	keys, err := revokedKeys(revoked)
	if err != nil {
		return nil, err
	}
	t.SetRevokedKeys(keys)
	return t, nil
}

// revokedKeys are those of a list. One organisation cannot revoke another's: each
// counts for its own alone.
func revokedKeys(revoked []contract.Revocation) (keys []identity.RevokedKey, err error) {
	for _, r := range revoked {
		k := identity.RevokedKey{MSP: r.MSP}
		raw, err := hex.DecodeString(r.Key)
		if err != nil || copy(k.Key[:], raw) != len(k.Key) || len(raw) != len(k.Key) {
			return nil, fmt.Errorf("%w (the revoked key %.80q is no digest)", ErrDirectory, r.Key)
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// Update brings what is trusted up to what the directory says. Roots that it
// does not know stay as they are. The error is ErrDirectory.
func (d *Directory) Update(t *identity.Trust) error {
	for _, a := range d.Authorities {
		if a.Trusted {
			if _, err := addRoot(t, a); err != nil {
				return err
			}
		} else if root, err := x509.ParseCertificate(a.Certificate); err == nil {
			t.RemoveRoot(a.MSP, root)
		}
	}
	keys, err := revokedKeys(d.Revoked)
	if err == nil {
		t.SetRevokedKeys(keys)
	}
	return err
}

func addRoot(t *identity.Trust, a contract.Root) (*x509.Certificate, error) {
	root, err := x509.ParseCertificate(a.Certificate)
	if err != nil {
		return nil, fmt.Errorf("%w (a root of %.80q: %w)", ErrDirectory, a.MSP, err)
	}
	if err := t.AddRoot(a.MSP, root); err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrDirectory, err)
	}
	return root, nil
}

// Pool returns the roots that the portal's own certificate may end in.
func (d *Directory) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	for _, a := range d.Authorities {
		if c, err := x509.ParseCertificate(a.Certificate); err == nil && a.Trusted && a.MSP == d.MSP {
			pool.AddCert(c)
		}
	}
	return pool
}
