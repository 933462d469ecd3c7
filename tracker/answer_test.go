package tracker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"torrente/bencode"
)

func addrs(s ...string) (out []netip.AddrPort) {
	for _, a := range s {
		out = append(out, netip.MustParseAddrPort(a))
	}
	return out
}

var compareAnswers = cmp.Options{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
	cmpopts.EquateEmpty(),
}

func TestParseAnswer(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     Answer
	}{
		{"nothing", "de", Answer{}},
		{"all", "d8:completei7e11:external ip4:\xc0\x00\x02\x0110:incompletei8e8:intervali1800e12:min intervali60e5:peers12:\xc0\x00\x02\x05\x23\x2b\xc0\x00\x02\x06\x00\x016:peers618:\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x1a\xe110:tracker id2:id15:warning message3:odde", Answer{
			Peers: addrs("192.0.2.5:9003", "192.0.2.6:1", "[2001:db8::1]:6881"), Interval: 30 * time.Minute, MinInterval: time.Minute,
			Seeders: 7, Leechers: 8, TrackerID: "id", Warning: "odd", ExternalIP: netip.MustParseAddr("192.0.2.1"),
		}},
		{"long form", "d5:peersld2:ip9:192.0.2.57:peer id20:xxxxxxxxxxxxxxxxxxxx4:porti9003eed2:ip11:2001:db8::14:porti1eeee", Answer{Peers: addrs("192.0.2.5:9003", "[2001:db8::1]:1")}},
		{"long form, unusable ones", "d5:peersl" +
			"d2:ip9:192.0.2.54:porti0ee" + "d2:ip9:192.0.2.54:porti65536ee" + "d2:ip9:192.0.2.54:porti-1ee" + "d2:ip9:192.0.2.5e" +
			"d4:porti5ee" + "d2:ip9:a.example4:porti5ee" + "d2:ipi5e4:porti5ee" + "i5e" + "le" + "d2:ip12:fe80::1%eth04:porti5ee" +
			"d2:ip9:192.0.2.94:porti5eeee", Answer{Peers: addrs("192.0.2.9:5")}},
		{"unsorted, newline", "d5:peers0:8:intervali60ee\n", Answer{Interval: time.Minute}},
		{"port 0, unspecified, multicast, broadcast, link-local, twice", "d5:peers42:" +
			"\xc0\x00\x02\x05\x00\x00" + "\x00\x00\x00\x00\x00\x01" + "\xe0\x00\x00\x01\x00\x01" + "\xff\xff\xff\xff\x00\x01" + "\xa9\xfe\xa9\xfe\x00\x50" +
			"\xc0\x00\x02\x05\x00\x01" + "\xc0\x00\x02\x05\x00\x01" + "6:peers618:\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xc0\x00\x02\x05\x00\x01e", Answer{Peers: addrs("192.0.2.5:1")}},
		{"absurd numbers", "d8:completei-1e10:incompletei9223372036854775807e8:intervali9223372036854775807e12:min intervali-5ee", Answer{Interval: maxInterval, Leechers: 1<<31 - 1}},
		{"wrong types", "d8:complete1:x11:external ip3:abc8:intervalle5:peersi5e10:tracker idi1e15:warning messagelee", Answer{}},
		{"long tracker id", "d10:tracker id300:" + strings.Repeat("x", 300) + "e", Answer{}},
		{"warning for terminals", "d15:warning message5:\x1b[2Jxe", Answer{Warning: "[2Jx"}},
	} {
		got, err := parseAnswer([]byte(c.in))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if d := cmp.Diff(c.want, got, compareAnswers); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
	}
}

