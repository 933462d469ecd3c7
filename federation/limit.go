package federation

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// networkOf is what counts as one address: of IPv6, a customer has a /64.
func networkOf(remote string) netip.Addr {
	a, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{}
	}
	ip := a.Addr().Unmap().WithZone("")
	if ip.Is4() {
		return ip
	}
	p, _ := ip.Prefix(64) // 64 bits fit any IPv6 address
	return p.Addr()
}

// maxAddresses is how many addresses a rates remembers. A full table forgets
// those that have their whole burst again, and else refuses newcomers: it is
// full only under attack.
const maxAddresses = 10_000

// rates limits how often each address may do something.
type rates struct {
	every time.Duration // between two, in the long run
	burst int

	mu    sync.Mutex // guards the following
	of    map[netip.Addr]*rate.Limiter
	swept time.Time // when forget was last called: a walk for each refusal would itself be an attack
}

func newRates(every time.Duration, burst int) *rates {
	return &rates{every: every, burst: burst, of: map[netip.Addr]*rate.Limiter{}}
}

// allow reports whether the address may do it once more at now.
func (r *rates) allow(addr netip.Addr, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.of[addr]
	if l == nil {
		if len(r.of) >= maxAddresses && now.Sub(r.swept) >= r.every {
			r.forget(now)
		}
		if len(r.of) >= maxAddresses {
			return false
		}
		l = rate.NewLimiter(rate.Every(r.every), r.burst)
		r.of[addr] = l
	}
	return l.AllowN(now, 1)
}

// forget drops who has its whole burst again.
func (r *rates) forget(now time.Time) {
	r.swept = now
	for addr, l := range r.of {
		if l.TokensAt(now) >= float64(r.burst) {
			delete(r.of, addr)
		}
	}
}

// boundedListener closes connections beyond a number, over all and by address:
// one machine must not use up the places of all others. Those who are refused
// see the connection end, and try again.
type boundedListener struct {
	net.Listener
	places *places[netip.Addr]
}

func newBoundedListener(l net.Listener, most, perAddress int) *boundedListener {
	return &boundedListener{l, newPlaces[netip.Addr](most, perAddress)}
}

// Accept returns the next connection for which there is a place.
func (l *boundedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		addr := networkOf(c.RemoteAddr().String())
		if l.places.enter(addr) {
			return &boundedConn{Conn: c, leave: sync.OnceFunc(func() { l.places.leave(addr) })}, nil
		}
		_ = c.Close() // it is refused either way
	}
}

type boundedConn struct {
	net.Conn
	leave func()
}

// Close gives the place free.
func (c *boundedConn) Close() error {
	c.leave()
	return c.Conn.Close()
}
