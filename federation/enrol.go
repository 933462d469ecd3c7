package federation

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"torrente/identity"
	"torrente/payment"
)

// Why an enrolment is refused.
var (
	errOtherAuthority = errors.New("the invite is of another federation, or of a root that this one has removed: ask for a new one")
	errUnknownInvite  = errors.New("the invite is unknown here: ask the operator for a new one")
	errUsedInvite     = errors.New("the invite was used by another key: ask the operator for a new one")
	errExpiredInvite  = errors.New("the invite has expired: ask the operator for a new one")
	errForeign        = errors.New("this portal did not enroll the key: enroll it here")
	errAccountName    = errors.New("a name cannot look like an account: choose another with --name")
	errRequest        = errors.New("the certificate request is neither PEM nor DER, or not signed by its P-256 key: enroll with torrente")
)

// maxRequest is the most bytes of a certificate request in PEM.
const maxRequest = 8192

// request is a parsed certificate request, whose signature is checked.
type request struct {
	der  []byte
	spki []byte
	name string // proposed
}

// parseRequest reads a PKCS #10 request in PEM or DER.
func parseRequest(b []byte) (*request, error) {
	if len(b) > maxRequest {
		return nil, errRequest
	}
	if block, rest := pem.Decode(b); block != nil {
		if block.Type != "CERTIFICATE REQUEST" || len(rest) > 0 {
			return nil, errRequest
		}
		b = block.Bytes
	}
	csr, err := x509.ParseCertificateRequest(b)
	if err != nil {
		return nil, errRequest
	}
	// The type first: checking another key's signature may cost a lot.
	key, ok := csr.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() || csr.CheckSignature() != nil {
		return nil, errRequest
	}
	spki, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, errRequest
	}
	return &request{b, spki, csr.Subject.CommonName}, nil
}

// issuer makes certificates for members: the authority, and what the ledger
// says of certificates now.
type issuer struct {
	authority *identity.Authority
	trust     *identity.Trust
	now       time.Time
}

// issue gives the request's key a certificate, unless the federation would
// refuse it at once, because the key was revoked.
func (i *issuer) issue(csr []byte, name string) (*x509.Certificate, error) {
	c, err := i.authority.Issue(csr, name, i.now, memberLifetime)
	if err != nil {
		return nil, err
	}
	_, err = i.trust.Verify([][]byte{c.Raw}, i.now)
	return c, err
}

// enrol spends the invite and issues the certificate in one synced
// transaction: after a crash either both happened or neither. The same key
// gets the same certificate again.
func (r *registry) enrol(by *issuer, code Code, csr *request, name string) (m member, chain [][]byte, err error) {
	m = member{MSP: by.authority.MSP(), SPKI: csr.spki, Account: payment.AccountOf(by.authority.MSP(), csr.spki)}
	err = r.db.Update(func(tx *bbolt.Tx) error {
		invites, digest := tx.Bucket(bucketInvites), code.digest()
		var v invite
		found, err := getJSON(invites, digest[:], &v)
		if err != nil {
			return err
		}
		if err := v.usable(found, m.Account, by.now); err != nil {
			return err
		}
		if v.Account == m.Account { // the answer was lost
			_, err := getJSON(tx.Bucket(bucketMembers), m.Account[:], &m)
			chain = v.Chain
			return err
		}
		if err := admit(tx, &m, v.Name, name, by); err != nil {
			return err
		}
		c, err := by.issue(csr.der, m.Name)
		if err != nil {
			return err
		}
		m.Expires, chain = c.NotAfter, [][]byte{c.Raw}
		if err := putMember(tx, m); err != nil {
			return err
		}
		v.Used, v.Account, v.Chain = by.now, m.Account, chain
		return putJSON(invites, digest[:], v)
	})
	return m, chain, err
}

// usable says why the invite cannot be used by this account, if so.
func (v *invite) usable(found bool, by payment.Account, now time.Time) error {
	switch {
	case !found:
		return errUnknownInvite
	case v.Account == by:
		return nil
	case !v.Used.IsZero():
		return errUsedInvite
	case !now.Before(v.Expires):
		return fmt.Errorf("%w (it was good until %s)", errExpiredInvite, v.Expires.UTC().Format(time.DateTime))
	}
	return nil
}

// admit decides the member's name: what the operator wrote into the invite,
// else what was asked for, else one made of the account. Who enrols the same
// key again, because its certificate or root is over, keeps name and account.
func admit(tx *bbolt.Tx, m *member, invited, asked string, by *issuer) error {
	var before member
	again, err := getJSON(tx.Bucket(bucketMembers), m.Account[:], &before)
	switch {
	case err != nil:
		return err
	case again:
		m.Name, m.Enrolled = before.Name, before.Enrolled
		return nil
	}
	m.Enrolled = by.now
	switch {
	case invited != "":
		m.Name = invited
	case asked != "":
		m.Name = asked
	default:
		m.Name = "member-" + m.Account.String()[:8]
	}
	return checkMemberName(m.Name)
}

// checkMemberName keeps names and accounts apart: commands take either.
func checkMemberName(name string) error {
	var account payment.Account
	if account.UnmarshalText([]byte(name)) == nil {
		return errAccountName
	}
	return nil
}

// renew issues the next certificate for a member's key. One whose life is not
// half over, and whose root is still the one to issue by, is answered as it is.
func (r *registry) renew(by *issuer, current *x509.Certificate, csr *request) (chain [][]byte, err error) {
	isCurrent := current.CheckSignatureFrom(by.authority.Root()) == nil
	if isCurrent && by.now.Before(identity.RenewAt(current)) {
		return [][]byte{current.Raw}, nil
	}
	c, err := by.issue(csr.der, current.Subject.CommonName)
	if err != nil {
		return nil, err
	}
	err = r.db.Update(func(tx *bbolt.Tx) error {
		account := payment.AccountOf(by.authority.MSP(), csr.spki)
		var m member
		found, err := getJSON(tx.Bucket(bucketMembers), account[:], &m)
		if err != nil {
			return err
		}
		if !found { // certified by a root whose key is elsewhere
			return errForeign
		}
		m.Expires = c.NotAfter
		return putMember(tx, m)
	})
	return [][]byte{c.Raw}, err
}
