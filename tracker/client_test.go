package tracker

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// counting is a server on loopback that counts what it was asked.
type counting struct {
	*httptest.Server
	asked atomic.Int32
}

func serve(t *testing.T, h http.HandlerFunc) *counting {
	t.Helper()
	c := &counting{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.asked.Add(1)
		h(w, r)
	}))
	t.Cleanup(c.Close)
	return c
}

func says(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }
}

func zipped(body []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = z.Write(body)
		_ = z.Close()
	}
}

func TestAnnounceOverHTTP(t *testing.T) {
	var got *http.Request
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		zipped([]byte("d8:intervali60e5:peers12:\x7f\x00\x00\x05\x23\x2b\xc0\x00\x02\x05\x00\x01e"))(w, r)
	})
	c := NewClient(Config{UserAgent: "name/1", Local: netip.MustParseAddr("127.0.0.9")})
	a, err := c.Announce(t.Context(), strings.Replace(s.URL, "http://", "http://u:p@", 1)+"/announce?pass=key", sample())
	if err != nil {
		t.Fatal(err)
	}
	if want := addrs("127.0.0.5:9003", "192.0.2.5:1"); !slices.Equal(a.Peers, want) || a.Interval != time.Minute {
		t.Errorf("%+v", a)
	}
	user, password, _ := got.BasicAuth()
	if user != "u" || password != "p" || got.UserAgent() != "name/1" || !strings.HasPrefix(got.RemoteAddr, "127.0.0.9:") {
		t.Errorf("%s as %s:%s from %s", got.UserAgent(), user, password, got.RemoteAddr)
	}
	q := got.URL.Query()
	if q.Get("pass") != "key" || q.Get("info_hash") != string(hash[:]) || q.Get("left") != "3" {
		t.Errorf("%v", q)
	}
}

// Each way in which a tracker can be of no help is a sentence of its own.
func TestErrorsAreSentences(t *testing.T) {
	status := func(code int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(code)
			_, _ = w.Write([]byte(body))
		}
	}
	for _, c := range []struct {
		name    string
		handler http.HandlerFunc
		want    string
	}{
		{"refusal", says("d14:failure reason12:unregisterede"), "refused: unregistered"},
		{"refusal with a status", status(403, "d14:failure reason6:bannede"), "refused: banned"},
		{"status", status(500, "<html>oops"), "answered with status 500 Internal Server Error"},
		{"status with an answer", status(404, "d5:peers0:e"), "answered with status 404 Not Found"},
		{"page", says("<html>welcome"), "sent a malformed answer: byte 0: not bencoding"},
		{"nothing", says(""), "sent a malformed answer: byte 0: ends in the middle of a value"},
		{"too long", says("d1:x3000000:" + strings.Repeat("x", 3_000_000) + "e"), "exceeds a limit"},
		{"a bomb", zipped(bytes.Repeat([]byte("l"), 100<<20)), "exceeds a limit"},
		{"broken off", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte("d5:peers"))
		}, "breaks off"},
		{"not gzip", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write([]byte("de"))
		}, "breaks off"},
		{"endless header", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", strings.Repeat("x", 1<<20))
		}, "does not answer as an HTTP server does"},
		{"redirect to nowhere", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(302) }, "redirects to nowhere"},
		{"redirect to a file", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		}, "redirects to file:///etc/passwd, which is not http or https"},
		{"redirect without end", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/announce", http.StatusTemporaryRedirect)
		}, "redirects more than 3 times"},
	} {
		s := serve(t, c.handler)
		_, err := NewClient(Config{}).Announce(t.Context(), s.URL+"/announce?passkey=secret", sample())
		if err == nil || !strings.HasPrefix(err.Error(), "tracker "+s.URL+"/announce ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		if err != nil && (strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "info_hash")) {
			t.Errorf("%s: the error tells too much: %v", c.name, err)
		}
		if r, ok := errors.AsType[*Refused](err); ok != strings.Contains(c.name, "refusal") || ok && r.Tracker != s.URL+"/announce" {
			t.Errorf("%s: %+v", c.name, r)
		}
	}
}

func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	taken := l.Addr().String()
	done := make(chan struct{})
	go func() { // a server of something else
		defer close(done)
		if conn, err := l.Accept(); err == nil {
			_, _ = conn.Read(make([]byte, 4096))
			_, _ = conn.Write([]byte("220 mail.example ESMTP\r\n"))
			conn.Close()
		}
	}()
	_, err = NewClient(Config{}).Announce(t.Context(), "http://"+taken+"/announce", sample())
	if err == nil || !strings.Contains(err.Error(), "does not answer as an HTTP server does") {
		t.Error(err)
	}
	<-done
	l.Close()
	for _, scheme := range []string{"http://", "udp://"} {
		_, err = NewClient(Config{}).Announce(t.Context(), scheme+taken+"/announce", sample())
		if err == nil || !strings.Contains(err.Error(), "cannot be reached: ") || !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s: %v", scheme, err)
		}
	}
}

