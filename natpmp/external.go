package natpmp

import (
	"errors"
	"net/netip"
)

// Translation is what stands between the internet and the gateway.
type Translation string

// What can stand there.
const (
	TranslationNone    Translation = ""          // nothing, as far as anybody knows
	TranslationPrivate Translation = "private"   // another router: the gateway's address is private
	TranslationCarrier Translation = "carrier"   // the provider's NAT (RFC 6598)
	TranslationUnknown Translation = "different" // others see another address than the gateway has
)

var (
	shared   = netip.MustParsePrefix("100.64.0.0/10") // RFC 6598
	thisHost = netip.MustParsePrefix("0.0.0.0/8")
	dsLite   = netip.MustParsePrefix("192.0.0.0/24") // RFC 6333 5.7
)

// translated judges the gateway's external address, given what others say that
// ours is. Either may be invalid.
func translated(external, seen netip.Addr) Translation {
	switch {
	case !external.IsValid():
		return TranslationNone
	case shared.Contains(external), dsLite.Contains(external):
		return TranslationCarrier
	case external.IsPrivate(), external.IsLinkLocalUnicast():
		return TranslationPrivate
	case seen.IsValid() && seen.Is4() == external.Is4() && seen != external:
		return TranslationUnknown
	}
	return TranslationNone
}

// usableExternal refuses what no gateway's external address can be.
func usableExternal(a netip.Addr) error {
	if !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() ||
		a.Is4() && (thisHost.Contains(a) || a == netip.AddrFrom4([4]byte{255, 255, 255, 255})) {
		return errors.New("the gateway says no usable external address")
	}
	return nil
}
