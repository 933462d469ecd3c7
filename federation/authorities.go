package federation

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"strconv"
	"time"

	"torrente/identity"
)

// How long certificates live. Members renew theirs at half life.
const (
	rootLifetime   = 10 * 365 * 24 * time.Hour
	memberLifetime = 90 * 24 * time.Hour
	portalLifetime = 30 * 24 * time.Hour
	backdated      = 10 * time.Minute // for clients whose clock is slow
)

// maxAuthorities is how many roots one portal ever issues by.
const maxAuthorities = 32

// fingerprint is SHA-256 of a certificate, by which the ledger names roots.
func fingerprint(c *x509.Certificate) [sha256.Size]byte { return sha256.Sum256(c.Raw) }

// authorityName is the file of the nth authority, without its ending.
func authorityName(n int) string { return authorityFolder + "/" + strconv.Itoa(n) }

// readAuthorities opens all roots whose keys are in the folder, oldest first.
func (d folder) readAuthorities(password []byte) (list []*identity.Authority, err error) {
	for n := 1; n <= maxAuthorities; n++ {
		base := d.path(authorityName(n))
		roots, err := identity.ReadCertificateFile(base + ".pem")
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return nil, err
		}
		key, err := identity.ReadKeyFile(base+".key", password)
		if err != nil {
			return nil, err
		}
		a, err := identity.LoadAuthority(roots[0], key)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", base, err)
		}
		list = append(list, a)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s holds no authority: restore it from a copy", d.path(authorityFolder))
	}
	return list, nil
}

// writeAuthority stores the nth authority. The certificate comes last: without
// it, the key is taken for the remains of a crash and replaced.
func (d folder) writeAuthority(n int, a *identity.Authority, password []byte, cost identity.Cost) error {
	base := d.path(authorityName(n))
	if err := identity.ReplaceKeyFile(base+".key", password, a.Key(), cost); err != nil {
		return err
	}
	return identity.WriteCertificateFile(base+".pem", []*x509.Certificate{a.Root()})
}

// portalCertificate makes a TLS key that lives in memory alone, and the
// certificate by which the portal is known under these hosts (names or IP
// addresses). It names no organisation, so it is no member's certificate; and
// a member's names no host, so no member can stand in for the portal.
func portalCertificate(a *identity.Authority, hosts []string, now time.Time) (*tls.Certificate, error) {
	key, err := identity.NewKey()
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial.Add(serial, big.NewInt(1)),
		NotBefore:             now.Add(-backdated),
		NotAfter:              now.Add(portalLifetime),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	template.Subject.CommonName = "portal of " + a.MSP()
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	return signPortal(a, template, key)
}

func signPortal(a *identity.Authority, template *x509.Certificate, key *ecdsa.PrivateKey) (*tls.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, a.Root(), &key.PublicKey, a.Key())
	if err != nil {
		return nil, fmt.Errorf("certificate of the portal: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("certificate of the portal: %w", err)
	}
	// The root goes with it: an invite names its key, and who is enrolling has
	// no other way to get it.
	return &tls.Certificate{Certificate: [][]byte{der, a.Root().Raw}, PrivateKey: key, Leaf: leaf}, nil
}
