package remote

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"torrente/identity"
	"torrente/payment"
	"torrente/payment/contract"
	"torrente/payment/ledger"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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

// fixture is a federation's authority and a member.
type fixture struct {
	authority *identity.Authority
	member    *identity.Identity
}

var fixed = sync.OnceValue(func() *fixture {
	now := time.Now()
	a, err := identity.NewAuthority("Alpha", now, time.Hour)
	if err != nil {
		panic(err)
	}
	key, err := identity.NewKey()
	if err != nil {
		panic(err)
	}
	csr, err := identity.NewRequest(key, "bob")
	if err != nil {
		panic(err)
	}
	leaf, err := a.Issue(csr, "bob", now, time.Hour)
	if err != nil {
		panic(err)
	}
	id, err := identity.New(key, []*x509.Certificate{leaf})
	if err != nil {
		panic(err)
	}
	return &fixture{a, id}
})

// certificate is a portal's for 127.0.0.1, until a time.
func certificate(t testing.TB, a *identity.Authority, until time.Time) tls.Certificate {
	t.Helper()
	key := must[*ecdsa.PrivateKey](t)(identity.NewKey())
	template := &x509.Certificate{
		SerialNumber: big.NewInt(7), NotBefore: until.Add(-48 * time.Hour), NotAfter: until,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der := must[[]byte](t)(x509.CreateCertificate(rand.Reader, template, a.Root(), &key.PublicKey, a.Key()))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// portal answers as the test says, over the TLS of a real one.
func portal(t testing.TB, a *identity.Authority, until time.Time, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAnyClientCert, Certificates: []tls.Certificate{certificate(t, a, until)}}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL
}

// client talks to a portal that answers as the test says.
func client(t testing.TB, h http.HandlerFunc) *Client {
	t.Helper()
	return clientOf(t, portal(t, fixed().authority, time.Now().Add(time.Hour), h))
}

func clientOf(t testing.TB, url string) *Client {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AddCert(fixed().authority.Root())
	c := must[*Client](t)(New(Config{
		URL: url, Ledger: payment.LedgerID{1}, Now: time.Now, Patience: 3 * time.Second,
		Identity: func() *identity.Identity { return fixed().member },
		Roots:    func() *x509.CertPool { return pool },
	}))
	c.pause = time.Millisecond
	t.Cleanup(func() { c.Close() })
	return c
}

func transaction(t testing.TB) *contract.Signed {
	t.Helper()
	tx := &contract.Transaction{Ledger: payment.LedgerID{1}, Time: uint64(time.Now().Unix()), Args: &contract.Transfer{Coins: 1}}
	return must[*contract.Signed](t)(contract.Sign(fixed().member.Key(), fixed().member.Chain(), tx))
}

func fail(w http.ResponseWriter, status int, f Failure) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(f)
}

// Answers that get lost, and a portal that is busy or away, are met with the
// same bytes again.
func TestSubmitInsists(t *testing.T) {
	receipt := ledger.Receipt{Height: 9, Coins: 4}
	var mu sync.Mutex
	var bodies []string
	troubles := []func(w http.ResponseWriter){
		func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
		func(w http.ResponseWriter) { fail(w, 429, Failure{Error: "busy", Reason: ReasonBusy}) },
		func(w http.ResponseWriter) { fail(w, 503, Failure{Error: "stopping", Reason: ReasonUnavailable}) },
		func(w http.ResponseWriter) { http.Error(w, "<html>gateway</html>", http.StatusBadGateway) },
		func(w http.ResponseWriter) { fmt.Fprint(w, `{"height": 9`) },
		func(w http.ResponseWriter) { _ = json.NewEncoder(w).Encode(receipt) },
	}
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		bodies = append(bodies, string(body))
		n := len(bodies)
		mu.Unlock()
		troubles[n-1](w)
	})
	c.cfg.Patience = time.Minute
	tx := transaction(t)
	got := must[ledger.Receipt](t)(c.Submit(t.Context(), tx))
	if got.Height != 9 || got.Coins != 4 {
		t.Errorf("%+v", got)
	}
	if len(bodies) != len(troubles) {
		t.Errorf("%d attempts", len(bodies))
	}
	for i, b := range bodies {
		if b != string(tx.Append(nil)) {
			t.Errorf("attempt %d sent other bytes", i)
		}
	}
}

