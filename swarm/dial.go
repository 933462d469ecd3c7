package swarm

import (
	"net/netip"
	"time"
)

// Source is where an address came from.
type Source uint8

// The sources of addresses.
const (
	FromUser Source = iota
	FromTracker
	FromMagnet
)

const (
	// maxKnown bounds the addresses remembered.
	maxKnown = 2000
	// maxDialing bounds the connections being opened at once.
	maxDialing = 16
	// maxFailures is after how many failures in a row an address is forgotten,
	// unless the user named it.
	maxFailures = 4
	// firstRetry doubles with each failure.
	firstRetry = 5 * time.Second
	maxRetry   = 15 * time.Minute
)

// address is what we know of a place where a peer may be.
type address struct {
	at       netip.AddrPort
	from     Source
	dialing  bool
	used     bool // a connection to or from it is open
	seed     bool // it had everything when last seen
	failures int
	next     time.Time // not before
}

// addressBook keeps the addresses, in the order in which they were found.
type addressBook struct {
	known   []*address
	by      map[netip.AddrPort]*address
	banned  map[netip.Addr]bool
	dialing int
}

func newAddressBook() addressBook {
	return addressBook{by: map[netip.AddrPort]*address{}, banned: map[netip.Addr]bool{}}
}

// usable refuses addresses to which no peer can answer.
func usable(a netip.AddrPort) bool {
	ip := a.Addr()
	return a.IsValid() && a.Port() != 0 && !ip.IsUnspecified() && !ip.IsMulticast() &&
		ip != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

func (b *addressBook) add(at netip.AddrPort, from Source) {
	at = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
	if a := b.by[at]; a != nil {
		a.from = min(a.from, from)
		return
	}
	if !usable(at) || len(b.known) >= maxKnown && from != FromUser {
		return
	}
	a := &address{at: at, from: from}
	b.by[at] = a
	b.known = append(b.known, a)
}

func (b *addressBook) connected(at netip.AddrPort, outgoing bool) {
	if a := b.by[at]; a != nil {
		b.endDial(a)
		a.used = true
		if outgoing {
			a.failures = 0
		}
	}
}

// left frees an address. One whose connections bring nothing is tried less
// and less often.
func (b *addressBook) left(at netip.AddrPort, now time.Time, gave, seed bool) {
	if a := b.by[at]; a != nil {
		a.used, a.seed = false, seed
		if gave {
			a.failures = 0
		}
		b.postpone(a, now)
	}
}

func (b *addressBook) failed(at netip.AddrPort, now time.Time) {
	if a := b.by[at]; a != nil {
		b.endDial(a)
		b.postpone(a, now)
		if a.failures >= maxFailures && a.from != FromUser {
			b.forget(at)
		}
	}
}

func (b *addressBook) postpone(a *address, now time.Time) {
	a.next = now.Add(min(maxRetry, firstRetry<<min(a.failures, 10)))
	a.failures++
}

func (b *addressBook) endDial(a *address) {
	if a.dialing {
		a.dialing = false
		b.dialing--
	}
}

func (b *addressBook) forget(at netip.AddrPort) {
	a := b.by[at]
	if a == nil {
		return
	}
	b.endDial(a)
	delete(b.by, at)
	for i, x := range b.known {
		if x == a {
			b.known = append(b.known[:i], b.known[i+1:]...)
			return
		}
	}
}

// ban keeps an address from being dialled or accepted again.
func (b *addressBook) ban(ip netip.Addr) {
	if ip.IsValid() && !ip.IsLoopback() && len(b.banned) < maxKnown {
		b.banned[ip.Unmap()] = true
	}
}

// dial opens connections while there is room. We dial others when we have
// everything too, since they may be unable to reach anybody themselves; but
// not those who were seen to have everything.
func (s *Swarm) dial(now time.Time) {
	if s.stopped != nil {
		return
	}
	complete, open := s.Complete(), s.connected()
	for _, a := range s.book.known {
		if s.book.dialing >= maxDialing || open+s.book.dialing >= s.cfg.MaxPeers {
			return
		}
		if complete && a.seed || a.dialing || a.used || a.next.After(now) || s.book.banned[a.at.Addr()] {
			continue
		}
		a.dialing = true
		s.book.dialing++
		s.out.Dial = append(s.out.Dial, a.at)
	}
}
