package natpmp

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"net/netip"
	"time"
)

const (
	pcpPort = 5351
	// The retransmission of RFC 6887 8.1.1; its count and duration have no
	// bound there, here the context has one.
	pcpInitialRetransmit = 3 * time.Second
	pcpMostRetransmit    = 1024 * time.Second
	// strayMost is how many packets that answer nothing a request puts up with.
	strayMost = 64
)

// retransmitAfter is how long to wait for an answer, after having waited for
// prev (0 at first). random is in [-0.1, 0.1] (RFC 6887 8.1.1).
func retransmitAfter(prev time.Duration, random float64) time.Duration {
	base := pcpInitialRetransmit
	if prev > 0 {
		base = min(2*prev, pcpMostRetransmit)
	}
	return base + time.Duration(float64(base)*random)
}

// pcpSpeaker speaks PCP with one gateway.
type pcpSpeaker struct {
	gateway netip.Addr
	local   netip.Addr // whose packets probe
	secret  []byte     // of which nonces are made
	epoch   epoch
}

func newPCP(g Gateway, secret []byte) *pcpSpeaker {
	return &pcpSpeaker{gateway: g.Addr, local: g.Local[0], secret: secret}
}

// nonce is the same for the same mapping, so that whoever has the secret can
// renew and release it: a node that was killed, too, once it runs again.
func (s *pcpSpeaker) nonce(w wanted) nonce {
	mac := hmac.New(sha256.New, s.secret)
	fmt.Fprintf(mac, "%s %s %s %d", s.gateway, w.transport, w.local, w.port)
	return nonce(mac.Sum(nil)[:12])
}

// probe sends ANNOUNCE (RFC 6887 14.1.1): whoever answers in version 2 speaks
// PCP, whatever the result.
func (s *pcpSpeaker) probe(ctx context.Context) error {
	a, err := s.ask(ctx, s.local, appendRequest(nil, opAnnounce, 0, s.local), func(a pcpAnswer) bool {
		return a.opcode == opAnnounce
	})
	if err != nil {
		return err
	}
	s.epoch.pcp(a.epoch, time.Now())
	if a.code == pcpAddressMismatch {
		return a.refused()
	}
	return nil
}

func (s *pcpSpeaker) grant(ctx context.Context, w wanted) (Mapping, error) {
	a, err := s.ask(ctx, w.local, s.request(w, lifetimeWanted), s.answers(w))
	if err != nil {
		return Mapping{}, err
	}
	now := time.Now()
	s.epoch.pcp(a.epoch, now) // it is being asked already: nothing else to do after a reboot
	if err := a.refused(); err != nil {
		return Mapping{}, err
	}
	if err := usableExternal(a.mapped.external); err != nil {
		return Mapping{}, err
	}
	if w.local.Is4() != a.mapped.external.Is4() || w.local.Is6() && a.mapped.external != w.local {
		return Mapping{}, errors.New("the gateway says an external address that this cannot be")
	}
	if a.mapped.externalPort == 0 || a.lifetime == 0 {
		return Mapping{}, errors.New("the gateway granted port 0 or no time")
	}
	return w.granted(PCP, a.mapped.external, a.mapped.externalPort, now, boundLifetime(a.lifetime)), nil
}

func (s *pcpSpeaker) check(ctx context.Context, _ Mapping) error {
	a, err := s.ask(ctx, s.local, appendRequest(nil, opAnnounce, 0, s.local), func(a pcpAnswer) bool {
		return a.opcode == opAnnounce
	})
	if err == nil && s.epoch.pcp(a.epoch, time.Now()) {
		err = errLost
	}
	return err
}

func (s *pcpSpeaker) observe(seconds uint32, now time.Time) bool {
	return s.epoch.pcp(seconds, now)
}

// release asks for a lifetime of zero (RFC 6887 15.1).
func (s *pcpSpeaker) release(ctx context.Context, m Mapping) error {
	w := m.again()
	a, err := s.ask(ctx, w.local, s.request(w, 0), s.answers(w))
	if err != nil {
		return err
	}
	if err := a.refused(); err != nil {
		return s.shorten(ctx, w, err)
	}
	return nil
}

// shorten asks for the shortest life where deleting was refused: miniupnpd 2.3
// on nftables no longer knows a pinhole as ours once it was renewed.
func (s *pcpSpeaker) shorten(ctx context.Context, w wanted, refused error) error {
	a, err := s.ask(ctx, w.local, s.request(w, lifetimeLeast), s.answers(w))
	if err != nil || a.refused() != nil {
		return refused
	}
	return fmt.Errorf("%w; it ends in %s", refused, boundLifetime(a.lifetime))
}

// request is MAP for what is wanted. To delete, no external port is suggested
// (RFC 6887 15.1). The address suggested is none, of the same family
// (RFC 6887 11.1).
func (s *pcpSpeaker) request(w wanted, lifetime time.Duration) []byte {
	d := mapData{nonce: s.nonce(w), transport: w.transport, internalPort: w.port, external: netip.IPv4Unspecified()}
	if w.local.Is6() {
		d.external = netip.IPv6Unspecified()
	}
	if lifetime > 0 {
		d.externalPort = w.external
	}
	return d.append(appendRequest(nil, opMap, uint32(lifetime/time.Second), w.local))
}

// answers tells which responses belong to a request for w (RFC 6887 11.4).
func (s *pcpSpeaker) answers(w wanted) func(pcpAnswer) bool {
	n := s.nonce(w)
	return func(a pcpAnswer) bool {
		return a.opcode == opMap && a.mapped.nonce == n && a.mapped.transport == w.transport && a.mapped.internalPort == w.port
	}
}

// ask sends a request from a local address, again and again while ctx lasts,
// and returns the first response that fits. The socket is connected: what
// others send doesn't reach it.
func (s *pcpSpeaker) ask(ctx context.Context, local netip.Addr, request []byte, fits func(pcpAnswer) bool) (pcpAnswer, error) {
	d := net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(netip.AddrPortFrom(local, 0))}
	conn, err := d.DialContext(ctx, "udp", netip.AddrPortFrom(s.gateway, pcpPort).String())
	if err != nil {
		return pcpAnswer{}, unanswered(err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	budget := strayMost
	for wait := time.Duration(0); ; {
		wait = retransmitAfter(wait, mathrand.Float64()/5-0.1)
		if _, err := conn.Write(request); err != nil {
			return pcpAnswer{}, unanswered(err)
		}
		conn.SetReadDeadline(time.Now().Add(wait))
		if ctx.Err() != nil {
			return pcpAnswer{}, unanswered(ctx.Err())
		}
		a, err := awaitPCP(conn, &budget, fits)
		if err != errSilent || ctx.Err() != nil {
			return a, err
		}
	}
}

// awaitPCP reads until a response fits, the connection's deadline, or until
// too many did not fit.
func awaitPCP(conn net.Conn, budget *int, fits func(pcpAnswer) bool) (pcpAnswer, error) {
	b := make([]byte, pcpMost+1)
	for ; *budget > 0; *budget-- {
		n, err := conn.Read(b)
		if err != nil {
			return pcpAnswer{}, unanswered(err)
		}
		a, err := parsePCP(b[:n])
		if err == errVersion || err == nil && fits(a) {
			return a, err
		}
	}
	return pcpAnswer{}, errors.New("the gateway sends only what was not asked for")
}