func TestParseAnswerRefuses(t *testing.T) {
	for in, want := range map[string]string{
		"":                         "ends in the middle",
		"<html>not a tracker":      "not bencoding",
		"i5e":                      "not a dictionary",
		"d5:peers5:abcdee":         "not a multiple of 6",
		"d6:peers66:abcdefe":       "not a multiple of 18",
		"d5:peers0:5:peers0:e":     "twice",
		strings.Repeat("l", 10000): "nested deeper",
		"d5:peers9999999999:x":     "ends in the middle",
		"d1:x" + fmt.Sprintf("%d:", 3<<20) + strings.Repeat("x", 3<<20) + "e": "exceeds a limit",
		"d5:peersl" + strings.Repeat("i0e", 200_001) + "ee":                   "exceeds a limit",
	} {
		if a, err := parseAnswer([]byte(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.30q: %+v, %v, want %q", in, a, err, want)
		}
	}
}

func TestParseRefusal(t *testing.T) {
	for in, want := range map[string]Refused{
		"d14:failure reason12:unregisterede":                 {Reason: "unregistered"},
		"d14:failure reason0:e":                              {Reason: "it gives no reason"},
		"d14:failure reason1:x5:peers1:x8:retry ini30ee":     {Reason: "x", RetryIn: 30 * time.Minute},
		"d14:failure reason1:x8:retry in5:nevere":            {Reason: "x", Never: true},
		"d14:failure reason1:x8:retry in4:sooneee"[:39]:      {Reason: "x"},
		"d14:failure reason1:x8:retry ini-1ee":               {Reason: "x"},
		"d14:failure reason1:x8:retry ini9999999999999999ee": {Reason: "x", RetryIn: maxInterval},
	} {
		_, err := parseAnswer([]byte(in))
		got, ok := errors.AsType[*Refused](err)
		if !ok || *got != want {
			t.Errorf("%s: %+v, %v, want %+v", in, got, err, want)
		}
	}
	r := Refused{Tracker: "http://t.example/announce", Reason: "no"}
	if got := r.Error(); got != "tracker http://t.example/announce refused: no" {
		t.Error(got)
	}
	r.RetryIn = time.Hour
	if got := r.Error(); !strings.HasSuffix(got, "refused: no (it asks to be left alone for 1h0m0s)") {
		t.Error(got)
	}
	r.Never = true
	if got := r.Error(); !strings.HasSuffix(got, "refused: no (it asks not to be asked again)") {
		t.Error(got)
	}
}

// manyPeers is n peers in compact form.
func manyPeers(n int) string {
	var b []byte
	for i := range n {
		b = binary.BigEndian.AppendUint32(b, 0xc0000200+uint32(i))
		b = append(b, 0x23, 0x2b)
	}
	return string(b)
}

func TestPeersAreCapped(t *testing.T) {
	for n, want := range map[int]int{MaxPeers: MaxPeers, MaxPeers + 1: MaxPeers, 100_000: MaxPeers} {
		in, err := bencode.Encode(map[string]any{"peers": manyPeers(n)})
		if err != nil {
			t.Fatal(err)
		}
		a, err := parseAnswer(in)
		if err != nil || len(a.Peers) != want {
			t.Errorf("%d of %d peers, %v", len(a.Peers), n, err)
		}
	}
	long := "d5:peersl" + strings.Repeat("d2:ip7:1.2.3.44:porti5ee", 1) + strings.Repeat("d2:ip9:192.0.2.54:porti1ee", 20_000) + "ee"
	if a, err := parseAnswer([]byte(long)); err != nil || len(a.Peers) != 2 {
		t.Errorf("%d peers, %v", len(a.Peers), err)
	}
}

// checkPeers is what holds of the peers of every answer.
func checkPeers(t *testing.T, ps []netip.AddrPort) {
	t.Helper()
	if len(ps) > MaxPeers {
		t.Fatalf("%d peers", len(ps))
	}
	sorted := slices.SortedFunc(slices.Values(ps), netip.AddrPort.Compare)
	if len(slices.Compact(sorted)) != len(ps) {
		t.Error("a peer comes twice")
	}
	for _, p := range ps {
		a := p.Addr()
		if p.Port() == 0 || !a.IsValid() || a.Is4In6() || a.Zone() != "" || a.IsUnspecified() || a.IsMulticast() || a.IsLinkLocalUnicast() {
			t.Errorf("%v is no peer", p)
		}
	}
}

func FuzzParseAnswer(f *testing.F) {
	for _, s := range []string{
		"de", "d5:peers6:\xc0\x00\x02\x05\x23\x2be", "d5:peersld2:ip9:192.0.2.54:porti9003eeee",
		"d14:failure reason1:x8:retry in5:nevere", "d8:intervali1800e12:min intervali60e6:peers618:0123456789abcdef01e", "d5:peers0:8:intervali60ee\n",
		"d11:external ip16:0123456789abcdef10:tracker id1:x15:warning message1:we",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := parseAnswer(b)
		if err != nil {
			if r, ok := errors.AsType[*Refused](err); ok && (r.Reason == "" || r.RetryIn < 0 || r.RetryIn > maxInterval) {
				t.Errorf("%+v", r)
			}
			return
		}
		checkPeers(t, a.Peers)
		if a.Interval < 0 || a.Interval > maxInterval || a.MinInterval < 0 || a.MinInterval > maxInterval || a.Seeders < 0 || a.Leechers < 0 {
			t.Errorf("%+v", a)
		}
		if printable(a.Warning) != a.Warning && len(a.Warning) <= maxShown {
			t.Errorf("%q is not printable", a.Warning)
		}
		if d := interval(&a, true); d < shortest || d > longestMinimum {
			t.Errorf("the next announce is in %s", d)
		}
	})
}

func FuzzParseUDPAnswer(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x01aaaa\x00\x00\x07\x08\x00\x00\x00\x01\x00\x00\x00\x02\xc0\x00\x02\x05\x23\x2b"), false)
	f.Add([]byte(strings.Repeat("\xff", 20+3*18+5)), true)
	f.Fuzz(func(t *testing.T, b []byte, v6 bool) {
		if len(b) < announceReply {
			return
		}
		size := compact4
		if v6 {
			size = compact6
		}
		a := parseUDPAnswer(b, size)
		checkPeers(t, a.Peers)
		if a.Interval < 0 || a.Interval > maxInterval || a.Seeders < 0 || a.Leechers < 0 {
			t.Errorf("%+v", a)
		}
	})
}

func BenchmarkParseAnswer(b *testing.B) {
	in, err := bencode.Encode(map[string]any{"interval": 1800, "peers": manyPeers(50)})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parseAnswer(in); err != nil {
			b.Fatal(err)
		}
	}
}
