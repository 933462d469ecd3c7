package server

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A query as aria2 1.36 sends it.
const aria2Query = "info_hash=%26%A8q%29%7E%A2%CB%2A%0A%AC%DD%14%CF%05%9B%88%E9%08U%F0&peer_id=A2-1-36-0-abcdefghij&uploaded=0&downloaded=0&left=1048576&compact=1&key=abcdefgh&numwant=50&no_peer_id=1&port=6881&event=started&supportcrypto=1"

var aria2Hash = [20]byte{0x26, 0xa8, 'q', 0x29, 0x7e, 0xa2, 0xcb, 0x2a, 0x0a, 0xac, 0xdd, 0x14, 0xcf, 0x05, 0x9b, 0x88, 0xe9, 0x08, 'U', 0xf0}

const (
	twentyA = "aaaaaaaaaaaaaaaaaaaa"
	least   = "info_hash=" + twentyA + "&peer_id=" + twentyA + "&port=1"
)

func TestParseAnnounce(t *testing.T) {
	for _, c := range []struct {
		query string
		want  announce
	}{
		{aria2Query, announce{aria2Hash, [20]byte([]byte("A2-1-36-0-abcdefghij")), 6881, 1048576, "started", 50, true, true}},
		{least, announce{[20]byte([]byte(twentyA)), [20]byte([]byte(twentyA)), 1, -1, "", -1, false, false}},
		{least + "&numwant=-1&left=0&event=paused&ip=10.0.0.1&ip=x&unknown=%41&&", announce{[20]byte([]byte(twentyA)), [20]byte([]byte(twentyA)), 1, 0, "paused", -1, false, false}},
		{"port=65535&peer_id=++++++++++++++++++++&info_hash=" + twentyA, announce{[20]byte([]byte(twentyA)), [20]byte([]byte("                    ")), 65535, -1, "", -1, false, false}},
	} {
		got, err := parseAnnounce(c.query)
		if err != nil {
			t.Errorf("%s: %v", c.query, err)
		}
		if d := cmp.Diff(c.want, got, cmp.AllowUnexported(announce{})); d != "" {
			t.Errorf("%s: %s", c.query, d)
		}
	}
}

func TestParseAnnounceRefuses(t *testing.T) {
	without := func(key string) string {
		v, err := url.ParseQuery(least)
		if err != nil {
			t.Fatal(err)
		}
		v.Del(key)
		return v.Encode()
	}
	for _, c := range []struct{ query, want string }{
		{"", "info_hash is missing"},
		{without("info_hash"), "info_hash is missing"},
		{without("peer_id"), "peer_id is missing"},
		{without("port"), "port is missing"},
		{least + "&info_hash=" + twentyA, "info_hash comes twice"},
		{strings.Replace(least, "=a", "=", 1), "info_hash must be 20 bytes, not 19"},
		{strings.Replace(least, "peer_id=", "peer_id=b", 1), "peer_id must be 20 bytes, not 21"},
		{without("port") + "&port=0", "port must be a number"},
		{without("port") + "&port=65536", "port must be a number"},
		{without("port") + "&port=-1", "port must be a number"},
		{least + "&left=-1", "left must be"},
		{least + "&left=9223372036854775808", "left must be"},
		{least + "&numwant=many", "numwant must be"},
		{least + "&numwant=99999999999", "numwant must be"},
		{least + "&event=%zz", `"event" is not encoded`},
		{least + "&x=" + strings.Repeat("y", maxQuery), "is the most"},
	} {
		if _, err := parseAnnounce(c.query); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.200s: %v, want %q", c.query, err, c.want)
		}
	}
}

func TestParseScrape(t *testing.T) {
	b := strings.Repeat("b", 20)
	got, err := parseScrape("info_hash=" + twentyA + "&x=y&info_hash=" + b)
	if err != nil || len(got) != 2 || string(got[1][:]) != b {
		t.Error(got, err)
	}
	for query, want := range map[string]string{
		"":                         "info_hash is missing",
		"info_hash=short":          "20 bytes",
		"info_hash=%":              "not encoded",
		scrapeQuery(maxHashes + 1): "more than 64",
		strings.Repeat("x", 1<<14): "the most",
	} {
		if _, err := parseScrape(query); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.100s: %v, want %q", query, err, want)
		}
	}
	if got, err := parseScrape(scrapeQuery(maxHashes)); err != nil || len(got) != maxHashes {
		t.Error(len(got), err)
	}
}

func scrapeQuery(n int) string {
	var q []string
	for i := range n {
		q = append(q, fmt.Sprintf("info_hash=%020d", i))
	}
	return strings.Join(q, "&")
}

func FuzzParseQuery(f *testing.F) {
	for _, s := range []string{"", aria2Query, least, "info_hash=%", least + "&left=00&event=completed&numwant=-5", scrapeQuery(3)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, query string) {
		a, err := parseAnnounce(query)
		if err == nil && (a.port == 0 || a.left < -1 || a.numWant < -1 || len(query) > maxQuery) {
			t.Errorf("%q is taken as %+v", query, a)
		}
		if err == nil {
			// What is taken says the same when it is spelled our way.
			again, err := parseAnnounce(a.encode())
			if err != nil || again != a {
				t.Errorf("%+v comes back as %+v, %v", a, again, err)
			}
		}
		if hashes, err := parseScrape(query); err == nil && (len(hashes) == 0 || len(hashes) > maxHashes) {
			t.Errorf("%q is a scrape of %d", query, len(hashes))
		}
	})
}

// encode writes a query that says what a holds.
func (a *announce) encode() string {
	v := url.Values{}
	v.Set("info_hash", string(a.infoHash[:]))
	v.Set("peer_id", string(a.peerID[:]))
	v.Set("port", fmt.Sprint(a.port))
	if a.left >= 0 {
		v.Set("left", fmt.Sprint(a.left))
	}
	if a.numWant >= 0 {
		v.Set("numwant", fmt.Sprint(a.numWant))
	}
	if len(a.event) < 20 { // of a longer one the server has no use
		v.Set("event", string(a.event))
	} else {
		a.event = ""
	}
	if a.compact {
		v.Set("compact", "1")
	}
	if a.noPeerID {
		v.Set("no_peer_id", "1")
	}
	return v.Encode()
}
