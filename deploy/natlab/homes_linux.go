package main

import (
	"strings"

	"torrente/internal/netlab"
)

// The addresses of the public side, by family.
var public = map[bool]string{false: "11.0.0.1", true: "2a00::1"}

// homes makes both LANs, their routers and the public side between them.
const homes = `
	ip netns add {net}
	ip netns add {router-a}
	ip netns add {router-b}
	ip netns add {seller}
	ip netns add {buyer}
	ip -n {net} link add br0 type bridge
	ip -n {net} link set br0 up
	ip -n {net} link set lo up
	ip -n {net} addr add 11.0.0.1/24 dev br0
	ip -n {net} addr add 2a00::1/64 dev br0 nodad
	ip netns exec {net} sysctl -qw net.ipv6.conf.all.forwarding=1
	ip -n {net} route add 2a00:1::/64 via 2a00::2
	ip -n {net} route add 2a00:2::/64 via 2a00::3
`

// home makes one of them; LETTER and NUMBER are its own, HOST who lives there.
const home = `
	ip -n {net} link add up-LETTER type veth peer name wan netns {router-LETTER}
	ip -n {net} link set up-LETTER master br0
	ip -n {net} link set up-LETTER up
	ip -n {HOST} link add eth type veth peer name lan netns {router-LETTER}
	ip -n {router-LETTER} link set lan addrgenmode none
	ip -n {router-LETTER} addr add 11.0.0.NUMBER/24 dev wan
	ip -n {router-LETTER} addr add 2a00::NUMBER/64 dev wan nodad
	ip -n {router-LETTER} addr add 192.168.LAN.1/24 dev lan
	ip -n {router-LETTER} addr add 2a00:SUBNET::1/64 dev lan nodad
	ip -n {router-LETTER} addr add fe80::1/64 dev lan nodad
	ip -n {router-LETTER} link set lo up
	ip -n {router-LETTER} link set wan up
	ip -n {router-LETTER} link set lan up
	ip netns exec {router-LETTER} sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
	ip -n {router-LETTER} route add default via 11.0.0.1
	ip -n {router-LETTER} route add default via 2a00::1
	ip -n {HOST} addr add 192.168.LAN.34/24 dev eth
	ip -n {HOST} addr add 2a00:SUBNET::22/64 dev eth nodad
	ip -n {HOST} link set lo up
	ip -n {HOST} link set eth up
	ip -n {HOST} route add default via 192.168.LAN.1
	ip -n {HOST} route add default via fe80::1 dev eth
`

// build makes the lab of a path. The routers' files are in dir.
func build(l *netlab.Lab, p path, dir string) error {
	if err := l.Build(homes); err != nil {
		return err
	}
	for _, h := range []struct {
		host, letter, number, lan, subnet string
		side                              side
	}{
		{"seller", "a", "2", "7", "1", p.seller},
		{"buyer", "b", "3", "8", "2", p.buyer},
	} {
		words := strings.NewReplacer("HOST", h.host, "LETTER", h.letter, "NUMBER", h.number, "LAN", h.lan, "SUBNET", h.subnet)
		if err := l.Build(words.Replace(home)); err != nil {
			return err
		}
		var byHand []netlab.Forwarding
		if h.side.static {
			byHand = append(byHand, netlab.Forwarding{Port: port, To: "192.168." + h.lan + ".34"})
		}
		r, err := l.Route("router-"+h.letter, dir, byHand...)
		if err != nil {
			return err
		}
		if h.side.speaks {
			if err := r.Start(); err != nil {
				return err
			}
		}
	}
	return nil
}
