package remote

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"torrente/identity"
	"torrente/internal/failpoint"
	"torrente/metainfo"
	"torrente/payment"
	"torrente/payment/contract"
	"torrente/payment/ledger"
)

// Bounds of time. A commit takes milliseconds on the embedded ledger and
// seconds on a busy network of others.
const (
	answerTimeout   = 30 * time.Second // of one attempt
	defaultPatience = 60 * time.Second // with a ledger that does not answer
	firstPause      = 100 * time.Millisecond
	longestPause    = 5 * time.Second
	silence         = 45 * time.Second // of a stream, which sends a comment every 15 s
	idleTimeout     = 90 * time.Second
)

// The paths of the ledger transport.
const (
	PathDirectory = "/v1/directory"
	PathSubmit    = "/v1/submit"
	PathQuery     = "/v1/query"
	PathEvents    = "/v1/events"
	PathRenew     = "/v1/renew"
)

// Config is what a Client needs.
type Config struct {
	URL    string           // https, of the portal
	Ledger payment.LedgerID // whose ledger it must be
	// Identity returns the member's identity. It is asked at every connection,
	// because certificates are renewed. Nil: nobody in particular (Greet).
	Identity func() *identity.Identity
	// Roots returns the roots in which the portal's certificate may end.
	Roots    func() *x509.CertPool
	Now      func() time.Time
	Patience time.Duration // how long Submit and Query try; 0: a minute
}

// Client is a ledger on another machine.
type Client struct {
	cfg    Config
	host   string       // of the portal
	web    *http.Client // answers
	stream *http.Client // events: no end of time

	silence time.Duration // after which a stream is taken for dead
	pause   time.Duration // before the first repetition
}

var _ ledger.Ledger = (*Client)(nil)

// New makes a client. It connects when it is first used.
func New(cfg Config) (*Client, error) {
	if err := metainfo.CheckFederation(cfg.URL); err != nil {
		return nil, err
	}
	u, err := url.Parse(cfg.URL)
	if err != nil {
		return nil, err
	}
	if cfg.Patience == 0 {
		cfg.Patience = defaultPatience
	}
	c := &Client{cfg: cfg, host: u.Hostname(), silence: silence, pause: firstPause}
	t := transport(c.TLS(), idleTimeout)
	c.web = &http.Client{Transport: t, CheckRedirect: noRedirect, Timeout: answerTimeout}
	c.stream = &http.Client{Transport: t, CheckRedirect: noRedirect}
	return c, nil
}

func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// Close ends idle connections. Calls under way end with their contexts.
func (c *Client) Close() error {
	c.web.CloseIdleConnections()
	return nil
}

// TLS is how the portal is met: what else it offers to members, as its tracker,
// is reached in the same way. Nobody but the portal, at this host, gets to see
// the member's certificate.
func (c *Client) TLS() *tls.Config {
	return c.tlsConfig(func(*x509.Certificate) time.Time { return c.cfg.Now() })
}

// tlsConfig verifies the portal by roots that may change while the client
// lives, which tls.Config.RootCAs may not: so the usual verification is off,
// and all of it is done in VerifyConnection, for the time at which the portal's
// certificate is to be valid.
func (c *Client) tlsConfig(at func(portal *x509.Certificate) time.Time) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{"http/1.1"}, ServerName: c.host, Time: c.cfg.Now,
		InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			return VerifyPortal(s.PeerCertificates, c.cfg.Roots(), c.host, at(s.PeerCertificates[0]))
		},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if c.cfg.Identity == nil {
				return new(tls.Certificate), nil
			}
			own := c.cfg.Identity().TLS()
			return &own, nil
		},
	}
}

// VerifyPortal checks that a TLS chain ends in one of the roots and is the
// portal's at this host. The error is *tls.CertificateVerificationError.
func VerifyPortal(chain []*x509.Certificate, roots *x509.CertPool, host string, now time.Time) error {
	between := x509.NewCertPool()
	for _, c := range chain[1:] { // crypto/tls gives one at least
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		DNSName: host, Roots: roots, Intermediates: between, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: chain, Err: err}
	}
	return nil
}

// ID returns the ledger's id, as the member's own record of it says. Every
// transaction names it, so another ledger behind the address would refuse all.
func (c *Client) ID() payment.LedgerID { return c.cfg.Ledger }

