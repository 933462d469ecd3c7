package natpmp

import (
	"fmt"
	"net"
	"net/netip"
)

// linkOf finds the interface that has an address.
func linkOf(local netip.Addr) (*net.Interface, error) {
	links, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	for _, link := range links {
		addrs, err := link.Addrs()
		if err != nil {
			continue // it went away
		}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr() == local {
				return &link, nil
			}
		}
	}
	return nil, fmt.Errorf("no interface has the address %s", local)
}
