package identity

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	maxMSPBytes  = 64
	maxNameBytes = 64 // ub-common-name of RFC 5280
)

// principalOf reads whose certificate it is: one Organization, the MSP id, and
// a P-256 key. It does not verify who says so.
func principalOf(c *x509.Certificate) (Principal, error) {
	spki, err := spkiOf(c.PublicKey)
	if err != nil {
		return Principal{}, err
	}
	if !bytes.Equal(spki, c.RawSubjectPublicKeyInfo) {
		return Principal{}, fmt.Errorf("%w (its encoding is not the usual one)", ErrKeyType)
	}
	if c.IsCA {
		return Principal{}, fmt.Errorf("%w (it is an authority's, not a member's)", ErrMalformed)
	}
	if n := len(c.Subject.Organization); n != 1 {
		return Principal{}, fmt.Errorf("%w (it names %d organizations, not one)", ErrMalformed, n)
	}
	msp := c.Subject.Organization[0]
	if err := checkMSP(msp); err != nil {
		return Principal{}, err
	}
	return Principal{MSP: msp, SPKI: spki}, checkName(c.Subject.CommonName)
}

// RenewAt returns the half of the certificate's life, from when on a node asks
// for the next one (payment protocol, section 2).
func RenewAt(c *x509.Certificate) time.Time {
	return c.NotBefore.Add(c.NotAfter.Sub(c.NotBefore) / 2)
}

// checkMSP keeps an organisation's id to what is safe in a path, a log line
// and Fabric's channel configuration.
func checkMSP(msp string) error {
	odd := func(r rune) bool {
		return (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune(".-_", r)
	}
	if msp == "" || len(msp) > maxMSPBytes || strings.ContainsFunc(msp, odd) {
		return fmt.Errorf("%w (the organization %.80q is not 1 to %d of A-Z a-z 0-9 . - _)", ErrMalformed, msp, maxMSPBytes)
	}
	return nil
}

// checkName keeps a member's name to one line that can be read.
func checkName(name string) error {
	odd := func(r rune) bool { return !unicode.IsPrint(r) }
	if name == "" || len(name) > maxNameBytes || !utf8.ValidString(name) || strings.ContainsFunc(name, odd) || strings.TrimSpace(name) != name {
		return fmt.Errorf("%w (the name %.80q is not 1 to %d printable bytes)", ErrMalformed, name, maxNameBytes)
	}
	return nil
}
