//go:build linux

// Command natlab shows a paid download between two homes, each behind its router, on
// one machine: network namespaces, Debian's miniupnpd and nftables, and the processes
// that people would run. It needs root, and removes what it made.
//
//	LAN A  192.168.7.0/24  seller 192.168.7.34 -- router A 11.0.0.2 --+
//	                                                                  +-- 11.0.0.1 federation, tracker
//	LAN B  192.168.8.0/24  buyer  192.168.8.34 -- router B 11.0.0.3 --+
//
// Over IPv6 the LANs are 2a00:1::/64 and 2a00:2::/64, the public side 2a00::/64, and
// the routers are firewalls. The public addresses only look so: miniupnpd maps nothing
// where they are private. See docs/natlab.md.
package main
