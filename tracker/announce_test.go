package tracker

import (
	"net/url"
	"strings"
	"testing"
)

// hash is BEP 3's kind of hash: with bytes of every sort.
var hash = [20]byte{0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, ' ', '+', '&', '-', '~'}

const hashEscaped = "%124Vx%9A%BC%DE%F1%23Eg%89%AB%CD%EF%20%2B%26-~"

func sample() Announce {
	return Announce{
		InfoHash: hash, PeerID: [20]byte([]byte("-XX0001-000000000000")), Port: 9003,
		Uploaded: 1, Downloaded: 2, Left: 3, Event: Started, NumWant: 50, Key: 0xabc, TrackerID: "a b",
	}
}

func TestQuery(t *testing.T) {
	least := sample()
	least.Event, least.NumWant, least.TrackerID, least.Left = None, -1, "", -1
	const head = "info_hash=" + hashEscaped + "&peer_id=-XX0001-000000000000&port=9003&uploaded=1&downloaded=2&left="
	const all = head + "3&compact=1&no_peer_id=1&key=00000abc&numwant=50&event=started&trackerid=a%20b"
	for _, c := range []struct {
		a         Announce
		url, want string
	}{
		{sample(), "http://t.example/announce", "http://t.example/announce?" + all},
		{sample(), "https://t.example:1/a.php?passkey=x%2F#f", "https://t.example:1/a.php?passkey=x%2F&" + all},
		{least, "http://t.example", "http://t.example?" + head + "16384&compact=1&no_peer_id=1&key=00000abc"},
	} {
		u, err := parseURL(c.url)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.a.withQuery(u).String(); got != c.want {
			t.Errorf("%s:\n%s, want\n%s", c.url, got, c.want)
		}
	}
}

// What is escaped comes back as it was, whichever way a tracker decodes it.
func FuzzEscape(f *testing.F) {
	f.Add(hash[:])
	f.Add([]byte("\x00\xff%+ /?&="))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := escape(b)
		for _, decode := range []func(string) (string, error){url.QueryUnescape, url.PathUnescape} {
			if got, err := decode(s); err != nil || got != string(b) {
				t.Errorf("%q is escaped as %q, and comes back as %q, %v", b, s, got, err)
			}
		}
	})
}

func TestURLsThatAreRefused(t *testing.T) {
	for u, want := range map[string]string{
		"":                                      `"" trackers are not supported`,
		"wss://t.example/announce":              `"wss" trackers are not supported, only http, https and udp`,
		"file:///etc/passwd":                    "not supported",
		"http:///announce":                      "names no host",
		"http://:80/announce":                   "names no host",
		"udp://t.example/announce":              "needs a port",
		"http://t.example/\x7f":                 "malformed",
		"http://secret:key@[::1/":               "malformed",
		"http://t/" + strings.Repeat("x", 3000): "too long",
	} {
		_, err := parseURL(u)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.50q: %v, want %q", u, err, want)
		}
		if err != nil && (strings.Contains(err.Error(), "secret") || len(err.Error()) > 300) {
			t.Errorf("the error tells too much: %v", err)
		}
	}
	a := sample()
	a.Port = 0
	if _, err := NewClient(Config{}).Announce(t.Context(), "http://t.example/announce", a); err == nil || !strings.Contains(err.Error(), "a port is needed") {
		t.Error(err)
	}
}

func TestWhatIsShown(t *testing.T) {
	for in, want := range map[string]string{
		"http://user:pass@t.example:80/announce?passkey=1":            "http://t.example:80/announce",
		"https://t.example/0123456789abcdef0123456789abcdef/announce": "https://t.example/.../announce",
		"udp://t.example:1": "udp://t.example:1",
		"http://[":          "with a malformed URL",
	} {
		if got := shownURL(in); got != want {
			t.Errorf("%s is shown as %s, not %s", in, got, want)
		}
	}
	for in, want := range map[string]string{
		"unregistered torrent\n":        "unregistered torrent",
		"\x1b[31mred\x1b[0m\a":          "[31mred[0m",
		"two\r\nlines":                  "two  lines",
		"\xff\xfe caf\u00e9 \u202eabc":  "caf\u00e9 abc",
		strings.Repeat("x", maxShown+1): strings.Repeat("x", maxShown) + "...",
	} {
		if got := printable(in); got != want {
			t.Errorf("%q is shown as %q, not %q", in, got, want)
		}
	}
}
