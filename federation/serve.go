package federation

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"torrente/internal/control"
)

// Addresses are where a federation is reached.
type Addresses struct {
	Name          string
	Portal        string // https URL
	Tracker       string // announce URL of free torrents
	MemberTracker string // announce URL of sold torrents

	listens string // the portal's own address, unless it is all
}

// bounds are what a client can hold of the portal and the tracker.
type bounds struct {
	header      time.Duration // to send the head of a request
	request     time.Duration // to send all of it
	answer      time.Duration // to read the answer, streams apart
	idle        time.Duration // between two requests
	slow        time.Duration // to read one event of a stream
	keepAlive   time.Duration // between two writes to a stream
	keepUp      time.Duration // between two looks at what is to be renewed and finished
	pause       time.Duration // before a ledger that did not answer is asked again
	connections int
	perAddress  int // a household, or all processes of a test machine
}

var usualBounds = bounds{
	header: 10 * time.Second, request: 30 * time.Second, answer: time.Minute, idle: 2 * time.Minute,
	slow: 20 * time.Second, keepAlive: 15 * time.Second, pause: time.Second, keepUp: 10 * time.Second, connections: 4096, perAddress: 512,
}

// stopTimeout is how long requests may take to end when Serve stops.
const stopTimeout = 5 * time.Second

// errAnyAddress means that nobody could tell members where the portal is.
var errAnyAddress = errors.New("the portal listens on all addresses and nobody knows its name: give --url to federation init, or an address to --listen")

// Serve answers on the two listeners until ctx ends, and on a loopback port for
// the operator's commands. It closes the listeners. ready is called once with
// the addresses, when all three answer.
func (f *Federation) Serve(ctx context.Context, portalAt, trackerAt net.Listener, ready func(Addresses)) error {
	defer portalAt.Close()
	defer trackerAt.Close()
	at, err := f.settings.addresses(portalAt.Addr(), trackerAt.Addr())
	if err != nil {
		return err
	}
	at.listens = hostOf(portalAt.Addr())
	f.mu.Lock()
	f.at = at
	f.mu.Unlock()
	operator, err := control.Listen(commandsOf(f), f.log)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return operator.Serve(ctx) })
	// Commands are for this process from here on, however long the ledger takes.
	err = f.dir.writeJSON(controlFile, operator.At(), 0o600)
	if err == nil {
		err = f.catchUp(ctx)
	}
	if err != nil {
		cancel()
		return errors.Join(err, g.Wait())
	}
	f.feed.begin(f.sold.reached())
	tracker := f.newTracker()
	p := newPortal(ctx, f, tracker)
	secure := f.newServer(p.handler())
	secure.TLSConfig = p.tlsConfig()
	plain := f.newServer(tracker)
	run := func(s *http.Server, l net.Listener) {
		g.Go(func() error { return until(ctx, s, l) })
	}
	run(secure, tls.NewListener(newBoundedListener(portalAt, f.bounds.connections, f.bounds.perAddress), secure.TLSConfig))
	run(plain, newBoundedListener(trackerAt, f.bounds.connections, f.bounds.perAddress))
	g.Go(func() error { return f.keepFollowing(ctx) })
	g.Go(func() error { return f.keepUp(ctx) })
	ready(at)
	return g.Wait()
}

// newServer bounds what a client can hold: time for each part of a request,
// and headers. Answers that last, streams, lift the write deadline themselves.
func (f *Federation) newServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           recovered(h, f.log),
		ReadHeaderTimeout: f.bounds.header,
		ReadTimeout:       f.bounds.request,
		WriteTimeout:      f.bounds.answer,
		IdleTimeout:       f.bounds.idle,
		MaxHeaderBytes:    maxHeaders,
		ErrorLog:          slog.NewLogLogger(f.log.Handler(), slog.LevelDebug),
		// HTTP/1.1 alone: a connection is one request at a time, and its bounds
		// are ours.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
}

// recovered ends the connection whose request met a bug of ours, and logs it.
// net/http would as well, to a log that nobody reads.
func recovered(next http.Handler, log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			v := recover()
			if v == nil {
				return
			}
			if v != http.ErrAbortHandler {
				log.Error("a request could not be answered", "path", r.URL.Path, "panic", fmt.Sprint(v))
			}
			panic(http.ErrAbortHandler)
		}()
		next.ServeHTTP(w, r)
	})
}

// until serves until ctx ends; then requests may end, and are cut off if they
// do not.
func until(ctx context.Context, s *http.Server, l net.Listener) error {
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	select {
	case err := <-done:
		return fmt.Errorf("serve on %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := s.Shutdown(patience); err != nil {
		_ = s.Close() // those that did not end are what err says
	}
	<-done
	return nil
}

// addresses are the URLs by which members and peers reach the listeners.
func (s *settings) addresses(portal, tracker net.Addr) (Addresses, error) {
	at := Addresses{Name: s.MSP, Portal: s.URL}
	if at.Portal == "" {
		if isAny(portal) {
			return at, errAnyAddress
		}
		at.Portal = "https://" + portal.String()
	}
	u, err := url.Parse(at.Portal)
	if err != nil {
		return at, err
	}
	at.MemberTracker = strings.TrimSuffix(at.Portal, "/") + "/announce"
	host, port, err := net.SplitHostPort(tracker.String())
	if err != nil {
		return at, err
	}
	if s.URL != "" || isAny(tracker) { // its name is better than a number inside a network
		host = u.Hostname()
	}
	at.Tracker = "http://" + net.JoinHostPort(host, port) + "/announce"
	return at, nil
}

func isAny(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsUnspecified()
}

// portalKey is the portal's TLS certificate, for the standing it was made for.
type portalKey struct {
	certificate *tls.Certificate
	until       time.Time
}

// portalTLS returns the portal's certificate. It is made anew at half of its
// life, and when the root that it ends in is removed.
func (f *Federation) portalTLS() (*tls.Certificate, error) {
	now, gate := f.now(), f.gate()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.tls != nil && now.Before(f.tls.until) {
		return f.tls.certificate, nil
	}
	c, err := portalCertificate(gate, f.at.hosts(), now)
	if err != nil {
		return nil, err
	}
	f.tls = &portalKey{c, now.Add(portalLifetime / 2)}
	return c, nil
}

// hosts are the names and addresses in the portal's certificate.
func (a Addresses) hosts() (list []string) {
	if u, err := url.Parse(a.Portal); err == nil {
		list = append(list, u.Hostname())
	}
	if a.listens != "" && !slices.Contains(list, a.listens) {
		list = append(list, a.listens)
	}
	return list
}

// hostOf returns the IP address that is listened on, or nothing for all.
func hostOf(a net.Addr) string {
	tcp, ok := a.(*net.TCPAddr)
	if !ok || tcp.IP.IsUnspecified() {
		return ""
	}
	return tcp.IP.String()
}
