package natpmp

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/jackpal/gateway"
)

// localsMost is how many IPv6 addresses of this machine get a pinhole: with
// temporary addresses there may be many, of which the newest are listed first.
const localsMost = 4

// Gateway is a router on one of this machine's links, and the addresses of this
// machine there. The zero value is none.
type Gateway struct {
	Addr  netip.Addr   // with its zone if it is link-local
	Local []netip.Addr // never empty if there is a gateway; one over IPv4
}

// Gateways are the routers to which packets without a better route go.
type Gateways struct {
	IPv4 Gateway
	IPv6 Gateway
}

func (g Gateway) none() bool { return !g.Addr.IsValid() || len(g.Local) == 0 }

func (g Gateway) equal(o Gateway) bool {
	return g.Addr == o.Addr && slices.Equal(sorted(g.Local), sorted(o.Local))
}

// sorted is for comparing: which address is listed first means nothing.
func sorted(all []netip.Addr) []netip.Addr {
	return slices.SortedFunc(slices.Values(all), netip.Addr.Compare)
}

// SystemGateways reads the default routes of this machine.
func SystemGateways() (Gateways, error) {
	var gs Gateways
	if ip, err := gateway.DiscoverGateway(); err == nil {
		addr, _ := netip.AddrFromSlice(ip)
		gs.IPv4 = gatewayOf(addr.Unmap())
	}
	routes, err := os.Open("/proc/net/ipv6_route")
	if err != nil {
		return gs, nil // no IPv6 here
	}
	defer routes.Close()
	addr, link, err := parseIPv6Route(io.LimitReader(routes, 1<<20))
	if err != nil {
		return gs, fmt.Errorf("read the IPv6 routes: %w", err)
	}
	if addr.IsValid() {
		gs.IPv6 = gateway6Of(addr, link)
	}
	return gs, nil
}

// gatewayOf completes an IPv4 gateway by the address that packets to it have.
// Connecting a UDP socket sends nothing.
func gatewayOf(addr netip.Addr) Gateway {
	if !addr.Is4() || addr.IsUnspecified() {
		return Gateway{} // a tunnel's route has no gateway to ask
	}
	conn, err := net.Dial("udp4", netip.AddrPortFrom(addr, pcpPort).String())
	if err != nil {
		return Gateway{}
	}
	defer conn.Close()
	local := conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
	return Gateway{Addr: addr, Local: []netip.Addr{local}}
}

// gateway6Of completes an IPv6 gateway by the global addresses of its link.
func gateway6Of(addr netip.Addr, link string) Gateway {
	if addr.IsLinkLocalUnicast() {
		addr = addr.WithZone(link)
	}
	iface, err := net.InterfaceByName(link)
	if err != nil {
		return Gateway{}
	}
	addrs, err := iface.Addrs()
	if err != nil {
		return Gateway{}
	}
	g := Gateway{Addr: addr}
	for _, a := range addrs {
		p, err := netip.ParsePrefix(a.String())
		if err == nil && global6(p.Addr()) && len(g.Local) < localsMost {
			g.Local = append(g.Local, p.Addr())
		}
	}
	if g.none() {
		return Gateway{}
	}
	return g
}

// global6 tells whether the internet can reach an address if firewalls allow.
func global6(a netip.Addr) bool {
	return a.Is6() && !a.Is4In6() && a.IsGlobalUnicast() && !a.IsPrivate()
}

// parseIPv6Route returns the gateway and the link of the default route with
// the lowest metric in the form of /proc/net/ipv6_route: destination, its
// prefix length, source, its prefix length, next hop, metric, references, uses,
// flags, link. The library reads it without the link, which is the zone.
func parseIPv6Route(r io.Reader) (best netip.Addr, link string, err error) {
	none := strings.Repeat("0", 32)
	lowest := ""
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 10 || f[0] != none || f[1] != "00" || f[4] == none || lowest != "" && f[5] >= lowest {
			continue
		}
		var b [16]byte
		if n, err := hex.Decode(b[:], []byte(f[4][:min(len(f[4]), 32)])); err != nil || n != 16 {
			continue
		}
		best, link, lowest = netip.AddrFrom16(b), f[9], f[5]
	}
	return best, link, lines.Err()
}
