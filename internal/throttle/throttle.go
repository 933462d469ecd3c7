package throttle

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Network is what counts as one address: of IPv6, a customer has a /64. The
// zero Addr stands for what is none.
func Network(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if !a.Is6() {
		return a
	}
	p, _ := a.Prefix(64) // 64 bits fit any IPv6 address
	return p.Addr()
}

// maxAddresses is how many addresses a Limit remembers. A full table forgets
// those that have their whole burst again, and else refuses newcomers: it is
// full only under attack.
const maxAddresses = 10_000

// Limit is how often each address may do something.
type Limit struct {
	every time.Duration // between two, in the long run
	burst int

	mu    sync.Mutex // guards the following
	of    map[netip.Addr]*bucket
	swept time.Time // when forget was last called: a walk for each refusal would itself be an attack
}

// bucket is what one address may still do.
type bucket struct {
	*rate.Limiter
	back int // that were given back, and not used again
}

// take uses one that was given back, or else one that time has brought: all
// together are no more than the burst.
func (b *bucket) take(now time.Time) bool {
	b.back = min(b.back, int(float64(b.Burst())-b.TokensAt(now)))
	if b.back > 0 {
		b.back--
		return true
	}
	return b.AllowN(now, 1)
}

// New makes a Limit: burst times at once, and then once in so much time.
func New(every time.Duration, burst int) *Limit {
	return &Limit{every: every, burst: burst, of: map[netip.Addr]*bucket{}}
}

// Allow reports whether an address, and all that count as one with it, may do
// it once more at now.
func (l *Limit) Allow(a netip.Addr, now time.Time) bool {
	a = Network(a)
	l.mu.Lock()
	defer l.mu.Unlock()
	one := l.of[a]
	if one == nil {
		if len(l.of) >= maxAddresses && now.Sub(l.swept) >= l.every {
			l.forget(now)
		}
		if len(l.of) >= maxAddresses {
			return false
		}
		one = &bucket{Limiter: rate.NewLimiter(rate.Every(l.every), l.burst)}
		l.of[a] = one
	}
	return one.take(now)
}

// Return takes back what Allow has counted: it came to good.
func (l *Limit) Return(a netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if one := l.of[Network(a)]; one != nil && one.back < l.burst {
		one.back++
	}
}

// forget drops who has its whole burst again.
func (l *Limit) forget(now time.Time) {
	l.swept = now
	for a, one := range l.of {
		if one.TokensAt(now) >= float64(l.burst) {
			delete(l.of, a)
		}
	}
}