// Submit has a transaction committed, see ledger.Ledger. While no answer comes
// it sends the same bytes again, for as long as Config.Patience.
func (c *Client) Submit(ctx context.Context, tx *contract.Signed) (r ledger.Receipt, err error) {
	signed := tx.Append(nil)
	err = c.insist(ctx, func(ctx context.Context) error {
		failpoint.Hit("remote.submit")
		answer, err := Post(ctx, c.web, c.cfg.URL, PathSubmit, "application/octet-stream", signed)
		failpoint.Hit("remote.submitted")
		if err != nil {
			return c.clock(err, tx)
		}
		return decode(c.cfg.URL, answer, &r)
	})
	return r, err
}

// clock turns a refusal for the transaction's time into what the interface
// promises.
func (c *Client) clock(err error, tx *contract.Signed) error {
	refused, ok := errors.AsType[*Refused](err)
	if !ok || refused.Failure.Reason != ReasonClock {
		return err
	}
	parsed, bad := contract.ParseTransaction(tx.Body)
	if bad != nil {
		return bad
	}
	return &ledger.ClockOff{Tx: time.Unix(int64(parsed.Time), 0), Ledger: refused.Failure.Time}
}

// Query reads the ledger's state, see ledger.Ledger.
func (c *Client) Query(ctx context.Context, q contract.Query) (a contract.Answer, err error) {
	body, err := json.Marshal(q)
	if err != nil {
		return a, err
	}
	err = c.insist(ctx, func(ctx context.Context) error {
		answer, err := Post(ctx, c.web, c.cfg.URL, PathQuery, "application/json", body)
		if err != nil {
			return err
		}
		return decode(c.cfg.URL, answer, &a)
	})
	return a, err
}

// Directory asks the federation for what it says of itself now. The answer has
// been checked, and is of the same ledger.
func (c *Client) Directory(ctx context.Context) (*Directory, error) {
	d := new(Directory)
	err := c.insist(ctx, func(ctx context.Context) error {
		answer, err := get(ctx, c.web, c.cfg.URL, PathDirectory)
		if err != nil {
			return err
		}
		return decode(c.cfg.URL, answer, d)
	})
	if err != nil {
		return nil, err
	}
	if d.LedgerID != c.cfg.Ledger {
		return nil, fmt.Errorf("%w (it is of another ledger)", ErrDirectory)
	}
	return d, d.Check()
}

// Renew asks for the next certificate of the member's key, and returns its
// chain, leaf first. Before half of its life the answer is the certificate as
// it is. The caller has to store it.
func (c *Client) Renew(ctx context.Context) ([]*x509.Certificate, error) {
	id := c.cfg.Identity()
	csr, err := identity.NewRequest(id.Key(), id.Name())
	if err != nil {
		return nil, err
	}
	var answer struct {
		Certificate string `json:"certificate"`
	}
	err = c.insist(ctx, func(ctx context.Context) error {
		raw, err := Post(ctx, c.web, c.cfg.URL, PathRenew, "application/pkcs10", csr)
		if err != nil {
			return err
		}
		return decode(c.cfg.URL, raw, &answer)
	})
	if err != nil {
		return nil, err
	}
	chain, err := identity.DecodeCertificates([]byte(answer.Certificate))
	if err != nil {
		return nil, err
	}
	_, err = identity.New(id.Key(), chain) // of this key, or it is of no use
	return chain, err
}

// decode reads an answer. One that is no JSON comes from something between.
func decode(url string, answer []byte, v any) error {
	if err := json.Unmarshal(answer, v); err != nil {
		return &Unreachable{url, fmt.Errorf("its answer cannot be read: %w", err)}
	}
	return nil
}

// insist tries until an answer comes, ctx ends, or the patience does. Only what
// may go better the next time is tried again.
func (c *Client) insist(ctx context.Context, try func(context.Context) error) error {
	patience, cancel := context.WithTimeout(ctx, c.cfg.Patience)
	defer cancel()
	for pause := c.pause; ; pause = min(2*pause, longestPause) {
		err := try(patience)
		if errors.Is(err, errNotNow) {
			return c.judgeClock(patience, err)
		}
		if err == nil || !temporary(err) {
			return err
		}
		wait := time.NewTimer(pause)
		select {
		case <-wait.C:
		case <-patience.Done():
			wait.Stop()
			if errors.Is(ctx.Err(), context.Canceled) {
				return ctx.Err()
			}
			return err // says more than that the time is over
		}
	}
}

// temporary reports whether the same request may succeed later.
func temporary(err error) bool {
	if r, ok := errors.AsType[*Refused](err); ok {
		return r.temporary()
	}
	_, down := errors.AsType[*Unreachable](err)
	return down
}
