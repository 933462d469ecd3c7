package throttle

import (
	"net/netip"
	"testing"
	"time"
)

func TestNetwork(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1":            "192.0.2.1",
		"::ffff:192.0.2.1":     "192.0.2.1",
		"2001:db8:1:2:3::4":    "2001:db8:1:2::",
		"2001:db8:1:2:ffff::1": "2001:db8:1:2::",
		"fe80::1%eth0":         "fe80::",
	} {
		if got := Network(netip.MustParseAddr(in)).String(); got != want {
			t.Errorf("Network(%s) = %s, not %s", in, got, want)
		}
	}
	if got := Network(netip.Addr{}); got.IsValid() {
		t.Errorf("no address is %s", got)
	}
}

func TestLimit(t *testing.T) {
	l := New(time.Second, 3)
	now := time.Unix(1_800_000_000, 0)
	allowed := func(n int, addrs ...string) (yes int) {
		for i := range n {
			if l.Allow(netip.MustParseAddr(addrs[i%len(addrs)]), now) {
				yes++
			}
		}
		return yes
	}
	if got := allowed(10, "192.0.2.1", "::ffff:192.0.2.1"); got != 3 {
		t.Errorf("a burst of %d", got)
	}
	if got := allowed(10, "2001:db8::1", "2001:db8::2", "2001:db8::3"); got != 3 {
		t.Errorf("a burst of %d from a /64", got)
	}
	if got := allowed(1, "192.0.2.2"); got != 1 {
		t.Error("one address limits another")
	}
	now = now.Add(2 * time.Second)
	if got := allowed(10, "192.0.2.1"); got != 2 {
		t.Errorf("%d after two seconds", got)
	}
}

// What came to good does not count, and what is given back too often is no more
// than the burst.
func TestReturn(t *testing.T) {
	l, a, now := New(time.Second, 3), netip.MustParseAddr("192.0.2.1"), time.Unix(1_800_000_000, 0)
	l.Return(a)
	for i := range 100 {
		if !l.Allow(a, now) {
			t.Fatalf("refused after %d that came to good", i)
		}
		l.Return(a)
	}
	for range 10 {
		l.Return(a)
	}
	for _, pause := range []time.Duration{0, time.Hour} {
		now = now.Add(pause)
		n := 0
		for n < 10 && l.Allow(a, now) {
			n++
		}
		if n != 3 {
			t.Errorf("%d at once, after a pause of %s", n, pause)
		}
	}
}

// A flood from many addresses cannot grow the table without end, nor lock out
// those who come when it is over.
func TestLimitIsBounded(t *testing.T) {
	l := New(time.Second, 3)
	now := time.Unix(1_800_000_000, 0)
	for n := range maxAddresses + 1000 {
		l.Allow(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), now)
	}
	if len(l.of) != maxAddresses {
		t.Errorf("%d addresses", len(l.of))
	}
	if l.Allow(netip.MustParseAddr("192.0.2.1"), now) {
		t.Error("there is room beyond the bound")
	}
	if now = now.Add(time.Minute); !l.Allow(netip.MustParseAddr("192.0.2.1"), now) || len(l.of) != 1 {
		t.Errorf("afterwards %d addresses are left", len(l.of))
	}
}
