package federation

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"torrente/identity"
	"torrente/payment"
	"torrente/payment/contract"
	"torrente/payment/ledger"
	"torrente/payment/ledger/remote"
)

// Who has which certificate may do what. Revoked members still reach the ledger:
// what they earned stays theirs (L10).
func TestWhoIsLetIn(t *testing.T) {
	p, other := served(t, nil), served(t, nil)
	bob, eve, stranger := p.enrolled(t, "bob").Identity, p.enrolled(t, "eve").Identity, other.enrolled(t, "bob").Identity
	must[Member](t)(p.Revoke(t.Context(), RevokeRequest{Who: "eve"}))
	a := must[*identity.Authority](t)(identity.NewAuthority("Alpha", p.clock.now(), 24*time.Hour))
	pem := identity.EncodeCertificates([]*x509.Certificate{a.Root()})
	root := must[Root](t)(p.AddRoot(t.Context(), AddRootRequest{Certificate: pem}))
	dan := certified(t, a, "dan", p.clock.now(), time.Hour)
	short := certified(t, a, "short", p.clock.now().Add(-2*time.Minute), time.Minute)
	unknown := must[*identity.Authority](t)(identity.NewAuthority("Alpha", p.clock.now(), 24*time.Hour))
	query := `{"kind":"ledger"}`
	check := func(name string, own *tls.Certificate, member, creator int, refusal error) {
		t.Helper()
		web := p.web(t, own)
		for _, r := range []struct {
			method, path, body string
			want               int
		}{
			{"GET", remote.PathDirectory, "", member},
			{"POST", remote.PathQuery, query, creator},
		} {
			status, f, text := p.ask(t, web, r.method, r.path, r.body)
			if status != r.want {
				t.Errorf("%s: %s %s: %d %s", name, r.method, r.path, status, text)
			}
			if status == http.StatusForbidden && (f.Reason != remote.ReasonCertificate || !strings.Contains(f.Error, refusal.Error())) {
				t.Errorf("%s: %s %s is told %+v", name, r.method, r.path, f)
			}
		}
		for _, path := range []string{"/announce", "/scrape"} { // of a tracker, which refuses with 200
			told := "is missing" // what a member is told who asks for nothing
			if member != http.StatusOK {
				told = refusal.Error()
			}
			status, _, text := p.ask(t, web, "GET", path, "")
			if status != http.StatusOK || !strings.HasPrefix(text, "d14:failure reason") || !strings.Contains(text, told) {
				t.Errorf("%s: GET %s: %d %s", name, path, status, text)
			}
		}
	}
	check("a member", tlsOf(bob), 200, 200, nil)
	check("a member of the second root", tlsOf(dan), 200, 200, nil)
	check("nobody", nil, 403, 403, errNoCertificate)
	check("another federation's", tlsOf(stranger), 403, 403, identity.ErrOtherFederation)
	check("an unknown root of the same name", tlsOf(certified(t, unknown, "x", p.clock.now(), time.Hour)), 403, 403, identity.ErrOtherFederation)
	check("a revoked one", tlsOf(eve), 403, 200, identity.ErrRevoked)
	check("one that is over", tlsOf(short), 403, 403, identity.ErrExpired)
	portal := must[*tls.Certificate](t)(p.portalTLS())
	check("the portal itself", portal, 403, 403, identity.ErrMalformed)

	// On a connection that was open before, too.
	web := p.web(t, tlsOf(dan))
	if status, _, _ := p.ask(t, web, "GET", remote.PathDirectory, ""); status != 200 {
		t.Fatalf("before: %d", status)
	}
	must[Root](t)(p.RemoveRoot(t.Context(), RemoveRootRequest{Fingerprint: root.Fingerprint[:16]}))
	if status, f, _ := p.ask(t, web, "GET", remote.PathDirectory, ""); status != 403 || f.Refusal != identity.RefusalCode(identity.ErrRootRemoved) {
		t.Errorf("a removed root's member, on an open connection: %d %+v", status, f)
	}
	check("a removed root's member", tlsOf(dan), 403, 403, identity.ErrRootRemoved)
	check("a member still", tlsOf(bob), 200, 200, nil)
}