func TestSlowTrackers(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("drip") != "" { // never silent, never done
			for r.Context().Err() == nil {
				_, _ = w.Write([]byte("l"))
				_ = http.NewResponseController(w).Flush()
				select {
				case <-time.After(5 * time.Millisecond):
				case <-r.Context().Done():
				}
			}
		}
		<-r.Context().Done()
	})
	c := NewClient(Config{Timeout: 60 * time.Millisecond})
	for _, q := range []string{"?drip=1", ""} {
		_, err := c.Announce(t.Context(), s.URL+"/announce"+q, sample())
		if err == nil || !strings.HasSuffix(err.Error(), "/announce did not answer within 60ms") {
			t.Errorf("%q: %v", q, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := NewClient(Config{}).Announce(ctx, s.URL+"/announce", sample()); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestRedirects(t *testing.T) {
	end := serve(t, says("d8:intervali77ee"))
	var middle *counting
	middle = serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Referer") != "" {
			t.Error("the passkey goes on in Referer")
		}
		to := end.URL + "/announce?x=" + r.URL.Query().Get("n")
		if n := r.URL.Query().Get("n"); n == "1" {
			to = middle.URL + "/announce?n=2"
		}
		http.Redirect(w, r, to, http.StatusMovedPermanently)
	})
	a, err := NewClient(Config{}).Announce(t.Context(), middle.URL+"/announce?n=1", sample())
	if err != nil || a.Interval != 77*time.Second || middle.asked.Load() != 2 || end.asked.Load() != 1 {
		t.Errorf("%+v, %v after %d and %d requests", a, err, middle.asked.Load(), end.asked.Load())
	}
}

// A torrent file must not make us ask local services for what we would not ask.
func TestLocalServicesAreNotAsked(t *testing.T) {
	victim := serve(t, says("de"))
	_, port, _ := net.SplitHostPort(victim.Listener.Addr().String())
	lure := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, victim.URL+"/shutdown?now=1", http.StatusFound)
	})
	c := NewClient(Config{})
	for _, u := range []string{
		victim.URL + "/shutdown", victim.URL, victim.URL + "/announce/../reboot",
		"http://localhost:" + port + "/shutdown", "http://0.0.0.0:" + port + "/announce", "http://[::]:" + port + "/announce",
		"http://[::ffff:127.0.0.1]:" + port + "/x", lure.URL + "/announce",
	} {
		_, err := c.Announce(t.Context(), u, sample())
		if err == nil || !strings.Contains(err.Error(), "cannot be reached: ") {
			t.Errorf("%s: %v", u, err)
		}
	}
	if n := victim.asked.Load(); n != 0 {
		t.Errorf("the victim was asked %d times", n)
	}
	// The name is judged by what it resolves to when it is dialled.
	for _, host := range []string{"localhost:" + port, victim.Listener.Addr().String()} {
		ctx := context.WithValue(t.Context(), hopKey{}, &hop{floor: global, announce: true})
		if conn, err := c.dial(ctx, "tcp", host); err == nil || !strings.Contains(err.Error(), "a redirect from a global address must not lead to the loopback address") {
			t.Errorf("%s: %v, %v", host, conn, err)
		}
	}
	if _, err := c.Announce(t.Context(), victim.URL+"/announce", sample()); err != nil || victim.asked.Load() != 1 {
		t.Errorf("a tracker on loopback that the torrent names is not asked: %v", err)
	}
}

// remote is a connection whose other end claims an address.
type remote struct {
	net.Conn
	addr netip.AddrPort
}

func (r remote) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(r.addr) }

// abroad dials a server on loopback as if it were far away, whatever the name.
func abroad(s *counting, addr string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if !strings.HasPrefix(address, "t.example:") {
			return nil, fmt.Errorf("%s is dialled", address)
		}
		conn, err := (&net.Dialer{}).DialContext(ctx, network, s.Listener.Addr().String())
		return remote{conn, netip.MustParseAddrPort(addr)}, err
	}
}

func TestGlobalTrackersDoNotReachIn(t *testing.T) {
	victim := serve(t, says("de"))
	lure := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, victim.URL+"/announce", http.StatusFound)
	})
	for from, want := range map[string]string{
		"203.0.113.5:80":   "a redirect from a global address must not lead to the loopback address",
		"192.168.1.1:80":   "a redirect from a private address must not lead to the loopback address",
		"[2001:db8::1]:80": "a redirect from a global address",
	} {
		_, err := NewClient(Config{Dial: abroad(lure, from)}).Announce(t.Context(), "http://t.example/announce", sample())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", from, err, want)
		}
	}
	if n := victim.asked.Load(); n != 0 {
		t.Errorf("the victim was asked %d times", n)
	}
	s := serve(t, says("d5:peers18:\x7f\x00\x00\x05\x23\x2b\x0a\x00\x00\x05\x00\x01\xc0\x00\x02\x05\x00\x01e"))
	a, err := NewClient(Config{Dial: abroad(s, "203.0.113.5:80")}).Announce(t.Context(), "http://t.example/announce", sample())
	if want := addrs("10.0.0.5:1", "192.0.2.5:1"); err != nil || !slices.Equal(a.Peers, want) {
		t.Errorf("%v, %v: a peer on loopback is believed of a tracker that is not", a.Peers, err)
	}
}

func TestControlCanRefuse(t *testing.T) {
	s := serve(t, says("de"))
	c := NewClient(Config{Control: func(_, address string, _ syscall.RawConn) error {
		return fmt.Errorf("%s is blocked", address)
	}})
	_, err := c.Announce(t.Context(), s.URL+"/announce", sample())
	if err == nil || !strings.Contains(err.Error(), s.Listener.Addr().String()+" is blocked") || s.asked.Load() != 0 {
		t.Error(err)
	}
}

func TestTLS(t *testing.T) {
	var clients int
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		clients = len(r.TLS.PeerCertificates)
		says("d8:intervali61ee")(w, r)
	}))
	s.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	_, err := NewClient(Config{}).Announce(t.Context(), s.URL+"/announce", sample())
	if err == nil || !strings.Contains(err.Error(), "cannot prove who it is") {
		t.Error(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	c := NewClient(Config{TLS: &tls.Config{RootCAs: roots, Certificates: s.TLS.Certificates}})
	a, err := c.Announce(t.Context(), s.URL+"/announce", sample())
	if err != nil || a.Interval != 61*time.Second || clients != 1 {
		t.Errorf("%+v, %v, %d certificates", a, err, clients)
	}
}
