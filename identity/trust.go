package identity

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"sync"
	"time"
)

// Trust is what one federation says about certificates: the roots of each
// organisation, and what it revoked. It may be changed while it is used.
type Trust struct {
	mu sync.RWMutex // guards the following
	// orgs keeps organisations whose roots were all removed, to say so.
	orgs    map[string]*roots
	keys    map[RevokedKey]struct{}
	serials map[string]struct{} // big-endian bytes of the number
}

// RevokedKey is a key that is refused as one of an organisation: what one says
// of a key says nothing about the same key's place in another.
type RevokedKey struct {
	MSP string // empty: in every organisation
	Key KeyID
}

// roots is what one organisation issues by. Pools are never changed once
// made, so that Verify can use them without the lock.
type roots struct {
	current, removed         map[fingerprint]*x509.Certificate
	currentPool, removedPool *x509.CertPool
}

type fingerprint [sha256.Size]byte

// NewTrust returns a Trust that trusts nobody.
func NewTrust() *Trust {
	return &Trust{orgs: map[string]*roots{}, keys: map[RevokedKey]struct{}{}, serials: map[string]struct{}{}}
}

// AddRoot lets root issue certificates for the organisation msp, and for no
// other. A root that was removed is trusted again.
func (t *Trust) AddRoot(msp string, root *x509.Certificate) error {
	if err := checkMSP(msp); err != nil {
		return err
	}
	if !root.BasicConstraintsValid || !root.IsCA {
		return fmt.Errorf("%w (it cannot be a root of %s: it is not an authority's)", ErrMalformed, msp)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	o := t.orgs[msp]
	if o == nil {
		o = &roots{current: map[fingerprint]*x509.Certificate{}, removed: map[fingerprint]*x509.Certificate{}}
		t.orgs[msp] = o
	}
	id := fingerprint(sha256.Sum256(root.Raw))
	o.current[id] = root
	delete(o.removed, id)
	o.rebuild()
	return nil
}

// RemoveRoot ends the trust in root, and reports whether there was any. What
// it issued is refused from now on, with ErrRootRemoved.
func (t *Trust) RemoveRoot(msp string, root *x509.Certificate) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	id := fingerprint(sha256.Sum256(root.Raw))
	o := t.orgs[msp]
	if o == nil || o.current[id] == nil {
		return false
	}
	o.removed[id] = o.current[id]
	delete(o.current, id)
	o.rebuild()
	return true
}

// Roots returns the trusted roots of an organisation, in the order of their
// encodings.
func (t *Trust) Roots(msp string) []*x509.Certificate {
	t.mu.RLock()
	defer t.mu.RUnlock()
	o := t.orgs[msp]
	if o == nil {
		return nil
	}
	return inOrder(o.current)
}

// RevokeKey refuses every certificate of a key, present and future, whether a
// member's or an authority's.
func (t *Trust) RevokeKey(id KeyID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.keys[RevokedKey{Key: id}] = struct{}{}
}

