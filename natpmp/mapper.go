package natpmp

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Config is what a Mapper is made of. Only Port has to be set.
type Config struct {
	// Port is the internal one, and the external one that is asked for first.
	Port uint16
	// Transports are those to map; none stands for TCP and UDP.
	Transports []Transport
	// Protocols are those to try.
	Protocols Protocols
	// Secret is what shows a gateway that speaks PCP that a mapping is ours. A
	// node that keeps it can take over what it mapped before it was killed; if
	// there is none, one is made up.
	Secret []byte
	// Gateways looks up the gateways; nil stands for SystemGateways.
	Gateways func() (Gateways, error)
	// Log may be nil.
	Log *slog.Logger
}

// limits are how long things take at most. They are no settings: tests have
// less patience.
type limits struct {
	start   time.Duration // a round of asking by all protocols
	grant   time.Duration // what one protocol gets of it to grant everything
	release time.Duration // giving everything back
	poll    time.Duration // until gateways are looked up again
}

var usualLimits = limits{start: 10 * time.Second, grant: 4 * time.Second, release: 2 * time.Second, poll: 30 * time.Second}

// Mapper keeps a port of this machine mapped on its gateways while Run runs.
type Mapper struct {
	config  Config
	limits  limits
	changed chan struct{}
	// Tests replace how gateways are spoken with and listened to.
	speakers func(Gateways, *link) map[Protocol]speaker
	listen   func(Gateway) (*net.UDPConn, error)
	// calls are requests that may outlast what asked; Run waits for them.
	calls sync.WaitGroup

	mu sync.Mutex // guards the following
	v4 LinkStatus
	v6 LinkStatus
	// witnesses are not the gateway's: what peers and trackers see.
	witnesses witnesses
}

// New makes a Mapper that does nothing yet.
func New(c Config) *Mapper {
	if c.Port == 0 {
		panic("natpmp: port 0 stands for all ports (RFC 6887 11.1)")
	}
	if len(c.Transports) == 0 {
		c.Transports = []Transport{TCP, UDP}
	}
	if len(c.Secret) == 0 {
		c.Secret = make([]byte, 32)
		rand.Read(c.Secret)
	}
	if c.Gateways == nil {
		c.Gateways = SystemGateways
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Mapper{
		config: c, limits: usualLimits, changed: make(chan struct{}, 1), speakers: newSpeakers, listen: listenAnnouncements,
		v4: LinkStatus{State: Asking}, v6: LinkStatus{State: Asking},
	}
}

// Run maps the port and keeps it mapped until ctx ends. It gives back what it
// has before it returns, within two seconds, and leaves nothing running. That
// no gateway grants anything is no error: Status tells it, and Run asks again
// later.
func (m *Mapper) Run(ctx context.Context) {
	var links sync.WaitGroup
	links.Go(func() { newLink(m, false).run(ctx) })
	links.Go(func() { newLink(m, true).run(ctx) })
	links.Wait()
	m.calls.Wait()
}

// Changed receives after a link's state, what it has mapped, or the address on which
// others agree is another. It has one reader.
func (m *Mapper) Changed() <-chan struct{} { return m.changed }

// Seen takes what a peer (BEP 10, yourip) or a tracker at from says that our
// address is. When enough that are not near each other agree on another one
// than the gateway has, something else translates addresses.
func (m *Mapper) Seen(from, ours netip.Addr) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.witnesses.agreed()
	m.witnesses.hear(from, ours)
	if m.witnesses.agreed() != before {
		m.tell()
	}
}

// tell wakes who waits for news. The lock is held.
func (m *Mapper) tell() {
	select {
	case m.changed <- struct{}{}:
	default: // who waits hasn't looked yet, and will see this, too
	}
}

// Status tells what is mapped, what was tried, and what stands in the way.
func (m *Mapper) Status() Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := Status{
		Port: m.config.Port, Transports: slices.Clone(m.config.Transports),
		IPv4: m.v4, IPv6: m.v6, Seen: m.witnesses.agreed(),
	}
	s.IPv4.Translation = translated(s.IPv4.External, s.Seen)
	return s
}

// publish takes a link's status, which the link doesn't change any more, and
// tells who waits if that is news.
func (m *Mapper) publish(v6 bool, s LinkStatus) {
	m.mu.Lock()
	defer m.mu.Unlock()
	of := &m.v4
	if v6 {
		of = &m.v6
	}
	same := of.State == s.State && slices.EqualFunc(of.Mappings, s.Mappings, Mapping.sameAs)
	*of = s
	if !same {
		m.tell()
	}
}
