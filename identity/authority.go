package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"time"
)

const (
	maxRequestBytes = 4096
	serialBits      = 128
	// maxBackdated is how long before its issue a certificate begins, so that
	// a member whose clock is a little slow can use it at once. One of a few
	// minutes begins less early, or half of its life would be over at once.
	maxBackdated = 10 * time.Minute
	minLifetime  = time.Minute
	maxLifetime  = 30 * 366 * 24 * time.Hour
)

var (
	// ErrRequest means that a certificate signing request cannot be granted.
	ErrRequest = errors.New("the certificate request is malformed: enroll with this program")
	// ErrLifetime means that a certificate would live too short or too long.
	ErrLifetime = errors.New("the certificate's lifetime is out of bounds: choose from a minute to 30 years")
	// ErrMismatch means that a certificate is not of the key it is kept with.
	ErrMismatch = errors.New("the certificate is of another key than the key file's: use the pair that enroll wrote")
)

// Authority issues the certificates of one organisation.
type Authority struct {
	msp  string
	root *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewAuthority makes a key and a self-signed root for the organisation msp.
func NewAuthority(msp string, now time.Time, lifetime time.Duration) (*Authority, error) {
	if err := checkMSP(msp); err != nil {
		return nil, err
	}
	key, err := NewKey()
	if err != nil {
		return nil, err
	}
	template, err := newTemplate(pkix.Name{Organization: []string{msp}, CommonName: "root of " + msp}, now, lifetime)
	if err != nil {
		return nil, err
	}
	template.IsCA = true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("make the root of %s: %w", msp, err)
	}
	root, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("make the root of %s: %w", msp, err)
	}
	return &Authority{msp, root, key}, nil
}

// LoadAuthority returns the authority with this root and its key. The errors
// are ErrMismatch and ErrMalformed.
func LoadAuthority(root *x509.Certificate, key *ecdsa.PrivateKey) (*Authority, error) {
	if !key.PublicKey.Equal(root.PublicKey) {
		return nil, ErrMismatch
	}
	if !root.BasicConstraintsValid || !root.IsCA || len(root.Subject.Organization) != 1 {
		return nil, fmt.Errorf("%w (it is not an authority's root)", ErrMalformed)
	}
	msp := root.Subject.Organization[0]
	if err := checkMSP(msp); err != nil {
		return nil, err
	}
	return &Authority{msp, root, key}, nil
}

// MSP returns the organisation's id.
func (a *Authority) MSP() string { return a.msp }

// Root returns the self-signed certificate that members' chains end in.
func (a *Authority) Root() *x509.Certificate { return a.root }

// Key returns the key that signs certificates, to be sealed in a key file.
func (a *Authority) Key() *ecdsa.PrivateKey { return a.key }

// Issue answers a certificate signing request (PKCS #10, DER) with a member's
// certificate. Only its key counts: the authority decides the name, as the
// invite says, and the organisation. The certificate ends no later than the
// root. Errors are ErrRequest, ErrKeyType, ErrMalformed (name), ErrLifetime
// and ErrExpired (root).
func (a *Authority) Issue(csr []byte, name string, now time.Time, lifetime time.Duration) (*x509.Certificate, error) {
	pub, err := checkRequest(csr)
	if err != nil {
		return nil, err
	}
	if err := checkName(name); err != nil {
		return nil, err
	}
	if _, late := nearestValid(a.root, now); late != nil {
		return nil, fmt.Errorf("the root of %s: %w", a.msp, late)
	}
	template, err := newTemplate(pkix.Name{Organization: []string{a.msp}, CommonName: name}, now, lifetime)
	if err != nil {
		return nil, err
	}
	if template.NotAfter.After(a.root.NotAfter) {
		template.NotAfter = a.root.NotAfter
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	der, err := x509.CreateCertificate(rand.Reader, template, a.root, pub, a.key)
	if err != nil {
		return nil, fmt.Errorf("issue a certificate to %s: %w", name, err)
	}
	return x509.ParseCertificate(der)
}

// NewRequest returns a certificate signing request (PKCS #10, DER) for key.
// Its signature shows that the sender has the key; name is a proposal.
func NewRequest(key *ecdsa.PrivateKey, name string) ([]byte, error) {
	if key.Curve != elliptic.P256() {
		return nil, ErrKeyType
	}
	if err := checkName(name); err != nil {
		return nil, err
	}
	return x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}, key)
}

// checkRequest returns the key that a request is for and signed by.
func checkRequest(der []byte) (*ecdsa.PublicKey, error) {
	if len(der) > maxRequestBytes {
		return nil, fmt.Errorf("%w (more than %d bytes)", ErrRequest, maxRequestBytes)
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrRequest, err)
	}
	// The key's type comes first: checking another key's signature can cost
	// far more than checking this one's.
	if _, err := spkiOf(csr.PublicKey); err != nil {
		return nil, err
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrRequest, err)
	}
	return csr.PublicKey.(*ecdsa.PublicKey), nil
}

// newTemplate holds what a root and a member's certificate have in common.
func newTemplate(subject pkix.Name, now time.Time, lifetime time.Duration) (*x509.Certificate, error) {
	if lifetime < minLifetime || lifetime > maxLifetime {
		return nil, fmt.Errorf("%w, not %s", ErrLifetime, lifetime)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), serialBits))
	if err != nil {
		return nil, err
	}
	return &x509.Certificate{
		SerialNumber:          serial.Add(serial, big.NewInt(1)), // RFC 5280: positive
		Subject:               subject,
		NotBefore:             now.Add(-min(maxBackdated, lifetime/4)),
		NotAfter:              now.Add(lifetime),
		BasicConstraintsValid: true,
	}, nil
}
