package natpmp

import "net/netip"

const (
	// witnessesMost bounds how many networks are remembered; the oldest goes.
	witnessesMost = 32
	// witnessesEnough is how many networks have to agree, and to be more than
	// those that don't: one peer can say what it likes.
	witnessesEnough = 3
)

// testimony is what somebody in a network said that our address is.
type testimony struct {
	network netip.Prefix
	ours    netip.Addr
}

// witnesses remembers who saw us from which address. Peers of one network count
// once. The zero value has none.
type witnesses struct {
	said []testimony
}

// hear takes what a peer or tracker says. Peers in our own network see our
// inner address: they, and addresses that are not global, don't count.
func (w *witnesses) hear(from, ours netip.Addr) {
	from, ours = from.Unmap(), ours.Unmap()
	if !public(from) || !public(ours) || from.Is4() != ours.Is4() {
		return
	}
	t := testimony{network: networkOf(from), ours: ours}
	for i, s := range w.said {
		if s.network == t.network {
			w.said[i] = t
			return
		}
	}
	if len(w.said) == witnessesMost {
		w.said = w.said[1:]
	}
	w.said = append(w.said, t)
}

// agreed returns the IPv4 address that enough witnesses saw.
func (w *witnesses) agreed() netip.Addr {
	votes := map[netip.Addr]int{}
	all := 0
	for _, t := range w.said {
		if t.ours.Is4() {
			votes[t.ours]++
			all++
		}
	}
	for addr, n := range votes {
		if n >= witnessesEnough && 2*n > all {
			return addr
		}
	}
	return netip.Addr{}
}

// networkOf is about what one customer, or one liar, has.
func networkOf(a netip.Addr) netip.Prefix {
	bits := 24
	if a.Is6() {
		bits = 48
	}
	p, _ := a.Prefix(bits)
	return p
}

func public(a netip.Addr) bool {
	return a.IsGlobalUnicast() && !a.IsPrivate() && !shared.Contains(a)
}
