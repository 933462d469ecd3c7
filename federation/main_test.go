package federation

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"torrente/identity"
	"torrente/payment"
	"torrente/payment/contract"
	"torrente/payment/ledger/remote"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var cheap = identity.Cost{Time: 1, Rows: 16, Columns: 256}

const testPassword = "federation"

// must returns v, for calls in tests that cannot go on without it.
func must[V any](t testing.TB) func(v V, err error) V {
	return func(v V, err error) V {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// testClock is the machine's clock with an offset that a test changes.
type testClock struct{ offset atomic.Int64 }

func (c *testClock) now() time.Time       { return time.Now().Add(time.Duration(c.offset.Load())) }
func (c *testClock) pass(d time.Duration) { c.offset.Add(int64(d)) }

// place is a federation's folder in a test, open and served or not.
type place struct {
	*Federation
	dir   string
	clock *testClock
	at    Addresses
	stop  func()
}

func initiated(t testing.TB, change func(*InitConfig)) *place {
	t.Helper()
	p := &place{dir: filepath.Join(t.TempDir(), "fed"), clock: &testClock{}, stop: func() {}}
	cfg := InitConfig{
		Dir: p.dir, Name: "Alpha", Password: []byte(testPassword), Price: 10, Treasury: 1_000_000,
		Cost: cheap, Now: p.clock.now(),
	}
	if change != nil {
		change(&cfg)
	}
	must[*Facts](t)(Init(cfg))
	return p
}

func (p *place) config() Config {
	return Config{
		Dir: p.dir, Now: p.clock.now, Log: slog.New(slog.DiscardHandler),
		Password: func() ([]byte, error) { return []byte(testPassword), nil },
	}
}

func (p *place) open(t testing.TB) *place {
	t.Helper()
	p.Federation = must[*Federation](t)(Open(t.Context(), p.config()))
	p.stop = func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(func() { p.stop() })
	return p
}

func opened(t testing.TB) *place {
	t.Helper()
	return initiated(t, nil).open(t)
}

// served is a federation that answers on loopback ports until the test ends.
func served(t testing.TB, change func(*bounds)) *place {
	t.Helper()
	p := opened(t)
	if change != nil {
		change(&p.bounds)
	}
	p.serve(t)
	return p
}

func (p *place) serve(t testing.TB) {
	t.Helper()
	listen := func() net.Listener { return must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0")) }
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan Addresses, 1), make(chan error, 1)
	go func() { done <- p.Serve(ctx, listen(), listen(), func(a Addresses) { ready <- a }) }()
	closeFolder := p.stop
	p.stop = func() {
		p.stop = func() {}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
		closeFolder()
	}
	select {
	case p.at = <-ready:
	case err := <-done:
		done <- err
		t.Fatalf("Serve: %v", err)
	}
}

func (p *place) code(t testing.TB, name string) Code {
	t.Helper()
	i := must[Invitation](t)(p.Invite(t.Context(), InviteRequest{Name: name}))
	return must[Code](t)(ParseCode(i.Code))
}

// enrolled makes a member with a key of its own.
func (p *place) enrolled(t testing.TB, name string) *Enrolled {
	t.Helper()
	return must[*Enrolled](t)(Enrol(t.Context(), p.request(t, p.code(t, name))))
}

func (p *place) request(t testing.TB, code Code) EnrolRequest {
	t.Helper()
	key, err := identity.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return EnrolRequest{URL: p.at.Portal, Code: code, Key: key, Now: p.clock.now}
}

// client is the ledger as the member sees it.
func (p *place) client(t testing.TB, id *identity.Identity) *remote.Client {
	t.Helper()
	c := must[*remote.Client](t)(remote.New(remote.Config{
		URL: p.at.Portal, Ledger: p.ledger.ID(), Now: p.clock.now, Patience: 10 * time.Second,
		Identity: func() *identity.Identity { return id },
		Roots:    p.directory().Pool,
	}))
	t.Cleanup(func() { c.Close() })
	return c
}

// web is a client that shows any certificate, or none, and trusts the portal.
func (p *place) web(t testing.TB, own *tls.Certificate) *http.Client {
	t.Helper()
	cfg := &tls.Config{RootCAs: p.directory().Pool(), Time: p.clock.now}
	if own != nil {
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return own, nil }
	}
	transport := &http.Transport{TLSClientConfig: cfg}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 20 * time.Second}
}

func tlsOf(id *identity.Identity) *tls.Certificate {
	c := id.TLS()
	return &c
}

// ask sends a request to the portal and returns status and failure or body.
func (p *place) ask(t testing.TB, web *http.Client, method, path, body string) (int, remote.Failure, string) {
	t.Helper()
	r := must[*http.Request](t)(http.NewRequestWithContext(t.Context(), method, p.at.Portal+path, strings.NewReader(body)))
	answer := must[*http.Response](t)(web.Do(r))
	defer answer.Body.Close()
	text := must[[]byte](t)(io.ReadAll(io.LimitReader(answer.Body, 1<<20)))
	var f remote.Failure
	_ = json.Unmarshal(text, &f) // a success is none
	return answer.StatusCode, f, string(text)
}

// certified makes an identity outside of the portal.
func certified(t testing.TB, a *identity.Authority, name string, now time.Time, life time.Duration) *identity.Identity {
	t.Helper()
	key, err := identity.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	csr := must[[]byte](t)(identity.NewRequest(key, name))
	leaf := must[*x509.Certificate](t)(a.Issue(csr, name, now, life))
	return must[*identity.Identity](t)(identity.New(key, []*x509.Certificate{leaf}))
}

func accountOf(id *identity.Identity) payment.Account {
	p := id.Principal()
	return payment.AccountOf(p.MSP, p.SPKI)
}

// signed is a call by a member.
func (p *place) signed(t testing.TB, id *identity.Identity, args contract.Arguments) *contract.Signed {
	t.Helper()
	tx := &contract.Transaction{Ledger: p.ledger.ID(), Time: uint64(p.clock.now().Unix()), Args: args}
	tx.Request = payment.RequestID([]byte(newCode(p.gate().Root()).letters())[:16])
	return must[*contract.Signed](t)(contract.Sign(id.Key(), id.Chain(), tx))
}

func (p *place) balance(t testing.TB, a payment.Account) payment.Amount {
	t.Helper()
	answer := must[contract.Answer](t)(p.ledger.Query(t.Context(), contract.Query{Kind: contract.QueryAccount, Account: a}))
	return answer.Account.Available
}
