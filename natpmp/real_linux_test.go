package natpmp

import (
	"fmt"
	"strings"
	"testing"
	"time"
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

// TestRealGatewayRenewal maps twice by each protocol: the gateway grants the same
// again, tells that it has it, and forgets it when it is released.
func TestRealGatewayRenewal(t *testing.T) {
	l := newLab(t, "11.0.0.2")
	for _, protocol := range []string{"pcp", "natpmp", "upnp", "pinhole"} {
		if out, err := l.role("host", "twice "+protocol).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
		if rest := l.mapped(); strings.Contains(rest, "9003") {
			t.Errorf("%s: left on the router:\n%s", protocol, rest)
		}
	}
	// This router keeps what was renewed, but lets it end soon.
	out, _ := l.role("host", "twice pcp6").CombinedOutput()
	if want := "release: refused by PCP: NOT_AUTHORIZED (2); it ends in 2m0s"; !strings.Contains(string(out), want) {
		t.Errorf("pcp6: %s", out)
	}
}

// TestRealGatewayTakenPort maps while another machine holds the external port.
func TestRealGatewayTakenPort(t *testing.T) {
	l := newLab(t, "11.0.0.2")
	if out, err := l.role("host", "occupy").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, protocols := range []string{"pcp", "natpmp", "upnp"} {
		m := l.mapper(protocols)
		r := m.until("open", only4)
		t.Log(r.Sentence)
		port := r.Status.External(TCP)
		if want := fmt.Sprintf("port 9003 is open by external port %d: ", port); port == labPort || !strings.HasPrefix(r.Sentence, want) {
			t.Errorf("%s: %s", protocols, r.Sentence)
		}
		if got := l.dial(fmt.Sprintf("11.0.0.2:%d", port)); got != "hello" {
			t.Errorf("%s: the host says %q", protocols, got)
		}
		m.end()
		if rest := l.mapped(); !strings.Contains(rest, occupant.String()) || strings.Contains(rest, "192.168.7.34") {
			t.Errorf("%s: not only the other machine's mapping is left:\n%s", protocols, rest)
		}
	}
}

// TestRealGatewayBehindAnother maps on a router whose own address is private.
func TestRealGatewayBehindAnother(t *testing.T) {
	l := newLab(t, "10.99.0.2")
	for _, protocols := range []string{"pcp", "natpmp", "upnp", "auto"} {
		m := l.mapper(protocols)
		r := m.until("an answer", func(s Status) bool { return s.IPv4.State == Closed || s.IPv4.State == Open })
		t.Logf("%s: %s", protocols, r.Sentence)
		if r.Status.IPv4.State != Closed || !strings.Contains(r.Sentence, "another router") {
			t.Errorf("%s: %s\n%+v", protocols, r.Sentence, r.Status.IPv4.Tried)
		}
		m.end()
	}
}

// TestRealGatewayWithoutMapping asks a router on which nothing listens.
func TestRealGatewayWithoutMapping(t *testing.T) {
	l := newLab(t, "11.0.0.2")
	l.router.Stop()
	m := l.mapper("auto")
	r := m.until("an answer", func(s Status) bool { return s.IPv4.State == Closed })
	const want = "failed to open port 9003: the router 192.168.7.1 answered neither PCP, NAT-PMP nor UPnP; " +
		"in its settings forward TCP and UDP port 9003 to 192.168.7.34 port 9003"
	if r.Sentence != want {
		t.Errorf("got  %s\nwant %s", r.Sentence, want)
	}
	m.end()
}

// TestRealGatewayAfterKill takes over what a node that was killed mapped.
func TestRealGatewayAfterKill(t *testing.T) {
	l := newLab(t, "11.0.0.2")
	for _, protocols := range []string{"pcp", "natpmp", "upnp"} {
		m := l.mapper(protocols)
		m.until("open", only4)
		m.command.Process.Kill()
		for range m.reports {
		}
		if got := l.mapped(); !strings.Contains(got, "9003") {
			t.Fatalf("%s: a killed node released its port", protocols)
		}
		again := l.mapper(protocols)
		r := again.until("open", only4)
		if got := r.Status.External(TCP); got != labPort {
			t.Errorf("%s: the node that runs again got port %d", protocols, got)
		}
		again.end()
		if rest := l.mapped(); strings.Contains(rest, "192.168.7.34") {
			t.Errorf("%s: left on the router:\n%s", protocols, rest)
		}
	}
}

// TestRealGatewayChangesAddress maps on a router that gets another address.
func TestRealGatewayChangesAddress(t *testing.T) {
	l := newLab(t, "11.0.0.2")
	for i, protocols := range []string{"pcp", "natpmp", "upnp"} {
		m := l.mapper(protocols)
		m.until("open", only4)
		<-time.After(time.Until(l.started.Add(5 * time.Second)))
		before, now := fmt.Sprintf("11.0.0.%d/24", 2+i), fmt.Sprintf("11.0.0.%d/24", 3+i)
		l.build("ip -n {router} addr del " + before + " dev wan")
		l.build("ip -n {router} addr add " + now + " dev wan")
		r := m.until("another address", func(s Status) bool { return only4(s) && s.IPv4.External.String()+"/24" == now })
		t.Logf("%d ms: %s", r.Millis, r.Sentence)
		m.end()
	}
}
