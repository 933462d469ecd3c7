package tracker

import "net/netip"

// scope is how far a network reaches. A wider one is greater.
type scope int32

const (
	nowhere  scope = iota // nothing to be dialled: link-local, multicast, unspecified, reserved
	loopback              // this machine
	private               // this site, or the provider's inner network
	global                // the internet
)

func (s scope) String() string {
	return [...]string{"unusable", "loopback", "private", "global"}[s]
}

// prefixes are the special ranges that netip has no predicate for (RFC 6890 and
// the IANA registries that follow it). Documentation ranges count as global:
// nobody is there, and laboratories use them as their internet.
var prefixes = []struct {
	netip.Prefix
	scope
}{
	{netip.MustParsePrefix("0.0.0.0/8"), nowhere},
	{netip.MustParsePrefix("240.0.0.0/4"), nowhere}, // broadcast among them
	{netip.MustParsePrefix("100.64.0.0/10"), private},
	{netip.MustParsePrefix("192.0.0.0/24"), private},
	{netip.MustParsePrefix("198.18.0.0/15"), private},
	{netip.MustParsePrefix("64:ff9b:1::/48"), private},
	{netip.MustParsePrefix("fec0::/10"), private},
	{netip.MustParsePrefix("100::/64"), nowhere},
	{netip.MustParsePrefix("::/96"), nowhere}, // IPv4 in an abandoned form; ::1 is looked at first
}

var (
	nat64     = netip.MustParsePrefix("64:ff9b::/96")
	sixToFour = netip.MustParsePrefix("2002::/16")
)

// scopeOf judges an address. One that carries an IPv4 address inside, which a
// gateway may unpack, reaches as far as that.
func scopeOf(a netip.Addr) scope {
	a = inner(a.WithZone(""))
	switch {
	case !a.IsValid(), a.IsUnspecified(), a.IsMulticast(), a.IsLinkLocalUnicast():
		return nowhere
	case a.IsLoopback():
		return loopback
	case a.IsPrivate():
		return private
	}
	for _, p := range prefixes {
		if p.Contains(a) {
			return p.scope
		}
	}
	return global
}

// inner is the IPv4 address that an IPv6 address carries, or the address.
func inner(a netip.Addr) netip.Addr {
	a = a.Unmap()
	b := a.As16()
	switch {
	case nat64.Contains(a):
		return netip.AddrFrom4([4]byte(b[12:]))
	case sixToFour.Contains(a):
		return netip.AddrFrom4([4]byte(b[2:6]))
	}
	return a
}
