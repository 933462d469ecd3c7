package federation

import (
	"net/netip"
	"testing"
	"time"
)

func TestNetworkOf(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1:80":              "192.0.2.1",
		"[::ffff:192.0.2.1]:80":     "192.0.2.1",
		"[2001:db8:1:2:3::4]:80":    "2001:db8:1:2::",
		"[2001:db8:1:2:ffff::1]:80": "2001:db8:1:2::",
		"[fe80::1%eth0]:80":         "fe80::",
		"":                          "invalid IP",
	} {
		if got := networkOf(in).String(); got != want {
			t.Errorf("networkOf(%q) = %s, not %s", in, got, want)
		}
	}
}

func TestRates(t *testing.T) {
	r := newRates(time.Second, 3)
	now := time.Unix(1_800_000_000, 0)
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	allowed := func(addr netip.Addr, n int) (yes int) {
		for range n {
			if r.allow(addr, now) {
				yes++
			}
		}
		return yes
	}
	if got := allowed(a, 10); got != 3 {
		t.Errorf("a burst of %d", got)
	}
	if got := allowed(b, 1); got != 1 {
		t.Error("one address limits another")
	}
	now = now.Add(2 * time.Second)
	if got := allowed(a, 10); got != 2 {
		t.Errorf("%d after two seconds", got)
	}
}

// A flood from many addresses cannot grow the table without end, nor lock out
// those who come when it is over.
func TestRatesAreBounded(t *testing.T) {
	r := newRates(time.Second, 3)
	now := time.Unix(1_800_000_000, 0)
	for n := range maxAddresses + 1000 {
		r.allow(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), now)
	}
	if len(r.of) != maxAddresses {
		t.Errorf("%d addresses", len(r.of))
	}
	if r.allow(netip.MustParseAddr("192.0.2.1"), now) {
		t.Error("there is room beyond the bound")
	}
	if now = now.Add(time.Minute); !r.allow(netip.MustParseAddr("192.0.2.1"), now) || len(r.of) != 1 {
		t.Errorf("afterwards %d addresses are left", len(r.of))
	}
}
