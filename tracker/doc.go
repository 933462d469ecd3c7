// Package tracker asks trackers for peers, over HTTP (BEP 3, 7, 12, 23, 24, 31)
// and UDP (BEP 15).
//
// It does not connect to the peers it learns, and it does not answer announces:
// package node does the former, package tracker/server the latter.
//
// A Client makes one announce. A Session keeps one torrent announced: it knows
// the tiers, when the next announce is due, what each tracker was told, and
// why there are no peers.
//
// # Where announces may go
//
// Tracker addresses come from torrent files, and so from strangers, who must not
// reach through us what only we can reach (a router, a database on loopback).
// Every address is judged when it is dialled, after the name was resolved:
//
//   - A tracker on loopback or in a private network is asked only if the path's
//     last element begins with "announce".
//   - A redirect never leads to a narrower network than the one it came from:
//     from a private network not to loopback, from the internet to neither.
//   - Link-local, multicast and unspecified addresses are never dialled, which
//     keeps the metadata services of clouds out of reach.
//   - Peers on loopback are believed only of a tracker on loopback.
package tracker