// Every way to send nonsense ends in an answer or a closed connection, soon.
func TestHostileRequests(t *testing.T) {
	p := served(t, nil)
	member := p.web(t, tlsOf(p.enrolled(t, "bob").Identity))
	stranger := p.web(t, nil)
	huge := strings.Repeat("A", 10<<20)
	code := p.code(t, "").String()
	for name, r := range map[string]struct {
		web                *http.Client
		method, path, body string
		status             int
		reason             remote.Reason
	}{
		"a CSR of 10 MB":            {stranger, "POST", "/v1/enroll", requestOf(t, code, huge), 413, remote.ReasonMalformed},
		"no JSON":                   {stranger, "POST", "/v1/enroll", "hello", 400, remote.ReasonMalformed},
		"half a JSON":               {stranger, "POST", "/v1/enroll", `{"invite":`, 400, remote.ReasonMalformed},
		"deep JSON":                 {stranger, "POST", "/v1/enroll", strings.Repeat("[", 30_000), 400, remote.ReasonMalformed},
		"JSON of another type":      {stranger, "POST", "/v1/enroll", `{"invite": 7}`, 400, remote.ReasonMalformed},
		"nothing":                   {stranger, "POST", "/v1/enroll", "", 400, remote.ReasonMalformed},
		"another method":            {stranger, "PUT", "/v1/enroll", "", 404, remote.ReasonMalformed},
		"no such path":              {stranger, "GET", "/v1/secrets", "", 404, remote.ReasonMalformed},
		"no query":                  {member, "POST", remote.PathQuery, "hello", 400, remote.ReasonQuery},
		"an unknown query":          {member, "POST", remote.PathQuery, `{"kind":"all"}`, 400, remote.ReasonQuery},
		"a page out of bounds":      {member, "POST", remote.PathQuery, `{"kind":"roots","limit":100000}`, 400, remote.ReasonQuery},
		"a query of 10 MB":          {member, "POST", remote.PathQuery, huge, 413, remote.ReasonMalformed},
		"no transaction":            {member, "POST", remote.PathSubmit, "hello", 403, remote.ReasonTransaction},
		"a transaction of 10 MB":    {member, "POST", remote.PathSubmit, huge, 413, remote.ReasonMalformed},
		"a renewal of 10 MB":        {member, "POST", remote.PathRenew, huge, 413, remote.ReasonMalformed},
		"a renewal of nothing":      {member, "POST", remote.PathRenew, "", 400, remote.ReasonMalformed},
		"a height that is none":     {member, "GET", remote.PathEvents + "?from=-1", "", 400, remote.ReasonMalformed},
		"a height beyond 64 bits":   {member, "GET", remote.PathEvents + "?from=99999999999999999999", "", 400, remote.ReasonMalformed},
		"a path that climbs":        {member, "GET", "/v1/../../etc/passwd", "", 404, remote.ReasonMalformed},
		"a transaction of a member": {stranger, "POST", remote.PathSubmit, "", 403, remote.ReasonCertificate},
	} {
		t.Run(name, func(t *testing.T) {
			status, f, text := p.ask(t, r.web, r.method, r.path, r.body)
			if status != r.status || f.Reason != r.reason || f.Error == "" || f.Time.IsZero() {
				t.Errorf("%d %.200s", status, text)
			}
		})
	}
	if _, err := Enrol(t.Context(), p.request(t, p.code(t, "after"))); err != nil {
		t.Errorf("afterwards nobody can enroll: %v", err)
	}
}

