package natpmp

import (
	"strings"
	"testing"
)

func TestParseIPv6Route(t *testing.T) {
	const (
		none    = "00000000000000000000000000000000"
		router  = "fe800000000000000000000000000001"
		other   = "fe800000000000000000000000000002"
		network = "2a000002000000000000000000000000"
	)
	route := func(to, bits, via, metric, link string) string {
		return strings.Join([]string{to, bits, none, "00", via, metric, "00000001", "00000000", "00000003", "    " + link}, " ")
	}
	for _, c := range []struct {
		name, routes, addr, link string
	}{
		{"nothing", "", "", ""},
		{"one", route(network, "40", none, "00000100", "eth0") + "\n" + route(none, "00", router, "00000400", "eth0"), "fe80::1", "eth0"},
		{"unreachable", route(none, "00", none, "ffffffff", "lo"), "", ""},
		{"the lower metric", route(none, "00", router, "00000400", "eth0") + "\n" + route(none, "00", other, "000000ff", "wlan0"), "fe80::2", "wlan0"},
		{"the first of equals", route(none, "00", router, "00000400", "eth0") + "\n" + route(none, "00", other, "00000400", "wlan0"), "fe80::1", "eth0"},
		{"not hexadecimal", route(none, "00", strings.Repeat("x", 32), "00000400", "eth0"), "", ""},
		{"short", route(none, "00", "fe80", "00000400", "eth0"), "", ""},
	} {
		got, link, err := parseIPv6Route(strings.NewReader(c.routes + "\n"))
		if err != nil || got != addr(c.addr) || link != c.link {
			t.Errorf("%s: %v %q %v", c.name, got, link, err)
		}
	}
	if _, _, err := parseIPv6Route(strings.NewReader(strings.Repeat("0", 1<<20))); err == nil {
		t.Error("a line without an end is taken")
	}
}

func TestSystemGateways(t *testing.T) {
	gs, err := SystemGateways()
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range []Gateway{gs.IPv4, gs.IPv6} {
		if g.Addr.IsValid() == g.none() {
			t.Errorf("a gateway without an address of ours: %+v", g)
		}
	}
}
