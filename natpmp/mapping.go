package natpmp

import (
	"context"
	"fmt"
	"net/netip"
	"time"
)

// Transport is what runs over IP, by the number that IANA gave it.
type Transport uint8

// The transports.
const (
	TCP Transport = 6
	UDP Transport = 17
)

// String returns TCP or UDP.
func (t Transport) String() string {
	if t == UDP {
		return "UDP"
	}
	return "TCP"
}

func (t Transport) word() string {
	if t == UDP {
		return "udp"
	}
	return "tcp"
}

// MarshalText writes tcp or udp.
func (t Transport) MarshalText() ([]byte, error) { return []byte(t.word()), nil }

// UnmarshalText reads what MarshalText wrote.
func (t *Transport) UnmarshalText(b []byte) error {
	for _, u := range []Transport{TCP, UDP} {
		if string(b) == u.word() {
			*t = u
			return nil
		}
	}
	return fmt.Errorf("%.20q is no transport", b)
}

// Mapping is one that the gateway granted: what comes to the external address
// and port reaches the internal ones. Over IPv6 both are the same.
type Mapping struct {
	Protocol     Protocol   `json:"protocol"`
	Transport    Transport  `json:"transport"`
	Internal     netip.Addr `json:"internal"`
	InternalPort uint16     `json:"internal_port"`
	External     netip.Addr `json:"external,omitzero"` // invalid: the gateway doesn't know
	ExternalPort uint16     `json:"external_port"`
	Granted      time.Time  `json:"granted"`
	Until        time.Time  `json:"until,omitzero"` // zero: until it is released
}

// lifetimeWanted is what every mapping is asked for: long enough that renewals
// are rare, short enough that what a killed node leaves behind soon ends.
const lifetimeWanted = time.Hour

// wanted is a mapping that a gateway is asked for.
type wanted struct {
	transport Transport
	local     netip.Addr
	port      uint16
	external  uint16 // the external port that would be best
}

// granted makes the mapping that answers what was wanted. Its times are those
// of the wall clock: while this machine sleeps, the gateway's time goes on.
func (w wanted) granted(p Protocol, external netip.Addr, port uint16, now time.Time, lifetime time.Duration) Mapping {
	now = now.Round(0)
	m := Mapping{
		Protocol: p, Transport: w.transport, Internal: w.local, InternalPort: w.port,
		External: external, ExternalPort: port, Granted: now,
	}
	if lifetime > 0 {
		m.Until = now.Add(lifetime)
	}
	return m
}

// again is what to ask for to keep m.
func (m Mapping) again() wanted {
	return wanted{transport: m.Transport, local: m.Internal, port: m.InternalPort, external: m.ExternalPort}
}

// sameAs tells whether m leads from and to the same place as o.
func (m Mapping) sameAs(o Mapping) bool {
	return m.Transport == o.Transport && m.Internal == o.Internal && m.InternalPort == o.InternalPort &&
		m.External == o.External && m.ExternalPort == o.ExternalPort
}

// speaker speaks one protocol with one gateway. Its methods are called one at
// a time, but for release.
type speaker interface {
	// probe finds out whether the gateway speaks it, and changes nothing there.
	probe(ctx context.Context) error
	// grant asks for a mapping, or for the same one again. With an error, the
	// external port that was asked for last, if it is another than the one wanted.
	grant(ctx context.Context, w wanted) (Mapping, error)
	// check tells by errLost that the gateway no longer has m.
	check(ctx context.Context, m Mapping) error
	// observe tells whether the seconds that the gateway says it has run for
	// mean that it has lost what it knew.
	observe(seconds uint32, now time.Time) (rebooted bool)
	// release ends m.
	release(ctx context.Context, m Mapping) error
}