// What stays so is not tried twice, and is the error that the interface names.
func TestRefusalsAreFinal(t *testing.T) {
	ledgerTime := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, tt := range map[string]struct {
		failure Failure
		is      error
	}{
		"a certificate": {Failure{Error: "x", Reason: ReasonCertificate, Refusal: identity.RefusalCode(identity.ErrRootRemoved)}, identity.ErrRootRemoved},
		"a signature":   {Failure{Error: "x", Reason: ReasonTransaction, Signature: true}, payment.ErrSignature},
		"a transaction": {Failure{Error: "x", Reason: ReasonTransaction}, contract.ErrTransaction},
		"a query":       {Failure{Error: "x", Reason: ReasonQuery}, contract.ErrQuery},
	} {
		t.Run(name, func(t *testing.T) {
			n := 0
			c := client(t, func(w http.ResponseWriter, _ *http.Request) { n++; fail(w, 403, tt.failure) })
			_, err := c.Submit(t.Context(), transaction(t))
			if !errors.Is(err, tt.is) || n != 1 {
				t.Errorf("after %d attempts: %v", n, err)
			}
			if refused, ok := errors.AsType[*Refused](err); !ok || refused.Status != 403 || !strings.HasSuffix(err.Error(), "refused: x") {
				t.Errorf("%v", err)
			}
		})
	}
	c := client(t, func(w http.ResponseWriter, _ *http.Request) {
		fail(w, 403, Failure{Error: "x", Reason: ReasonClock, Time: ledgerTime})
	})
	_, err := c.Submit(t.Context(), transaction(t))
	if off, ok := errors.AsType[*ledger.ClockOff](err); !ok || !off.Ledger.Equal(ledgerTime) || time.Since(off.Tx) > time.Minute {
		t.Errorf("the clock: %v", err)
	}
}

// A portal that never answers well costs the patience, and no memory.
func TestHostilePortals(t *testing.T) {
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		says   string
	}{
		"endless": {func(w http.ResponseWriter, r *http.Request) {
			chunk := make([]byte, 1<<20)
			for r.Context().Err() == nil {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		}, "cannot be reached"},
		"redirects": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://169.254.169.254/latest", http.StatusTemporaryRedirect)
		}, `it answered "307 Temporary Redirect"`},
		"huge headers": {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 1<<20)) }, "cannot be reached"},
		"no JSON":      {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") }, "cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			c := client(t, tt.answer)
			c.cfg.Patience = time.Second
			_, err := c.Query(t.Context(), contract.Query{Kind: contract.QueryLedger})
			if _, ok := errors.AsType[*Unreachable](err); !ok || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestStrangersAreToldApart(t *testing.T) {
	none := func(w http.ResponseWriter, _ *http.Request) { t.Error("a stranger got a request") }
	other := must[*identity.Authority](t)(identity.NewAuthority("Alpha", time.Now(), time.Hour))
	valid := time.Now().Add(time.Hour)
	right := portal(t, fixed().authority, valid, none)
	for name, tt := range map[string]struct{ url, says string }{
		"another root": {portal(t, other, valid, none), "is not the portal of your federation (x509: certificate signed by unknown authority"},
		"another host": {strings.Replace(right, "127.0.0.1", "localhost", 1), "is not the portal of your federation"},
		"over":         {portal(t, fixed().authority, time.Now().Add(-time.Hour), none), "not valid at the time of this machine's clock"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := clientOf(t, tt.url).Submit(t.Context(), transaction(t))
			if _, ok := errors.AsType[*Stranger](err); !ok || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v", err)
			}
		})
	}
	c := clientOf(t, "https://127.0.0.1:1")
	c.cfg.Patience = 100 * time.Millisecond
	_, err := c.Submit(t.Context(), transaction(t))
	if down, ok := errors.AsType[*Unreachable](err); !ok || down.URL != "https://127.0.0.1:1" {
		t.Errorf("nobody is there: %v", err)
	}
	for _, url := range []string{"http://127.0.0.1", "127.0.0.1:9443", "https://", "https://a@b"} {
		if _, err := New(Config{URL: url}); err == nil {
			t.Errorf("%s was accepted", url)
		}
	}
}

// stream is one connection's worth of events, and what happens then.
func blockText(h uint64) string {
	b, _ := json.Marshal(ledger.Block{Height: h, Time: 1})
	return fmt.Sprintf("event: block\nid: %d\ndata: %s\n\n", h, b)
}

// Streams break in every way; the caller sees all blocks once, in order.
func TestEventsGoOn(t *testing.T) {
	var mu sync.Mutex
	var from []string
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		from = append(from, r.URL.Query().Get("from"))
		n := len(from)
		mu.Unlock()
		flush := http.NewResponseController(w).Flush
		switch n {
		case 1: // ends
			fmt.Fprint(w, ": hello\n\n", blockText(3), blockText(4))
		case 2: // ends in the middle of a block
			fmt.Fprint(w, blockText(5), blockText(6)[:20])
		case 3: // is torn
			fmt.Fprint(w, "event: later\nid: 6\ndata: of a later version\n\n", blockText(6))
			_ = flush()
			panic(http.ErrAbortHandler)
		case 4: // falls silent
			fmt.Fprint(w, blockText(7))
			_ = flush()
			<-r.Context().Done()
		case 5:
			fail(w, 429, Failure{Error: "busy", Reason: ReasonBusy})
		default:
			fmt.Fprint(w, blockText(8))
		}
	})
	c.silence = 100 * time.Millisecond
	want := uint64(3)
	for b, err := range c.Events(t.Context(), 3) {
		if err != nil || b.Height != want {
			t.Fatalf("block %d, %v; not %d", b.Height, err, want)
		}
		if want++; want > 8 {
			break
		}
	}
	if got := fmt.Sprint(from); got != "[3 5 6 7 8 8]" {
		t.Errorf("streams began at %s", got)
	}
}

