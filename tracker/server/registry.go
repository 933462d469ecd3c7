package server

import (
	"container/list"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// registry is all swarms. All peers live equally long, so the queue, in the
// order of their last announces, is also the order in which they expire.
type registry struct {
	torrents, peers, perAddress int // bounds; peers is for each torrent

	lifetime time.Duration
	swarms   map[[20]byte]*swarm
	queue    *list.List         // of *peer, next to expire first
	entries  map[netip.Addr]int // by network; no zeros
}

var errTorrents = errors.New("this tracker has no room for more torrents: try again later")

// network is what counts as one address: of IPv6, a customer has a /64.
func network(a netip.Addr) netip.Addr {
	if a.Is4() {
		return a
	}
	p, _ := a.Prefix(64)
	return p.Addr()
}

// expire forgets the peers whose time is over.
func (r *registry) expire(now time.Time) {
	for e := r.queue.Front(); e != nil && !now.Before(e.Value.(*peer).until); e = r.queue.Front() {
		r.remove(e.Value.(*peer))
	}
}

// remove forgets a peer, and the swarm that it was the last of.
func (r *registry) remove(p *peer) {
	p.swarm.take(p)
	delete(p.swarm.byAddr, p.addr)
	if len(p.swarm.byAddr) == 0 {
		delete(r.swarms, p.swarm.hash)
	}
	r.queue.Remove(p.place)
	if n := network(p.addr.Addr()); r.entries[n] > 1 {
		r.entries[n]--
	} else {
		delete(r.entries, n)
	}
}

// update notes an announce, and returns the swarm it is about. A peer for
// which there is no room is answered, but not listed.
func (r *registry) update(now time.Time, addr netip.AddrPort, a *announce) (*swarm, error) {
	s := r.swarms[a.infoHash]
	if s == nil {
		if len(r.swarms) >= r.torrents {
			return nil, errTorrents
		}
		s = &swarm{hash: a.infoHash, byAddr: map[netip.AddrPort]*peer{}}
	}
	p := s.byAddr[addr]
	if p == nil {
		if r.entries[network(addr.Addr())] >= r.perAddress {
			return nil, fmt.Errorf("your address has %d entries at this tracker, which is the most: stop some torrents", r.perAddress)
		}
		if len(s.byAddr) >= r.peers {
			return s, nil
		}
		p = r.add(s, addr, a)
	}
	r.renew(now, p, a)
	return s, nil
}

func (r *registry) add(s *swarm, addr netip.AddrPort, a *announce) *peer {
	p := &peer{swarm: s, addr: addr, seed: a.left == 0}
	r.swarms[s.hash] = s
	s.byAddr[addr] = p
	s.insert(p)
	p.place = r.queue.PushBack(p)
	r.entries[network(addr.Addr())]++
	return p
}

func (r *registry) renew(now time.Time, p *peer, a *announce) {
	if seed := a.left == 0; seed != p.seed {
		p.swarm.take(p)
		p.seed = seed
		p.swarm.insert(p)
		// Only who was seen to lack something is believed to have completed.
		if seed && a.event == eventCompleted {
			p.swarm.completed++
		}
	}
	p.id = a.peerID
	p.until = now.Add(r.lifetime)
	r.queue.MoveToBack(p.place)
}

// leave forgets the peer that stops, if it is known.
func (r *registry) leave(addr netip.AddrPort, hash [20]byte) {
	if s := r.swarms[hash]; s != nil && s.byAddr[addr] != nil {
		r.remove(s.byAddr[addr])
	}
}
