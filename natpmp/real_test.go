package natpmp

import (
	"strings"
	"testing"
)

func both(s Status) bool { return s.IPv4.State == Open && s.IPv6.State == Open }

func only4(s Status) bool { return s.IPv4.State == Open }

// TestRealGateway maps on Debian's miniupnpd by each protocol: somebody in the
// internet gets through, again after the router was started anew, and no more
// once the mapper has ended.
func TestRealGateway(t *testing.T) {
	l := newLab(t, "11.0.0.2")
	for _, c := range []struct {
		protocols string
		open      func(Status) bool
		v6        bool
	}{
		{"pcp", both, true},
		{"natpmp", only4, false},
		{"upnp", both, true},
		{"auto", both, true},
	} {
		t.Run(c.protocols, func(t *testing.T) {
			l.t = t
			passes := func(when string) {
				t.Helper()
				if got := l.dial("11.0.0.2:9003"); got != "hello" {
					t.Errorf("%s: over IPv4 the host says %q", when, got)
				}
				if got := l.dial("[2a00:2::22]:9003"); c.v6 && got != "hello" {
					t.Errorf("%s: over IPv6 the host says %q", when, got)
				}
			}
			if got := l.dial("11.0.0.2:9003") + l.dial("[2a00:2::22]:9003"); got != "" {
				t.Fatalf("the port is open before it is mapped: %q", got)
			}
			m := l.mapper(c.protocols)
			r := m.until("open", c.open)
			t.Logf("after %d ms: %s", r.Millis, r.Sentence)
			passes("mapped")
			l.rebootRouter()
			first := r.Status.IPv4.Mappings[0].Granted
			r6 := r.Status.IPv6.Mappings
			again := m.until("open again", func(s Status) bool {
				return c.open(s) && s.IPv4.Mappings[0].Granted.After(first) && (!c.v6 || s.IPv6.Mappings[0].Granted.After(r6[0].Granted))
			})
			t.Logf("%d ms after the router was started anew: %s", again.Millis-r.Millis, again.Sentence)
			passes("after the router was started anew")
			m.end()
			if rest := l.mapped(); strings.Contains(rest, "9003") {
				t.Errorf("the mapper left on the router:\n%s", rest)
			}
		})
	}
	l.t = t
}