func TestEventsThatLie(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		is   error
	}{
		"a gap":             {blockText(2), ErrStream},
		"back":              {blockText(1) + blockText(1), ErrStream},
		"another id":        {strings.Replace(blockText(1), "id: 1", "id: 2", 1), ErrStream},
		"no JSON":           {"event: block\nid: 1\ndata: x\n\n", ErrStream},
		"a block too large": {"event: block\ndata: " + strings.Repeat("x", maxLine) + "\n\n", ErrStream},
	} {
		t.Run(name, func(t *testing.T) {
			c := client(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, tt.text) })
			var last error
			for _, err := range c.Events(t.Context(), 1) {
				last = err
			}
			if !errors.Is(last, tt.is) {
				t.Errorf("it ended with %v", last)
			}
		})
	}
	c := client(t, func(w http.ResponseWriter, _ *http.Request) {
		fail(w, 403, Failure{Error: "x", Reason: ReasonCertificate, Refusal: identity.RefusalCode(identity.ErrRevoked)})
	})
	for _, err := range c.Events(t.Context(), 1) {
		if !errors.Is(err, identity.ErrRevoked) {
			t.Errorf("refused: %v", err)
		}
	}
}

func TestRenewRefusesAnotherKeysCertificate(t *testing.T) {
	key := must[*ecdsa.PrivateKey](t)(identity.NewKey())
	csr := must[[]byte](t)(identity.NewRequest(key, "bob"))
	leaf := must[*x509.Certificate](t)(fixed().authority.Issue(csr, "bob", time.Now(), time.Hour))
	c := client(t, func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]string{"certificate": string(identity.EncodeCertificates([]*x509.Certificate{leaf}))})
	})
	if _, err := c.Renew(t.Context()); !errors.Is(err, identity.ErrMismatch) {
		t.Errorf("%v", err)
	}
}

func TestDirectoryOfAnotherLedger(t *testing.T) {
	c := client(t, func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(Directory{}) })
	if _, err := c.Directory(t.Context()); !errors.Is(err, ErrDirectory) {
		t.Errorf("%v", err)
	}
}

func FuzzDirectory(f *testing.F) {
	g := &contract.Genesis{Name: "A", Price: 1, Organisations: []contract.Organisation{{MSP: "Alpha", Roots: [][]byte{fixed().authority.Root().Raw}}}}
	d := Directory{
		Name: "A", MSP: "Alpha", URL: "https://f.example", Genesis: must[[]byte](f)(g.Encode()),
		Authorities: []contract.Root{{MSP: "Alpha", Certificate: fixed().authority.Root().Raw, Trusted: true}},
	}
	d.Complete()
	if err := d.Check(); err != nil {
		f.Fatal(err)
	}
	f.Add(must[[]byte](f)(json.Marshal(d)))
	f.Add([]byte(`{"authorities":[{"msp":"x"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var d Directory
		if json.Unmarshal(text, &d) != nil || d.Check() != nil {
			return
		}
		if _, err := d.Trust(); err != nil {
			t.Fatal(err)
		}
		if d.Pool() == nil {
			t.Fatal("no pool")
		}
	})
}

// A portal whose certificate is good at another time tells whether it is our
// clock that is wrong; no other stranger is asked, and if the clock is right the
// portal is a stranger.
func TestWrongClockIsFound(t *testing.T) {
	now := time.Now()
	later := must[*identity.Authority](t)(identity.NewAuthority("Alpha", now.Add(3*time.Hour), 100*time.Hour))
	url := func(a *identity.Authority, says time.Time) string {
		return portal(t, a, now.Add(3*time.Hour+47*time.Hour+55*time.Minute), func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != PathQuery {
				t.Errorf("%s was asked for", r.URL.Path)
			}
			_ = json.NewEncoder(w).Encode(contract.Answer{Time: uint64(says.Unix())})
		})
	}
	ask := func(url string, root *identity.Authority) error {
		c := clientOf(t, url)
		pool := x509.NewCertPool()
		pool.AddCert(root.Root())
		c.cfg.Roots = func() *x509.CertPool { return pool }
		_, err := c.Submit(t.Context(), transaction(t))
		return err
	}
	err := ask(url(later, now.Add(3*time.Hour)), later)
	if wrong, ok := errors.AsType[*ledger.WrongClock](err); !ok || !strings.Contains(err.Error(), "behind the ledger's") || wrong.Ledger.Unix() != now.Add(3*time.Hour).Unix() {
		t.Errorf("%v", err)
	}
	other := must[*identity.Authority](t)(identity.NewAuthority("Alpha", now.Add(3*time.Hour), 100*time.Hour))
	for name, u := range map[string]string{"the right time": url(later, now), "another root": url(other, now.Add(3*time.Hour)), "no time": url(later, time.Unix(0, 0))} {
		if _, ok := errors.AsType[*Stranger](ask(u, later)); !ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}
