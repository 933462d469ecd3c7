package server

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"torrente/bencode"
)

// clock is a time that tests move.
type clock struct{ now time.Time }

func newServer(cfg Config) (*Server, *clock) {
	c := &clock{epoch}
	cfg.Now = func() time.Time { return c.now }
	return New(cfg), c
}

// query is an announce of the torrent named by one byte.
func query(hash byte, port int, more string) string {
	v := url.Values{}
	v.Set("info_hash", string(append([]byte{hash}, make([]byte, 19)...)))
	v.Set("peer_id", fmt.Sprintf("-XX0001-%012d", port))
	v.Set("port", fmt.Sprint(port))
	return "/announce?" + v.Encode() + "&" + more
}

// ask requests target as a peer at the address would, and parses the answer.
func ask(t *testing.T, s *Server, from, target string) bencode.Dict {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, target, nil)
	r.RemoteAddr = from
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Fatalf("%s: status %d", target, w.Code)
	}
	d, err := bencode.ParseDict(w.Body.Bytes(), bencode.Tracker)
	if err != nil {
		t.Fatalf("%s: %v in %q", target, err, w.Body.Bytes())
	}
	return d
}

func field(t *testing.T, d bencode.Dict, key string) string {
	t.Helper()
	s, err := d.Text(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func wantInt(t *testing.T, d bencode.Dict, key string, want int64) {
	t.Helper()
	if n, err := d.Int(key); err != nil || n != want {
		t.Errorf("%q is %d, %v, want %d", key, n, err, want)
	}
}

func TestAnnounce(t *testing.T) {
	s, _ := newServer(Config{})
	first := ask(t, s, "192.0.2.1:40000", query(1, 6881, "left=0&compact=1&event=started"))
	wantInt(t, first, "complete", 1)
	wantInt(t, first, "incomplete", 0)
	wantInt(t, first, "interval", 60)
	wantInt(t, first, "min interval", 60)
	if got := field(t, first, "peers") + field(t, first, "peers6"); got != "" {
		t.Errorf("alone, it is given %q", got)
	}
	if got := field(t, first, "external ip"); got != "\xc0\x00\x02\x01" {
		t.Errorf("external ip %q", got)
	}
	ask(t, s, "[2001:db8::2]:40000", query(1, 258, "left=5&compact=1"))
	third := ask(t, s, "[::ffff:192.0.2.3]:40000", query(1, 6883, "left=5&compact=1&ip=10.0.0.1"))
	wantInt(t, third, "incomplete", 2)
	if got := field(t, third, "peers"); got != "\xc0\x00\x02\x01\x1a\xe1" {
		t.Errorf("peers %q", got)
	}
	if got := field(t, third, "peers6"); got != "\x20\x01\x0d\xb8"+strings.Repeat("\x00", 11)+"\x02\x01\x02" {
		t.Errorf("peers6 %q", got)
	}
	// A seed learns leechers alone, here at its own address of before.
	again := ask(t, s, "192.0.2.1:50000", query(1, 6881, "left=0&compact=1"))
	if got := field(t, again, "peers"); got != "\xc0\x00\x02\x03\x1a\xe3" {
		t.Errorf("a seed is given %q", got)
	}
	if other := ask(t, s, "192.0.2.9:1", query(2, 1, "left=1&compact=1")); field(t, other, "peers") != "" {
		t.Error("a peer of another torrent is given")
	}
}

// Small swarms announce more often.
func TestInterval(t *testing.T) {
	s, _ := newServer(Config{})
	for n := range 130 {
		d := ask(t, s, fmt.Sprintf("192.0.2.%d:40000", n+1), query(1, 6881, "left=5&compact=1"))
		wantInt(t, d, "interval", min(1800, max(60, 15*(int64(n)+1))))
	}
	quick, _ := newServer(Config{Interval: 10 * time.Second})
	wantInt(t, ask(t, quick, "192.0.2.1:40000", query(1, 6881, "left=5&compact=1")), "interval", 10)
}

func TestDictionaryAnswer(t *testing.T) {
	s, _ := newServer(Config{})
	ask(t, s, "[2001:db8::1]:1", query(1, 6881, "left=0"))
	for _, c := range []struct {
		more string
		id   bool
	}{{"left=1", true}, {"left=1&no_peer_id=1&compact=0", false}} {
		l, err := ask(t, s, "192.0.2.2:1", query(1, 2, c.more)).List("peers")
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for e := range l.Elements() {
			d, err := e.Dict()
			if err != nil {
				t.Fatal(err)
			}
			if got := field(t, d, "ip"); got != "2001:db8::1" {
				t.Error(got)
			}
			wantInt(t, d, "port", 6881)
			if id, _ := d.Text("peer id"); (id == "-XX0001-000000006881") != c.id {
				t.Errorf("%s: peer id %q", c.more, id)
			}
			n++
		}
		if n != 1 {
			t.Errorf("%d peers", n)
		}
	}
}

func TestNumWant(t *testing.T) {
	s, _ := newServer(Config{})
	for i := range 300 {
		ask(t, s, fmt.Sprintf("198.51.%d.%d:1", i/200, i%200+1), query(1, 7, "left=1&compact=1"))
	}
	for more, want := range map[string]int{"": 50, "&numwant=0": 0, "&numwant=3": 3, "&numwant=-1": 50, "&numwant=1000": 200} {
		if got := len(field(t, ask(t, s, "192.0.2.1:1", query(1, 1, "compact=1"+more)), "peers")); got != 6*want {
			t.Errorf("%q: %d bytes, want %d peers", more, got, want)
		}
	}
}

func TestEvents(t *testing.T) {
	s, _ := newServer(Config{})
	scrape := func() string {
		return string(ask(t, s, "192.0.2.9:1", strings.Replace(query(1, 1, ""), "/announce", "/scrape", 1)).Get("files").Raw())
	}
	entry := func(complete, downloaded, incomplete int) string {
		return fmt.Sprintf("d20:\x01%sd8:completei%de10:downloadedi%de10:incompletei%deee", strings.Repeat("\x00", 19), complete, downloaded, incomplete)
	}
	step := func(from, more, want string) {
		t.Helper()
		ask(t, s, from, query(1, 6881, more))
		if got := scrape(); got != want {
			t.Errorf("after %q: %q, want %q", more, got, want)
		}
	}
	step("192.0.2.1:1", "left=9&event=stopped", "de")
	step("192.0.2.1:1", "left=9&event=started", entry(0, 0, 1))
	step("192.0.2.1:1", "left=9&event=completed", entry(0, 0, 1)) // it has not
	step("192.0.2.1:1", "left=0&event=completed", entry(1, 1, 0))
	step("192.0.2.1:1", "left=0&event=completed", entry(1, 1, 0)) // once
	step("192.0.2.2:1", "left=0&event=completed", entry(2, 1, 0)) // nobody saw it lack anything
	step("192.0.2.3:1", "event=started", entry(2, 1, 1))          // left not said: not a seed
	step("192.0.2.1:1", "left=0&event=stopped", entry(1, 1, 1))
	step("192.0.2.2:1", "event=stopped", entry(0, 1, 1))
	step("192.0.2.3:1", "event=stopped", "de")
	if m := s.Metrics(); m != (Metrics{Announces: 10, Scrapes: 10}) {
		t.Errorf("%+v", m)
	}
}

func TestPeersExpire(t *testing.T) {
	s, c := newServer(Config{Interval: 10 * time.Minute})
	ask(t, s, "192.0.2.1:1", query(1, 1, "left=0"))
	c.now = c.now.Add(15 * time.Minute)
	ask(t, s, "192.0.2.2:1", query(1, 1, "left=1"))
	if m := s.Metrics(); m.Seeds != 1 || m.Leechers != 1 || m.Torrents != 1 {
		t.Errorf("%+v", m)
	}
	c.now = c.now.Add(5 * time.Minute)
	if d := ask(t, s, "192.0.2.3:1", query(1, 1, "left=1&compact=1")); field(t, d, "peers") != "\xc0\x00\x02\x02\x00\x01" {
		t.Error("not only the second is left")
	}
	c.now = c.now.Add(time.Hour)
	if m := s.Metrics(); m.Seeds+m.Leechers+m.Torrents != 0 {
		t.Errorf("%+v", m)
	}
}

func TestBounds(t *testing.T) {
	s, c := newServer(Config{Torrents: 2, Peers: 2, PerAddress: 2})
	reason := func(from, target string) string {
		got, _ := ask(t, s, from, target).Text("failure reason")
		return got
	}
	for _, h := range []byte{1, 2} {
		if got := reason("192.0.2.1:1", query(h, 1, "")); got != "" {
			t.Error(got)
		}
	}
	full := ask(t, s, "192.0.2.2:1", query(3, 1, ""))
	if got := field(t, full, "failure reason"); !strings.Contains(got, "no room for more torrents") {
		t.Error(got)
	}
	wantInt(t, full, "retry in", 30)
	if got := reason("192.0.2.1:1", query(1, 2, "")); !strings.Contains(got, "your address has 2 entries") {
		t.Error(got)
	}
	if got := reason("192.0.2.1:1", query(1, 1, "")); got != "" {
		t.Errorf("a listed peer is refused: %s", got)
	}
	ask(t, s, "192.0.2.2:1", query(1, 1, ""))
	// The third of a torrent is told of the others, who are not told of it.
	if d := ask(t, s, "192.0.2.3:1", query(1, 1, "compact=1")); len(field(t, d, "peers")) != 12 {
		t.Error("a peer that is not listed is not answered")
	}
	if d := ask(t, s, "192.0.2.2:1", query(1, 1, "compact=1")); len(field(t, d, "peers")) != 6 {
		t.Error("there is one too many")
	}
	c.now = c.now.Add(time.Hour)
	if got := reason("192.0.2.2:1", query(3, 1, "")); got != "" {
		t.Errorf("nobody is left, and still: %s", got)
	}
}

func TestAllow(t *testing.T) {
	s, _ := newServer(Config{Allow: func(r *http.Request, h [20]byte) error {
		if h[0] == 1 && r.TLS == nil {
			return errors.New("this torrent is sold: announce over TLS with your certificate")
		}
		return nil
	}})
	ask(t, s, "192.0.2.2:1", query(2, 1, ""))
	d := ask(t, s, "192.0.2.1:1", query(1, 1, ""))
	if got := field(t, d, "failure reason"); got != "this torrent is sold: announce over TLS with your certificate" {
		t.Error(got)
	}
	if d.Has("peers") || d.Has("retry in") {
		t.Error("a refusal tells more than it should")
	}
	hashes := "/scrape?info_hash=%01" + strings.Repeat("%00", 19) + "&info_hash=%02" + strings.Repeat("%00", 19)
	files, err := ask(t, s, "192.0.2.1:1", hashes).Dict("files")
	if err != nil || files.Len() != 1 || !files.Has("\x02"+strings.Repeat("\x00", 19)) {
		t.Errorf("%d files, %v", files.Len(), err)
	}
	// Who was listed before the torrent was refused can still leave.
	if d := ask(t, s, "192.0.2.1:1", query(1, 1, "event=stopped")); d.Has("failure reason") {
		t.Error("leaving is refused")
	}
	if m := s.Metrics(); m.Refused != 1 || m.Torrents != 1 {
		t.Errorf("%+v", m)
	}
}

func TestRequestsThatAreNoTrackers(t *testing.T) {
	s, _ := newServer(Config{})
	for _, c := range []struct {
		method, target string
		status         int
	}{
		{http.MethodGet, "/", http.StatusNotFound},
		{http.MethodGet, "/announce/", http.StatusNotFound},
		{http.MethodGet, "/announce.php?" + least, http.StatusNotFound},
		{http.MethodPost, "/announce?" + least, http.StatusMethodNotAllowed},
		{http.MethodDelete, "/scrape", http.StatusMethodNotAllowed},
	} {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest(c.method, c.target, nil))
		if w.Code != c.status {
			t.Errorf("%s %s: %d", c.method, c.target, w.Code)
		}
	}
	for from, target := range map[string]string{
		"@":           "/announce?" + least, // a Unix socket
		"192.0.2.1:1": "/announce",
		"192.0.2.2:1": "/scrape?info_hash=x",
	} {
		if !ask(t, s, from, target).Has("failure reason") {
			t.Errorf("%s from %s is answered", target, from)
		}
	}
	if m := s.Metrics(); m != (Metrics{Refused: 3}) {
		t.Errorf("%+v", m)
	}
}

// A peer on another machine cannot remove or replace one by knowing its id.
func TestPeersCannotActForOthers(t *testing.T) {
	s, _ := newServer(Config{})
	ask(t, s, "192.0.2.1:1", query(1, 6881, "left=1"))
	ask(t, s, "192.0.2.66:1", query(1, 6881, "left=1&event=stopped&ip=192.0.2.1"))
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.reg.swarms[[20]byte{1}]; w == nil || w.byAddr[netip.MustParseAddrPort("192.0.2.1:6881")] == nil {
		t.Error("a stranger removed a peer")
	}
}
