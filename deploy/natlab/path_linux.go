package main

import (
	"fmt"
	"strings"
)

// path is one way, or none, by which two homes meet.
type path struct {
	name, about string
	seller      side
	buyer       side
	v6          bool   // the federation, and all that is announced, is over IPv6
	meets       bool   // the download succeeds
	says        string // in the sentence of the seller's node about its router
}

// side is how a home lets others in.
type side struct {
	portmap string // the flag of its node
	speaks  bool   // its router speaks PCP, NAT-PMP and UPnP
	static  bool   // its router forwards the port, as a person has set it up
}

var (
	alone  = side{portmap: "auto"} // nothing answers
	byHand = side{portmap: "auto", static: true}
)

func by(protocol string) side { return side{portmap: protocol, speaks: true} }

var paths = []path{
	{name: "pcp", about: "the seller's router maps by PCP", seller: by("pcp"), buyer: alone, meets: true, says: "(PCP, until "},
	{name: "natpmp", about: "by NAT-PMP", seller: by("natpmp"), buyer: alone, meets: true, says: "(NAT-PMP, until "},
	{name: "upnp", about: "by UPnP", seller: by("upnp"), buyer: alone, meets: true, says: "(UPnP, until "},
	{name: "pcp6", about: "a pinhole over IPv6 by PCP", seller: by("pcp"), buyer: alone, v6: true, meets: true, says: "over IPv6 [2a00:1::22]:9003 is open (PCP"},
	{name: "upnp6", about: "a pinhole over IPv6 by UPnP", seller: by("upnp"), buyer: alone, v6: true, meets: true, says: "over IPv6 [2a00:1::22]:9003 is open (UPnP"},
	{name: "static", about: "the seller's router forwards the port, as a person has set it up", seller: byHand, buyer: alone, meets: true, says: forward},
	{name: "buyer", about: "the buyer's router maps, the seller's does not: the seller connects", seller: alone, buyer: by("auto"), meets: true, says: forward},
	{name: "none", about: "no router lets anybody in", seller: alone, buyer: alone, says: forward},
}

const forward = "failed to open port 9003: the router 192.168.7.1 answered neither PCP, NAT-PMP nor UPnP; " +
	"in its settings forward TCP and UDP port 9003 to 192.168.7.34 port 9003"

func names() string {
	var all []string
	for _, p := range paths {
		all = append(all, p.name)
	}
	return strings.Join(all, ", ")
}

func pathOf(name string) (path, error) {
	for _, p := range paths {
		if p.name == name {
			return p, nil
		}
	}
	return path{}, fmt.Errorf("--path %.40s is none of %s, all", name, names())
}