// A client that sends a byte now and then, or nothing, is cut off.
func TestSlowClientsAreCutOff(t *testing.T) {
	p := served(t, func(b *bounds) {
		b.header, b.request, b.idle = 100*time.Millisecond, 200*time.Millisecond, 100*time.Millisecond
	})
	for name, first := range map[string]string{
		"no handshake": "",
		"half a head":  "POST /v1/enroll HTTP/1.1\r\nHost: x\r\n",
		"half a body":  "POST /v1/enroll HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{",
		"idle":         "GET /v1/directory HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			var c net.Conn = must[net.Conn](t)(net.Dial("tcp", strings.TrimPrefix(p.at.Portal, "https://")))
			defer c.Close()
			if name != "no handshake" {
				c = tls.Client(c, &tls.Config{RootCAs: p.directory().Pool(), ServerName: "127.0.0.1"})
				must[int](t)(c.Write([]byte(first)))
			}
			if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
				t.Fatal(err)
			}
			_, err := io.Copy(io.Discard, c) // nil: the other side has closed
			if late, ok := errors.AsType[net.Error](err); ok && late.Timeout() {
				t.Error("the connection is still open")
			}
		})
	}
}

func TestEnrolmentsAreLimited(t *testing.T) {
	p := served(t, nil)
	web := p.web(t, nil)
	for n := range enrolBurst + 1 {
		status, f, _ := p.ask(t, web, "POST", "/v1/enroll", "{}")
		want := http.StatusBadRequest
		if n == enrolBurst {
			want = http.StatusTooManyRequests
		}
		if status != want {
			t.Fatalf("request %d: %d %+v", n, status, f)
		}
	}
	p.clock.pass(enrolEvery)
	if status, _, _ := p.ask(t, web, "POST", "/v1/enroll", "{}"); status != http.StatusBadRequest {
		t.Errorf("later: %d", status)
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	p := served(t, func(b *bounds) { b.perAddress = 3 })
	at := strings.TrimPrefix(p.at.Portal, "https://")
	var held []net.Conn
	for range 3 {
		c := tls.Client(must[net.Conn](t)(net.Dial("tcp", at)), &tls.Config{RootCAs: p.directory().Pool(), ServerName: "127.0.0.1"})
		if err := c.Handshake(); err != nil {
			t.Fatal(err)
		}
		held = append(held, c)
	}
	fourth := must[net.Conn](t)(net.Dial("tcp", at))
	defer fourth.Close()
	if err := fourth.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	_, err := fourth.Read(make([]byte, 1))
	if late, ok := errors.AsType[net.Error](err); err == nil || ok && late.Timeout() {
		t.Errorf("the fourth connection is kept: %v", err)
	}
	for _, c := range held {
		c.Close()
	}
	// There is room again, once the portal has seen them go.
	r := p.request(t, p.code(t, ""))
	end := time.Now().Add(10 * time.Second)
	for {
		_, err := Enrol(t.Context(), r)
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// streamOf opens a stream of events and returns its lines.
func (p *place) streamOf(t *testing.T, own *identity.Identity, path, lastID string) (*bufio.Scanner, *http.Response) {
	t.Helper()
	r := must[*http.Request](t)(http.NewRequestWithContext(t.Context(), "GET", p.at.Portal+path, nil))
	if lastID != "" {
		r.Header.Set("Last-Event-ID", lastID)
	}
	answer := must[*http.Response](t)(p.web(t, tlsOf(own)).Do(r))
	t.Cleanup(func() { answer.Body.Close() })
	if answer.StatusCode != 200 || answer.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%s: %s", path, answer.Status)
	}
	return bufio.NewScanner(answer.Body), answer
}

// nextIDs reads the ids of so many events.
func nextIDs(t *testing.T, s *bufio.Scanner, n int) (ids []string) {
	t.Helper()
	for len(ids) < n && s.Scan() {
		if id, ok := strings.CutPrefix(s.Text(), "id: "); ok {
			ids = append(ids, id)
		}
	}
	if s.Err() != nil {
		t.Fatal(s.Err())
	}
	return ids
}

func (p *place) pay(t testing.TB, to payment.Account, times int) {
	t.Helper()
	for range times {
		must[Funding](t)(p.Fund(t.Context(), FundRequest{To: to.String(), Coins: 1}))
	}
}

func TestEventsStream(t *testing.T) {
	p := served(t, func(b *bounds) { b.keepAlive = 20 * time.Millisecond })
	bob := p.enrolled(t, "bob").Identity
	p.pay(t, accountOf(bob), 3)
	for _, tt := range []struct{ path, last, want string }{
		{remote.PathEvents, "", "[1 2 3]"},
		{remote.PathEvents + "?from=2", "", "[2 3 4]"},
		{remote.PathEvents + "?from=1", "1", "[2 3 4]"},
		{remote.PathEvents + "?from=5", "", "[5 6 7]"},
	} {
		s, _ := p.streamOf(t, bob, tt.path, tt.last)
		done := make(chan []string, 1)
		go func() { done <- nextIDs(t, s, 3) }()
		if tt.want == "[2 3 4]" && p.books.Status().Height < 4 {
			p.pay(t, accountOf(bob), 1)
		}
		if tt.want == "[5 6 7]" {
			p.pay(t, accountOf(bob), 3)
		}
		if got := fmt.Sprint(<-done); got != tt.want {
			t.Errorf("%s after %q: %s, not %s", tt.path, tt.last, got, tt.want)
		}
	}
	// With nothing to say it says so.
	s, _ := p.streamOf(t, bob, remote.PathEvents+"?from=1000", "")
	for range 4 {
		if !s.Scan() {
			t.Fatal("the stream ended")
		}
	}
}

func TestStreamEndsWithTheRight(t *testing.T) {
	p := served(t, func(b *bounds) { b.keepAlive = 20 * time.Millisecond })
	a := must[*identity.Authority](t)(identity.NewAuthority("Alpha", p.clock.now(), 24*time.Hour))
	root := must[Root](t)(p.AddRoot(t.Context(), AddRootRequest{Certificate: identity.EncodeCertificates([]*x509.Certificate{a.Root()})}))
	s, _ := p.streamOf(t, certified(t, a, "dan", p.clock.now(), time.Hour), remote.PathEvents+"?from=1000", "")
	must[Root](t)(p.RemoveRoot(t.Context(), RemoveRootRequest{Fingerprint: root.Fingerprint}))
	for s.Scan() {
	}
	if s.Err() == nil {
		t.Error("the stream ended as if it were whole")
	}
}

func TestStreamsAreBounded(t *testing.T) {
	p := served(t, nil)
	bob := p.enrolled(t, "bob").Identity
	for range maxAccountStream {
		p.streamOf(t, bob, remote.PathEvents, "")
	}
	if status, f, _ := p.ask(t, p.web(t, tlsOf(bob)), "GET", remote.PathEvents, ""); status != 429 || f.Reason != remote.ReasonBusy {
		t.Errorf("one more: %d %+v", status, f)
	}
	s, _ := p.streamOf(t, p.enrolled(t, "eve").Identity, remote.PathEvents, "")
	if !s.Scan() {
		t.Error("another account has no stream")
	}
}

// stuck is a client that does not read: its writes end by their deadline.
type stuck struct {
	http.ResponseWriter
	deadline time.Time
	wrote    int
}

func (s *stuck) SetWriteDeadline(t time.Time) error { s.deadline = t; return nil }
func (s *stuck) FlushError() error                  { return nil }
func (s *stuck) Write(b []byte) (int, error) {
	if s.wrote++; s.wrote < 4 {
		return len(b), nil
	}
	if s.deadline.IsZero() || time.Until(s.deadline) > time.Minute {
		return 0, errors.New("there is no deadline")
	}
	return 0, errTooSlow
}

var errTooSlow = errors.New("i/o timeout")

func TestSenderGivesUp(t *testing.T) {
	w := &stuck{}
	s := &sender{w: w, out: http.NewResponseController(w), keepAlive: time.Hour, slow: time.Second}
	blocks := make(chan ledger.Block, 8)
	for h := range uint64(8) {
		blocks <- ledger.Block{Height: h + 1}
	}
	if err := s.run(blocks, func() error { return nil }); !errors.Is(err, errTooSlow) || w.wrote != 4 {
		t.Errorf("after %d writes: %v", w.wrote, err)
	}
	if err := (&sender{w: &stuck{}, out: http.NewResponseController(&stuck{}), keepAlive: time.Hour, slow: 1}).run(blocks, func() error { return identity.ErrRootRemoved }); !errors.Is(err, identity.ErrRootRemoved) {
		t.Errorf("not allowed any more: %v", err)
	}
}

func TestSubmitIsJudged(t *testing.T) {
	p, other := served(t, nil), served(t, nil)
	bob, eve := p.enrolled(t, "bob").Identity, p.enrolled(t, "eve").Identity
	p.pay(t, accountOf(bob), 1)
	c := p.client(t, eve)
	good := p.signed(t, bob, &contract.SetDelegate{Delegate: accountOf(eve)})
	if r, err := c.Submit(t.Context(), good); err != nil || r.Err() != nil { // anyone may carry it
		t.Fatalf("%+v, %v", r, err)
	}
	forged := *good
	forged.Body = bytes.Clone(good.Body)
	forged.Body[60] ^= 1
	stranger := other.signed(t, other.enrolled(t, "bob").Identity, &contract.SetDelegate{Delegate: accountOf(eve)})
	late := p.signed(t, bob, &contract.SetDelegate{Delegate: accountOf(bob)})
	must[Member](t)(p.Revoke(t.Context(), RevokeRequest{Who: "eve"}))
	for name, tt := range map[string]struct {
		tx *contract.Signed
		is error
	}{
		"forged":              {&forged, payment.ErrSignature},
		"another federation":  {stranger, identity.ErrOtherFederation},
		"a body that is none": {&contract.Signed{Body: []byte("x"), Chain: bob.Chain()}, contract.ErrTransaction},
	} {
		if r, err := c.Submit(t.Context(), tt.tx); !errors.Is(err, tt.is) {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	if r, err := c.Submit(t.Context(), p.signed(t, eve, &contract.Transfer{To: accountOf(bob), Coins: 1})); err != nil || r.Code != contract.Revoked {
		t.Errorf("a revoked member's transfer: %+v, %v", r, err)
	}
	p.clock.pass(time.Hour)
	_, err := c.Submit(t.Context(), late)
	off, ok := errors.AsType[*ledger.ClockOff](err)
	if !ok || off.Ledger.Sub(off.Tx) < time.Hour-time.Minute {
		t.Errorf("an hour late: %v", err)
	}
}

func TestDirectoryIsWhole(t *testing.T) {
	p := served(t, nil)
	e := p.enrolled(t, "bob")
	must[Member](t)(p.Revoke(t.Context(), RevokeRequest{Certificate: identity.EncodeCertificates(p.enrolled(t, "eve").Chain)}))
	d := must[*remote.Directory](t)(p.client(t, e.Identity).Directory(t.Context()))
	if d.Price != 10 || d.Epoch != 1 || len(d.Revoked) != 1 || d.Tracker != p.at.Tracker || d.MemberTracker != p.at.Portal+"/announce" {
		t.Errorf("%+v", d)
	}
	text := must[[]byte](t)(json.Marshal(d))
	if bytes.Contains(text, []byte("PRIVATE")) {
		t.Error("it holds a private key")
	}
	for name, spoil := range map[string]func(*remote.Directory){
		"another genesis": func(d *remote.Directory) { d.Genesis = d.Genesis[1:] },
		"another id":      func(d *remote.Directory) { d.LedgerID[0] ^= 1 },
		"another root":    func(d *remote.Directory) { d.Roots = "" },
		"no address":      func(d *remote.Directory) { d.URL = "" },
		"a key too short": func(d *remote.Directory) { d.Revoked[0].Key = "00" },
	} {
		var bad remote.Directory
		if err := json.Unmarshal(text, &bad); err != nil {
			t.Fatal(err)
		}
		if spoil(&bad); !errors.Is(bad.Check(), remote.ErrDirectory) {
			t.Errorf("%s: %v", name, bad.Check())
		}
	}
}
