package natpmp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	gonatpmp "github.com/jackpal/go-nat-pmp"
)

// natpmpWait is how long a request waits for its answer, which makes three
// sends (RFC 6886 3.1: after 250 ms, 500 ms more, and so on for a minute; a
// start has no time for that).
const natpmpWait = 1750 * time.Millisecond

var natpmpResults = []string{
	"success", "unsupported version", "not authorized", "network failure", "out of resources", "unsupported opcode",
}

func natpmpRemedy(code int) string {
	switch code {
	case 2:
		return remedyAllow
	case 3:
		return remedyNetwork
	case 4:
		return remedyRoom
	}
	return ""
}

// natpmpSpeaker speaks NAT-PMP with one gateway. The library's sockets are
// connected, so that only the gateway's port 5351 reaches them, and read at
// most 16 bytes; it checks version, opcode and length. The internal port of an
// answer it leaves to us.
type natpmpSpeaker struct {
	gateway  netip.Addr
	local    netip.Addr
	epoch    epoch
	external netip.Addr
	calls    *sync.WaitGroup // those that may outlast their context
}

func newNATPMP(g Gateway, calls *sync.WaitGroup) *natpmpSpeaker {
	return &natpmpSpeaker{gateway: g.Addr, local: g.Local[0], calls: calls}
}

// call makes one request. The library has no context: when ctx ends, the
// request is left alone until its time is over.
func (s *natpmpSpeaker) call(ctx context.Context, request func(*gonatpmp.Client) error) error {
	c := gonatpmp.NewClientWithLocalAndTimeout(net.IP(s.gateway.AsSlice()), net.IP(s.local.AsSlice()), natpmpWait)
	result := make(chan error, 1)
	s.calls.Go(func() { result <- request(c) })
	select {
	case err := <-result:
		return natpmpError(err)
	case <-ctx.Done():
		return unanswered(ctx.Err())
	}
}

// natpmpError reads the library's errors, of which results and silence are
// nothing but text.
func natpmpError(err error) error {
	if err == nil {
		return nil
	}
	var code int
	if n, _ := fmt.Sscanf(err.Error(), "Non-zero result code %d", &code); n == 1 {
		name := "unknown result"
		if code > 0 && code < len(natpmpResults) {
			name = natpmpResults[code]
		}
		return &refusal{protocol: NATPMP, code: code, name: name}
	}
	if strings.HasPrefix(err.Error(), "Timed out") {
		return errSilent
	}
	return unanswered(err)
}

// probe asks for the external address (RFC 6886 3.2). A gateway that refuses
// speaks the protocol, too.
func (s *natpmpSpeaker) probe(ctx context.Context) error {
	err := s.askAddress(ctx)
	var refused *refusal
	if errors.As(err, &refused) && refused.code != 1 {
		return nil
	}
	return err
}

// askAddress asks for the external address, and returns errLost if it or the
// epoch says that mappings are gone.
func (s *natpmpSpeaker) askAddress(ctx context.Context) error {
	var r *gonatpmp.GetExternalAddressResult
	err := s.call(ctx, func(c *gonatpmp.Client) (err error) {
		r, err = c.GetExternalAddress()
		return err
	})
	if err != nil {
		return err
	}
	before := s.external
	s.external = netip.AddrFrom4(r.ExternalIPAddress)
	if usableExternal(s.external) != nil {
		s.external = netip.Addr{}
	}
	if s.epoch.natpmp(r.SecondsSinceStartOfEpoc, time.Now()) || before.IsValid() && before != s.external {
		return errLost
	}
	return nil
}

// address is the external one that it said last.
func (s *natpmpSpeaker) address() netip.Addr { return s.external }

// grant maps a port (RFC 6886 3.3). The external address is asked for again,
// since an answer doesn't tell it.
func (s *natpmpSpeaker) grant(ctx context.Context, w wanted) (Mapping, error) {
	var r *gonatpmp.AddPortMappingResult
	err := s.call(ctx, func(c *gonatpmp.Client) (err error) {
		r, err = c.AddPortMapping(w.transport.word(), int(w.port), int(w.external), int(lifetimeWanted/time.Second))
		return err
	})
	if err != nil {
		return Mapping{}, err
	}
	now := time.Now()
	s.epoch.natpmp(r.SecondsSinceStartOfEpoc, now)
	if r.InternalPort != w.port || r.MappedExternalPort == 0 || r.PortMappingLifetimeInSeconds == 0 {
		return Mapping{}, fmt.Errorf("the gateway mapped port %d to port %d for %d s", r.MappedExternalPort, r.InternalPort, r.PortMappingLifetimeInSeconds)
	}
	_ = s.askAddress(ctx) // the mapping is there, also if its address is not told
	return w.granted(NATPMP, s.external, r.MappedExternalPort, now, boundLifetime(r.PortMappingLifetimeInSeconds)), nil
}

func (s *natpmpSpeaker) check(ctx context.Context, _ Mapping) error { return s.askAddress(ctx) }

func (s *natpmpSpeaker) observe(seconds uint32, now time.Time) bool {
	return s.epoch.natpmp(seconds, now)
}

// release ends a mapping: no external port, no lifetime (RFC 6886 3.4).
func (s *natpmpSpeaker) release(ctx context.Context, m Mapping) error {
	return s.call(ctx, func(c *gonatpmp.Client) error {
		_, err := c.AddPortMapping(m.Transport.word(), int(m.InternalPort), 0, 0)
		return err
	})
}
