package natpmp

import (
	"net/netip"
	"slices"
	"time"
)

// State is how far a link is.
type State string

// The states.
const (
	Asking    State = "asking"     // no answer yet
	NoGateway State = "no gateway" // nobody to ask
	Open      State = "open"       // the gateway lets others in
	Closed    State = "closed"     // it doesn't
	Ended     State = "ended"      // Run has returned
)

// Outcome is how a gateway reacted to one protocol.
type Outcome string

// The outcomes.
const (
	Granted  Outcome = "granted"
	Answered Outcome = "answered" // a better protocol was taken
	Refused  Outcome = "refused"
	Unusable Outcome = "unusable" // an answer that makes no sense
	Silent   Outcome = "silent"
)

// Attempt is how the last start went by one protocol.
type Attempt struct {
	Protocol     Protocol `json:"protocol"`
	Outcome      Outcome  `json:"outcome"`
	Problem      string   `json:"problem,omitempty"`
	Remedy       string   `json:"remedy,omitempty"`
	Milliseconds int64    `json:"milliseconds"`

	retry time.Duration
}

// LinkStatus is what is known of one family of addresses.
type LinkStatus struct {
	State       State        `json:"state"`
	Gateway     netip.Addr   `json:"gateway,omitzero"`
	Local       []netip.Addr `json:"local,omitempty"`
	External    netip.Addr   `json:"external,omitzero"` // as the gateway says
	Translation Translation  `json:"translation,omitempty"`
	Mappings    []Mapping    `json:"mappings,omitempty"`
	Tried       []Attempt    `json:"tried,omitempty"`
	Next        time.Time    `json:"next,omitzero"` // when the gateway is asked again
}

// Status is what a Mapper knows.
type Status struct {
	Port       uint16      `json:"port"`
	Transports []Transport `json:"transports"`
	IPv4       LinkStatus  `json:"ipv4"`
	IPv6       LinkStatus  `json:"ipv6"`
	Seen       netip.Addr  `json:"seen,omitzero"` // what others agree that our IPv4 address is
}

// Reachable reports whether strangers can connect over IPv4 or IPv6, as far as the
// gateways say: by TCP, and with nothing before them that translates once more. A
// machine with a public address needs none of them.
func (s Status) Reachable() bool {
	for _, l := range []*LinkStatus{&s.IPv4, &s.IPv6} {
		tcp := slices.ContainsFunc(l.Mappings, func(m Mapping) bool { return m.Transport == TCP })
		if tcp && l.Translation == TranslationNone {
			return true
		}
	}
	return s.IPv4.State == Closed && slices.ContainsFunc(s.IPv4.Local, public)
}

// External returns the port by which others reach a transport over IPv4, which
// is what trackers are to be told. It is the internal one while nothing is
// mapped: whoever forwards it by hand forwards that.
func (s Status) External(t Transport) uint16 {
	for _, m := range s.IPv4.Mappings {
		if m.Transport == t {
			return m.ExternalPort
		}
	}
	return s.Port
}

// publish tells the mapper how the link is.
func (l *link) publish() {
	s := LinkStatus{
		State: Asking, Gateway: l.gateway.Addr, Local: slices.Clone(l.gateway.Local),
		Mappings: slices.Clone(l.held), Tried: slices.Clone(l.tried), Next: l.plan.due,
	}
	switch {
	case l.gateway.none():
		s.State, s.Next = NoGateway, time.Time{}
	case len(l.held) > 0:
		s.State, s.External = Open, l.held[0].External
	case l.plan.fails > 0:
		s.State, s.External = Closed, l.external
	}
	l.mapper.publish(l.v6, s)
}
