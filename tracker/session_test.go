package tracker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"torrente/tracker/server"
)

// world is trackers by host name, reached over connections in memory, in a
// bubble whose clock stands still while anybody works.
type world struct {
	t     *testing.T
	begin time.Time

	mu       sync.Mutex // guards the following
	handlers map[string]http.HandlerFunc
	asked    []string // "seconds host event first-byte-of-hash", without answers
	found    []netip.AddrPort
	port     uint16
	seen     []string // what trackers say of our address
}

func newWorld(t *testing.T) *world {
	return &world{t: t, begin: time.Now(), handlers: map[string]http.HandlerFunc{}, port: 9003}
}

// set makes a host a tracker; nil takes it away.
func (w *world) set(host string, h http.HandlerFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.handlers[host] = h
}

// log is what was asked. The announces of the end are made all at once, so they
// are put in order.
func (w *world) log() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := slices.Clone(w.asked)
	if at := slices.IndexFunc(out, func(s string) bool { return strings.Contains(s, "stopped") }); at >= 0 {
		slices.Sort(out[at:])
	}
	return out
}

// one is a listener of one connection.
type one struct {
	conn chan net.Conn
	done chan struct{}
}

func (o *one) Accept() (net.Conn, error) {
	select {
	case c := <-o.conn:
		return c, nil
	case <-o.done:
		return nil, net.ErrClosed
	}
}
func (o *one) Close() error   { return nil }
func (o *one) Addr() net.Addr { return &net.TCPAddr{} }

func (w *world) dial(_ context.Context, _, address string) (net.Conn, error) {
	host, _, _ := strings.Cut(address, ":")
	w.mu.Lock()
	h := w.handlers[host]
	w.mu.Unlock()
	if h == nil {
		w.note(host, "is down")
		return nil, errors.New("connection refused")
	}
	ours, theirs := net.Pipe()
	l := &one{conn: make(chan net.Conn, 1), done: make(chan struct{})}
	l.conn <- remote{theirs, netip.MustParseAddrPort("192.0.2.100:40000")}
	s := &http.Server{
		Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			q := r.URL.Query()
			w.note(host, strings.TrimSpace(q.Get("event")+" "+q.Get("info_hash")[:1]))
			h(rw, r)
		}),
		ConnState: func(_ net.Conn, s http.ConnState) {
			if s == http.StateClosed {
				close(l.done)
			}
		},
	}
	go func() { _ = s.Serve(l) }()
	return ours, nil
}

func (w *world) note(host, what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = append(w.asked, fmt.Sprintf("%d %s %s", time.Since(w.begin)/time.Second, host, what))
}

// listens is the port of now.
func (w *world) listens() uint16 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.port
}

// moves has others reach us by another port.
func (w *world) moves(port uint16) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.port = port
}

// start runs a session over the trackers, and returns it and what ends it.
func (w *world) start(hashes string, tiers ...[]string) (*Session, func()) {
	cfg := SessionConfig{
		Client: NewClient(Config{Dial: w.dial}), PeerID: [20]byte([]byte("-XX0001-000000000000")), Port: w.listens,
		Stats: func() (int64, int64, int64) { return 1, 2, 3 },
		Seen: func(_, ours netip.Addr) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.seen = append(w.seen, ours.String())
		},
		Found: func(a []netip.AddrPort) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.found = append(w.found, a...)
		},
	}
	for _, h := range hashes {
		cfg.Hashes = append(cfg.Hashes, [20]byte{byte(h)})
	}
	for _, tier := range tiers {
		var urls []string
		for _, host := range tier {
			urls = append(urls, "http://"+host+"/announce")
		}
		cfg.Trackers = append(cfg.Trackers, urls)
	}
	s := NewSession(cfg)
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan struct{})
	go func() { defer close(done); s.Run(ctx) }()
	return s, func() { cancel(); <-done; synctest.Wait() }
}

// after lets the bubble's clock run until that many seconds since the begin.
func (w *world) after(seconds int) {
	time.Sleep(time.Until(w.begin.Add(time.Duration(seconds)*time.Second + time.Millisecond)))
	synctest.Wait()
}

