package natpmp

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Sentence tells people in one sentence whether others can reach the port, by
// what, and if not, what to do.
func (s Status) Sentence() string {
	if s.IPv4.State == NoGateway && s.IPv6.State == Open {
		return fmt.Sprintf("port %d is open over IPv6 alone, since there is no router over IPv4: %s", s.Port, s.IPv6.doors())
	}
	said := s.ipv4()
	if s.IPv6.State == Open {
		said += "; over IPv6 " + s.IPv6.doors()
	}
	return said
}

func (s Status) ipv4() string {
	switch s.IPv4.State {
	case Open:
		if s.IPv4.Translation != TranslationNone {
			return fmt.Sprintf("port %d is open on the router %s, but not to the internet: %s", s.Port, s.IPv4.Gateway, s.translation())
		}
		return s.open()
	case NoGateway:
		return fmt.Sprintf("failed to open port %d: there is no router to ask (no default route over IPv4 where it listens); connect this machine to a network, or listen elsewhere", s.Port)
	case Closed:
		return s.closed()
	case Ended:
		return fmt.Sprintf("port %d is no longer kept open", s.Port)
	}
	if !s.IPv4.Gateway.IsValid() {
		return fmt.Sprintf("port %d: looking for a router", s.Port)
	}
	return fmt.Sprintf("port %d: asking the router %s to open it", s.Port, s.IPv4.Gateway)
}

// open names the external port only where it is another.
func (s Status) open() string {
	by := ""
	if ports := s.otherPorts(); ports != "" {
		by = " by external port " + ports
	}
	m := s.IPv4.Mappings[0]
	only := ""
	if got := s.IPv4.transports(); got != s.wantedTransports() {
		only = " for " + got + " only"
	}
	external := fmt.Sprintf("port %d", m.ExternalPort)
	if m.External.IsValid() {
		external = netip.AddrPortFrom(m.External, m.ExternalPort).String()
	}
	return fmt.Sprintf("port %d is open%s%s: the router %s forwards %s to this machine (%s)",
		s.Port, by, only, s.IPv4.Gateway, external, m.terms())
}

// otherPorts are the external ports, unless they are what was asked for.
func (s Status) otherPorts() string {
	var ports []uint16
	var named []string
	for _, m := range s.IPv4.Mappings {
		if !slices.Contains(ports, m.ExternalPort) {
			ports = append(ports, m.ExternalPort)
		}
		named = append(named, fmt.Sprintf("%d (%s)", m.ExternalPort, m.Transport))
	}
	switch {
	case len(ports) > 1:
		return strings.Join(named, " and ")
	case ports[0] == s.Port:
		return ""
	}
	return fmt.Sprint(ports[0])
}

// terms are who granted a mapping, and for how long.
func (m Mapping) terms() string {
	if m.Until.IsZero() {
		return fmt.Sprintf("%s, until it is removed", m.Protocol)
	}
	return fmt.Sprintf("%s, until %s", m.Protocol, m.Until.Local().Format("15:04"))
}

// doors are the pinholes over IPv6.
func (l LinkStatus) doors() string {
	var at []string
	for _, m := range l.Mappings {
		if a := netip.AddrPortFrom(m.External, m.ExternalPort).String(); !slices.Contains(at, a) {
			at = append(at, a)
		}
	}
	return fmt.Sprintf("%s is open (%s)", strings.Join(at, " and "), l.Mappings[0].terms())
}

func (l LinkStatus) transports() string {
	var ts []Transport
	for _, m := range l.Mappings {
		if !slices.Contains(ts, m.Transport) {
			ts = append(ts, m.Transport)
		}
	}
	slices.Sort(ts)
	return join(ts)
}

func (s Status) wantedTransports() string {
	return join(slices.Sorted(slices.Values(s.Transports)))
}

func join(ts []Transport) string {
	var names []string
	for _, t := range ts {
		names = append(names, t.String())
	}
	return strings.Join(names, " and ")
}

// closed says why, and what people can do in the router's settings.
func (s Status) closed() string {
	if len(s.IPv4.Local) > 0 && public(s.IPv4.Local[0]) {
		return fmt.Sprintf("port %d needs no router: this machine's address %s is public, and only a firewall can close the port", s.Port, s.IPv4.Local[0])
	}
	if s.IPv4.Translation != TranslationNone {
		return fmt.Sprintf("failed to open port %d: %s", s.Port, s.translation())
	}
	return fmt.Sprintf("failed to open port %d: the router %s %s", s.Port, s.IPv4.Gateway, s.reason())
}

// reason is what the router did, and what to do about it: a refusal says more
// than an answer that makes no sense, and that more than silence.
func (s Status) reason() string {
	if a, ok := best(s.IPv4.Tried, Refused); ok {
		said := fmt.Sprintf("refuses by %s (%s)", a.Protocol, a.Problem)
		switch a.Remedy {
		case "":
			return said + "; " + s.byHand()
		case remedyBetween, remedyNetwork: // a forwarding in this router would not help
			return said + ": " + a.Remedy
		}
		return said + ": " + a.Remedy + ", or " + s.byHand()
	}
	if a, ok := best(s.IPv4.Tried, Unusable); ok {
		return fmt.Sprintf("answered by %s what cannot be used (%s); %s", a.Protocol, a.Problem, s.byHand())
	}
	return fmt.Sprintf("answered %s; %s", neither(s.IPv4.Tried), s.byHand())
}

// best returns the attempt with that outcome whose remedy helps most.
func best(tried []Attempt, o Outcome) (Attempt, bool) {
	for _, r := range remedies {
		for _, a := range tried {
			if a.Outcome == o && a.Remedy == r {
				return a, true
			}
		}
	}
	return Attempt{}, false
}

// neither lists the protocols in the way of "neither PCP, NAT-PMP nor UPnP".
func neither(tried []Attempt) string {
	var names []string
	for _, a := range tried {
		names = append(names, a.Protocol.String())
	}
	switch last := len(names) - 1; {
	case last < 0:
		return "nothing"
	case last == 0:
		return "no " + names[0]
	default:
		return "neither " + strings.Join(names[:last], ", ") + " nor " + names[last]
	}
}

// byHand is what a person can do in any router's settings.
func (s Status) byHand() string {
	return fmt.Sprintf("in its settings forward %s port %d to %s port %d", s.wantedTransports(), s.Port, s.IPv4.Local[0], s.Port)
}

// translation says what stands in front of the router, and the way out.
func (s Status) translation() string {
	own := s.IPv4.External
	switch s.IPv4.Translation {
	case TranslationCarrier:
		return fmt.Sprintf("the router's own address %s is of your provider's NAT, which nobody reaches from outside; ask the provider for a public IPv4 address, or use IPv6", own)
	case TranslationPrivate:
		return fmt.Sprintf("the router's own address %s is private: there is another router (or your provider's NAT) in front of it; in that one's settings forward %s port %d to %s port %d, or make one of the two a bridge",
			own, s.wantedTransports(), s.External(s.Transports[0]), own, s.External(s.Transports[0]))
	}
	return fmt.Sprintf("others see this machine at %s, but the router's own address is %s: another router, your provider's NAT or a VPN is between; set up the forwarding there, or ask the provider for a public IPv4 address", s.Seen, own)
}