// SetRevokedKeys refuses these keys from now on, and no others: who was
// reinstated is trusted again.
func (t *Trust) SetRevokedKeys(keys []RevokedKey) {
	all := make(map[RevokedKey]struct{}, len(keys))
	for _, k := range keys {
		all[k] = struct{}{}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.keys = all
}

// RevokeSerial refuses the certificate with this serial number. Serial numbers
// are random and 128 bits long, so the issuer need not be named.
func (t *Trust) RevokeSerial(serial *big.Int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.serials[string(serial.Bytes())] = struct{}{}
}

// Verify checks a chain, leaf first, as it is at now, and says whose it is.
// The chain holds at most 4 certificates and 16 KiB. The error is one of
// ErrMalformed, ErrKeyType, ErrOtherFederation, ErrRootRemoved, ErrRevoked,
// ErrExpired and ErrNotYetValid.
func (t *Trust) Verify(rawCerts [][]byte, now time.Time) (Principal, error) {
	chain, err := parseChain(rawCerts)
	if err != nil {
		return Principal{}, err
	}
	leaf := chain[0]
	p, err := principalOf(leaf)
	if err != nil {
		return Principal{}, err
	}
	current, removed := t.pools(p.MSP)
	if current == nil {
		return Principal{}, ErrOtherFederation
	}
	// A certificate out of its time is checked as of its nearest valid moment
	// first: who it is of matters more to the user than how old it is.
	at, late := nearestValid(leaf, now)
	chains, err := verifyAt(chain, current, at)
	if unknown := (x509.UnknownAuthorityError{}); errors.As(err, &unknown) {
		if _, err := verifyAt(chain, removed, at); err == nil {
			return Principal{}, ErrRootRemoved
		}
		return Principal{}, ErrOtherFederation
	}
	switch {
	case late != nil:
		return Principal{}, late
	case err != nil:
		return Principal{}, explain(err, now)
	case t.allRevoked(p.MSP, chains):
		return Principal{}, ErrRevoked
	}
	return p, nil
}

// pools returns nil if the organisation was never part of the federation.
func (t *Trust) pools(msp string) (current, removed *x509.CertPool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if o := t.orgs[msp]; o != nil {
		return o.currentPool, o.removedPool
	}
	return nil, nil
}

// allRevoked reports whether no chain is free of revoked certificates. The
// leaf is in all of them; another intermediate may be in some.
func (t *Trust) allRevoked(msp string, chains [][]*x509.Certificate) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	revoked := func(c *x509.Certificate) bool { return t.revoked(msp, c) }
	return !slices.ContainsFunc(chains, func(chain []*x509.Certificate) bool {
		return !slices.ContainsFunc(chain, revoked)
	})
}

func (t *Trust) revoked(msp string, c *x509.Certificate) bool {
	id := KeyID(sha256.Sum256(c.RawSubjectPublicKeyInfo))
	_, here := t.keys[RevokedKey{msp, id}]
	_, everywhere := t.keys[RevokedKey{Key: id}]
	_, serial := t.serials[string(c.SerialNumber.Bytes())]
	return here || everywhere || serial
}

func (o *roots) rebuild() { o.currentPool, o.removedPool = poolOf(o.current), poolOf(o.removed) }

// poolOf adds them in the order of their encodings: where many are alike, x509
// gives up after so many signatures, and everybody is to come to the same answer.
func poolOf(all map[fingerprint]*x509.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, c := range inOrder(all) {
		pool.AddCert(c)
	}
	return pool
}

func inOrder(all map[fingerprint]*x509.Certificate) []*x509.Certificate {
	return slices.SortedFunc(maps.Values(all), func(a, b *x509.Certificate) int { return bytes.Compare(a.Raw, b.Raw) })
}

// verifyAt builds the chains from the leaf to the pool. The pool is never nil:
// x509 would take the machine's own roots for it.
func verifyAt(chain []*x509.Certificate, pool *x509.CertPool, at time.Time) ([][]*x509.Certificate, error) {
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	return chain[0].Verify(x509.VerifyOptions{
		Roots:         pool,
		Intermediates: between,
		CurrentTime:   at,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
}

// nearestValid returns the moment of the certificate's life next to now, and
// why now is not in it.
func nearestValid(c *x509.Certificate, now time.Time) (time.Time, error) {
	if now.Before(c.NotBefore) {
		return c.NotBefore, fmt.Errorf("%w (valid from %s)", ErrNotYetValid, stamp(c.NotBefore))
	}
	if now.After(c.NotAfter) {
		return c.NotAfter, fmt.Errorf("%w (it was good until %s)", ErrExpired, stamp(c.NotAfter))
	}
	return now, nil
}

// explain names what x509 found wrong with a chain that has one of our roots.
func explain(err error, now time.Time) error {
	invalid := x509.CertificateInvalidError{}
	if errors.As(err, &invalid) && invalid.Reason == x509.Expired && invalid.Cert != nil {
		if _, late := nearestValid(invalid.Cert, now); late != nil {
			return fmt.Errorf("its issuer: %w", late)
		}
	}
	return fmt.Errorf("%w (%w)", ErrMalformed, err)
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
