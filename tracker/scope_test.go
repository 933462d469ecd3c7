package tracker

import (
	"net/netip"
	"net/url"
	"strings"
	"testing"
)

func TestScopeOf(t *testing.T) {
	for in, want := range map[string]scope{
		"0.0.0.0": nowhere, "0.1.2.3": nowhere, "::": nowhere, "169.254.169.254": nowhere, "fe80::1": nowhere, "fe80::1%eth0": nowhere,
		"224.0.0.1": nowhere, "ff02::1": nowhere, "255.255.255.255": nowhere, "240.0.0.1": nowhere, "::127.0.0.1": nowhere, "100::1": nowhere,
		"::ffff:0.0.0.0": nowhere, "64:ff9b::a9fe:a9fe": nowhere,
		"127.0.0.1": loopback, "127.255.0.9": loopback, "::1": loopback, "::ffff:127.0.0.1": loopback, "64:ff9b::7f00:1": loopback, "2002:7f00:1::": loopback,
		"10.0.0.1": private, "172.16.0.1": private, "172.31.255.255": private, "192.168.1.1": private, "100.64.0.1": private, "fd00::1": private,
		"fec0::1": private, "198.18.0.1": private, "192.0.0.9": private, "::ffff:10.0.0.1": private, "2002:0a00:0001::": private, "64:ff9b:1::1": private,
		"8.8.8.8": global, "172.32.0.1": global, "100.128.0.1": global, "203.0.113.1": global, "2001:db8::1": global, "64:ff9b::808:808": global, "2002:808:808::1": global,
	} {
		if got := scopeOf(netip.MustParseAddr(in)); got != want {
			t.Errorf("%s is %v, not %v", in, got, want)
		}
	}
	if got := scopeOf(netip.Addr{}); got != nowhere {
		t.Error(got)
	}
}

func TestHopCheck(t *testing.T) {
	for _, c := range []struct {
		url, addr string
		floor     scope
		want      string
	}{
		{"http://x/announce", "8.8.8.8", loopback, ""},
		{"http://x/any", "8.8.8.8", global, ""},
		{"http://x/announce", "127.0.0.1", loopback, ""},
		{"http://x/key/announce.php", "192.168.1.1", loopback, ""},
		{"udp://x:1/any", "127.0.0.1", loopback, ""},
		{"http://x/any", "127.0.0.1", loopback, "only at a path that ends in /announce"},
		{"http://x/announce/reboot", "192.168.1.1", loopback, "only at a path that ends in /announce"},
		{"http://x/announce", "127.0.0.1", private, "a redirect from a private address must not lead to the loopback address 127.0.0.1"},
		{"http://x/announce", "192.168.1.1", private, ""},
		{"http://x/announce", "192.168.1.1", global, "a redirect from a global address must not"},
		{"http://x/announce", "::ffff:127.0.0.1", global, "must not"},
		{"http://x/announce", "169.254.169.254", loopback, "no address of a tracker"},
		{"http://x/announce", "0.0.0.0", loopback, "no address of a tracker"},
	} {
		u, err := url.Parse(c.url)
		if err != nil {
			t.Fatal(err)
		}
		err = newHop(u, c.floor).check(netip.MustParseAddr(c.addr))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s at %s from %v: %v, want %q", c.url, c.addr, c.floor, err, c.want)
		}
	}
}
