package federation

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"torrente/identity"
	"torrente/metainfo"
	"torrente/payment"
	"torrente/payment/ledger/remote"
)

// ErrOtherPortal means that the machine at the federation's address is not the
// one that the invite is for.
var ErrOtherPortal = errors.New("the machine at this address is not the portal that the invite is for: check both, nothing was sent to it")

// ErrPortalTime means that the portal's certificate is not valid by our clock.
var ErrPortalTime = errors.New("the portal's certificate is not valid at the time of this machine's clock: set the clock right")

// enrolTimeout bounds an enrolment from the first byte to the last.
const enrolTimeout = time.Minute

// EnrolRequest is what an enrolment needs.
type EnrolRequest struct {
	URL  string // of the portal
	Code Code
	Key  *ecdsa.PrivateKey // it stays here: only a request signed by it is sent
	Name string            // proposed; empty: the portal chooses
	Now  func() time.Time
}

// Enrolled is a certificate, and the federation that gave it.
type Enrolled struct {
	Identity  *identity.Identity
	Chain     []*x509.Certificate // leaf first
	Account   payment.Account
	Directory remote.Directory
}

// Enrol spends an invite on a certificate. It trusts nothing but a TLS chain
// that ends in the authority whose key the invite names. With the same key and
// invite it may be repeated, and gives the same certificate. The errors are
// ErrOtherPortal, ErrPortalTime, *remote.Refused, *remote.Unreachable, and
// remote.ErrDirectory and identity's for an answer that contradicts itself.
func Enrol(ctx context.Context, r EnrolRequest) (*Enrolled, error) {
	ctx, cancel := context.WithTimeout(ctx, enrolTimeout)
	defer cancel()
	if err := metainfo.CheckFederation(r.URL); err != nil {
		return nil, err
	}
	u, err := url.Parse(r.URL)
	if err != nil {
		return nil, err
	}
	body, err := r.body()
	if err != nil {
		return nil, err
	}
	web := &http.Client{
		Transport: &http.Transport{
			DisableKeepAlives: true, TLSHandshakeTimeout: 20 * time.Second,
			TLSClientConfig: pinned(r.Code, u.Hostname(), r.Now),
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	raw, err := remote.Post(ctx, web, r.URL, "/v1/enroll", jsonContentType, body)
	if err != nil {
		for _, ours := range []error{ErrOtherPortal, ErrPortalTime} {
			if errors.Is(err, ours) {
				return nil, fmt.Errorf("%s: %w", r.URL, ours)
			}
		}
		return nil, err
	}
	return r.accept(raw)
}

// anyName is proposed in the request itself, which needs one, when the portal
// shall choose.
const anyName = "member"

func (r *EnrolRequest) body() ([]byte, error) {
	name := r.Name
	if name == "" {
		name = anyName
	}
	csr, err := identity.NewRequest(r.Key, name)
	if err != nil {
		return nil, err
	}
	e := enrolment{Invite: r.Code.String(), CSR: base64.StdEncoding.EncodeToString(csr), Name: r.Name}
	return e.encode()
}

// accept reads the portal's answer. The portal is the right one, yet what it
// says is checked: a node that keeps a wrong certificate finds out too late.
func (r *EnrolRequest) accept(raw []byte) (*Enrolled, error) {
	var e enrolled
	if err := json.Unmarshal(raw, &e); err != nil {
		return nil, fmt.Errorf("the answer of %s cannot be read: %w", r.URL, err)
	}
	if err := e.Directory.Check(); err != nil {
		return nil, err
	}
	chain, err := identity.DecodeCertificates([]byte(e.Certificate))
	if err != nil {
		return nil, err
	}
	id, err := identity.New(r.Key, chain)
	if err != nil {
		return nil, err
	}
	trust, err := e.Directory.Trust()
	if err != nil {
		return nil, err
	}
	p, err := trust.Verify(id.Chain(), r.Now())
	if err != nil {
		return nil, err
	}
	account := payment.AccountOf(p.MSP, p.SPKI)
	if account != e.Account {
		return nil, fmt.Errorf("%w (it names another account)", remote.ErrDirectory)
	}
	if r.URL != e.Directory.URL {
		e.Directory.Portal = r.URL // it worked; the other may not from here
	}
	return &Enrolled{id, chain, account, e.Directory}, nil
}

// pinned trusts the authority that the code names, for the portal's host name.
// The usual verification is off because that authority is not known before the
// handshake; all of it is done here instead.
func pinned(code Code, host string, now func() time.Time) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		NextProtos:         []string{"http/1.1"},
		ServerName:         host,
		InsecureSkipVerify: true,
		Time:               now,
		VerifyConnection: func(s tls.ConnectionState) error {
			return verifyPinned(code, host, s.PeerCertificates, now())
		},
	}
}

func verifyPinned(code Code, host string, certs []*x509.Certificate, now time.Time) error {
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	known := false
	for _, c := range certs[1:] { // crypto/tls gives one at least
		if c.IsCA && code.pins(c) && bytes.Equal(c.RawIssuer, c.RawSubject) {
			roots.AddCert(c)
			known = true
			continue
		}
		between.AddCert(c)
	}
	if !known {
		return ErrOtherPortal
	}
	_, err := certs[0].Verify(x509.VerifyOptions{
		DNSName: host, Roots: roots, Intermediates: between, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		return fmt.Errorf("%w (%w)", ErrPortalTime, err)
	}
	if err != nil {
		return fmt.Errorf("%w (%w)", ErrOtherPortal, err)
	}
	return nil
}