func (w *world) want(want ...string) {
	w.t.Helper()
	if got := w.log(); !slices.Equal(got, want) {
		w.t.Errorf("announces were\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestSessionSaysItsEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.set("a", says("d5:peers6:\xc0\x00\x02\x05\x23\x2b8:intervali600e8:completei4e10:incompletei5e15:warning message3:odde"))
		s, end := w.start("1", []string{"a"})
		w.after(1000)
		s.Completed()
		s.Completed()
		w.after(1700)
		end()
		w.want("0 a started 1", "600 a 1", "1000 a completed 1", "1600 a 1", "1700 a stopped 1")
		if !slices.Equal(w.found, slices.Repeat(addrs("192.0.2.5:9003"), 4)) {
			t.Errorf("found %v", w.found)
		}
		st := s.Status()
		if len(st) != 1 || !st[0].Working || st[0].Seeders != 4 || st[0].Leechers != 5 || st[0].Peers != 1 || st[0].Warning != "odd" || st[0].LastError != nil {
			t.Errorf("%+v", st)
		}
	})
}

// Trackers hear at once of another port, also if they are being told of the one before.
func TestSessionMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var ports []string
		answer := says("d5:peers0:8:intervali600e11:external ip4:\x0b\x00\x00\x07e")
		w.set("a", func(rw http.ResponseWriter, r *http.Request) {
			ports = append(ports, r.URL.Query().Get("port"))
			if len(ports) == 3 {
				w.moves(41235)
			}
			answer(rw, r)
		})
		s, end := w.start("1", []string{"a"})
		w.after(100)
		w.moves(41234)
		s.Moved()
		w.after(200)
		end()
		w.want("0 a started 1", "100 a started 1", "100 a started 1", "100 a stopped 1", "100 a stopped 1", "200 a stopped 1") // put in order by want
		if want := []string{"9003", "9003", "41234", "41234", "41235", "41235"}; !slices.Equal(ports, want) {
			t.Errorf("told %v, want %v", ports, want)
		}
		if want := slices.Repeat([]string{"11.0.0.7"}, 3); !slices.Equal(w.seen, want) {
			t.Errorf("seen %v, want %v", w.seen, want)
		}
	})
}

func TestSessionOfHybrid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.set("a", func(rw http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Get("info_hash")[0] == '2' {
				says("d14:failure reason12:unregisterede")(rw, r)
				return
			}
			says("d5:peers0:8:intervali600ee")(rw, r)
		})
		s, end := w.start("12", []string{"a"})
		w.after(1)
		if st := s.Status()[0]; !st.Working || st.LastError == nil || !strings.Contains(st.LastError.Error(), "refused: unregistered") {
			t.Errorf("%+v", st)
		}
		w.set("a", says("d5:peers0:8:intervali600e12:min intervali120ee"))
		w.after(601)
		s.Completed()
		w.after(602)
		end()
		w.want("0 a started 1", "0 a started 2", "600 a 1", "600 a started 2", "601 a completed 1", "601 a completed 2", "602 a stopped 1", "602 a stopped 2")
		if st := s.Status()[0]; !st.Working || st.LastError != nil {
			t.Errorf("%+v", st)
		}
	})
}

// BEP 12: the next tracker when one fails, and back when it works again.
func TestSessionFallsBackAndReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.set("b", says("d5:peers0:8:intervali600ee"))
		s, end := w.start("1", []string{"a"}, []string{"b"}, []string{"c"})
		w.after(1)
		st := s.Status()
		if st[0].Working || st[0].LastError == nil || st[0].LastError.Error() != "tracker http://a/announce cannot be reached: connection refused" || !st[1].Working || st[2].LastError != nil {
			t.Errorf("%+v", st)
		}
		w.after(100)
		w.set("a", says("d5:peers0:8:intervali900ee"))
		w.after(1100)
		end()
		w.want(
			"0 a is down", "0 b started 1",
			"15 a is down", "45 a is down", // 15, 30, 60 s after each other; b works meanwhile
			"105 a started 1", "1005 a 1", // b is not asked any more
			"1100 a stopped 1", "1100 b stopped 1",
		)
	})
}

func TestSessionObeysRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.set("a", says("d14:failure reason2:no8:retry in5:nevere"))
		w.set("b", says("d14:failure reason5:later8:retry ini10ee"))
		s, end := w.start("1", []string{"a"}, []string{"b"})
		w.after(1300)
		end()
		w.want("0 a started 1", "0 b started 1", "600 b started 1", "1200 b started 1")
		st := s.Status()
		if !st[0].Next.IsZero() || st[1].Next.IsZero() || !strings.Contains(st[0].LastError.Error(), "refused: no (it asks not to be asked again)") {
			t.Errorf("%+v", st)
		}
	})
}

func TestSessionWithoutTrackersJustWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s, end := w.start("1")
		w.after(10_000)
		s.Completed()
		end()
		w.want()
		w.set("a", says("d14:failure reason2:no8:retry in5:nevere"))
		_, end = w.start("1", []string{"a"})
		w.after(20_000)
		end()
		w.want("10000 a started 1")
	})
}

// A tracker that hangs costs 30 s, then the next one's turn comes; at the end
// it costs three seconds, and a tracker that may have heard of us hears the end.
func TestSessionIsNotHeldUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
		w.set("a", hang)
		w.set("b", says("d5:peers0:8:intervali3600ee"))
		s, end := w.start("1", []string{"a"}, []string{"b"})
		w.after(31)
		if st := s.Status(); st[0].LastError == nil || !strings.HasSuffix(st[0].LastError.Error(), "did not answer within 30s") || !st[1].Working {
			t.Errorf("%+v", st)
		}
		w.after(50) // a is asked again since second 45
		w.set("b", hang)
		from := time.Now()
		end()
		if took := time.Since(from); took != stopTime {
			t.Errorf("the end took %s", took)
		}
		w.want("0 a started 1", "30 b started 1", "45 a started 1", "50 a stopped 1", "50 b stopped 1")
	})
}

// Completed while the first announce is under way: that one said started, so
// the tracker hears of it in the next.
func TestCompletedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.set("a", func(rw http.ResponseWriter, r *http.Request) {
			time.Sleep(5 * time.Second)
			says("d5:peers0:8:intervali600ee")(rw, r)
		})
		s, end := w.start("1", []string{"a"})
		w.after(2)
		s.Completed()
		w.after(20)
		w.set("a", nil)
		end()
		w.want("0 a started 1", "5 a completed 1", "20 a is down")
	})
}

// Who completes before any tracker answered tells them just that it is there.
func TestCompletedBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s, end := w.start("1", []string{"a"})
		w.after(10)
		s.Completed()
		w.set("a", says("d5:peers0:8:intervali600ee"))
		w.after(700)
		end()
		w.want("0 a is down", "15 a started 1", "615 a 1", "700 a stopped 1")
	})
}

// Two sessions meet at our own tracker, and its id and words come back to it.
func TestSessionsMeet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var keys []string
		tr := server.New(server.Config{Interval: 5 * time.Minute})
		w.set("t", func(rw http.ResponseWriter, r *http.Request) {
			keys = append(keys, r.URL.Query().Get("key"))
			r.RemoteAddr = fmt.Sprintf("192.0.2.%d:1", len(keys))
			tr.ServeHTTP(rw, r)
		})
		first, endFirst := w.start("1", []string{"t"})
		w.after(1)
		_, endSecond := w.start("1", []string{"t"})
		w.after(2)
		if !slices.Equal(w.found, addrs("192.0.2.1:9003")) {
			t.Errorf("found %v", w.found)
		}
		if m := tr.Metrics(); m.Leechers != 2 || m.Refused != 0 {
			t.Errorf("%+v", m)
		}
		// The first saw nobody, so it asks again as soon as it may.
		if next := first.Status()[0].Next.Sub(w.begin); next != time.Minute {
			t.Errorf("the next announce is after %s", next)
		}
		if ip := first.Status()[0].ExternalIP; ip != netip.MustParseAddr("192.0.2.1") {
			t.Errorf("external address %v", ip)
		}
		endFirst()
		endSecond()
	})
}

func TestTrackerIDComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var ids []string
		w.set("a", func(rw http.ResponseWriter, r *http.Request) {
			ids = append(ids, r.URL.Query().Get("trackerid"))
			if len(ids) == 1 {
				says("d8:intervali60e10:tracker id3:a&be")(rw, r)
				return
			}
			says("d8:intervali60ee")(rw, r)
		})
		_, end := w.start("1", []string{"a"})
		w.after(121)
		end()
		if !slices.Equal(ids, []string{"", "a&b", "a&b", "a&b"}) {
			t.Errorf("%q", ids)
		}
	})
}
