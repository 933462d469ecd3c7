package server

import (
	"container/list"
	"net/netip"
	"time"
)

// peer is one peer of one swarm.
type peer struct {
	swarm *swarm
	addr  netip.AddrPort
	id    [20]byte
	seed  bool
	at    int           // index into the swarm's seeds or leechers
	until time.Time     // when it is forgotten
	place *list.Element // in registry.queue
}

// swarm is the peers of one torrent. Seeds and leechers are apart, in no order.
type swarm struct {
	hash      [20]byte
	byAddr    map[netip.AddrPort]*peer
	seeds     []*peer
	leechers  []*peer
	completed int // times that a leecher became a seed
}

func (s *swarm) of(seed bool) *[]*peer {
	if seed {
		return &s.seeds
	}
	return &s.leechers
}

// insert puts p among the seeds or leechers, by p.seed.
func (s *swarm) insert(p *peer) {
	l := s.of(p.seed)
	p.at = len(*l)
	*l = append(*l, p)
}

// take removes p from where insert put it: the last one fills the gap.
func (s *swarm) take(p *peer) {
	l := s.of(p.seed)
	last := (*l)[len(*l)-1]
	(*l)[p.at], last.at = last, p.at
	(*l)[len(*l)-1] = nil
	*l = (*l)[:len(*l)-1]
}

// swap exchanges two places of seeds or leechers.
func swap(l []*peer, i, j int) {
	l[i], l[j] = l[j], l[i]
	l[i].at, l[j].at = i, j
}

// sample picks n peers at random, each set of n as likely as every other: of
// all for a leecher, of the leechers for a seed, which has no use for seeds. It
// leaves out the peer that asks. intN draws a number below its argument.
func (s *swarm) sample(n int, asks netip.AddrPort, seed bool, intN func(int) int) (out []*peer) {
	seeds, leechers := s.seeds, s.leechers
	if seed {
		seeds = nil
	}
	// A shuffle of both lists as if they were one behind the other, stopped
	// early: what was drawn moves to the front of its list.
	for i, j := 0, 0; len(out) < n && i+j < len(seeds)+len(leechers); {
		from, at := seeds, &i
		if intN(len(seeds)+len(leechers)-i-j) >= len(seeds)-i {
			from, at = leechers, &j
		}
		swap(from, *at, *at+intN(len(from)-*at))
		if p := from[*at]; p.addr != asks {
			out = append(out, p)
		}
		*at++
	}
	return out
}
