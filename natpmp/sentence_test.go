package natpmp

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

func status(v4 LinkStatus) Status {
	v4.Gateway, v4.Local = addr("192.168.1.1"), []netip.Addr{addr("192.168.1.34")}
	return Status{Port: 9003, Transports: []Transport{TCP, UDP}, IPv4: v4}
}

func openBy(p Protocol, ts ...Transport) LinkStatus {
	l := LinkStatus{State: Open, External: addr("11.0.0.7")}
	for _, t := range ts {
		l.Mappings = append(l.Mappings, Mapping{
			Protocol: p, Transport: t, Internal: addr("192.168.1.34"), InternalPort: 9003, External: addr("11.0.0.7"), ExternalPort: 9003,
			Until: time.Date(2026, 1, 2, 14, 5, 0, 0, time.Local),
		})
	}
	return l
}

func refused(p Protocol, code int, name string) LinkStatus {
	r := &refusal{protocol: p, code: code, name: name}
	return LinkStatus{State: Closed, Tried: []Attempt{{Protocol: p, Outcome: Refused, Problem: r.words(), Remedy: r.remedy()}}}
}

func TestSentences(t *testing.T) {
	const byHand = "in its settings forward TCP and UDP port 9003 to 192.168.1.34 port 9003"
	unknown := openBy(UPnP, TCP, UDP)
	for i := range unknown.Mappings {
		unknown.Mappings[i].External = netip.Addr{}
	}
	both := status(openBy(PCP, TCP, UDP))
	both.IPv6 = LinkStatus{State: Open, Mappings: []Mapping{{Protocol: PCP, External: addr("2a00::5"), ExternalPort: 9003, Until: time.Date(2026, 1, 2, 14, 6, 0, 0, time.Local)}}}
	alone := both
	alone.IPv4 = LinkStatus{State: NoGateway}
	publicHost := status(LinkStatus{State: Closed})
	publicHost.IPv4.Local = []netip.Addr{addr("11.0.0.9")}
	for _, c := range []struct {
		name string
		s    Status
		want string
	}{
		{"nothing known", Status{Port: 9003}, "port 9003: looking for a router"},
		{"asking", status(LinkStatus{State: Asking}), "port 9003: asking the router 192.168.1.1 to open it"},
		{"open", status(openBy(PCP, TCP, UDP)), "port 9003 is open: the router 192.168.1.1 forwards 11.0.0.7:9003 to this machine (PCP, until 14:05)"},
		{"TCP only", status(openBy(NATPMP, TCP)), "port 9003 is open for TCP only: the router 192.168.1.1 forwards 11.0.0.7:9003 to this machine (NAT-PMP, until 14:05)"},
		{"address unknown", status(unknown), "port 9003 is open: the router 192.168.1.1 forwards port 9003 to this machine (UPnP, until 14:05)"},
		{"both families", both, "port 9003 is open: the router 192.168.1.1 forwards 11.0.0.7:9003 to this machine (PCP, until 14:05); over IPv6 [2a00::5]:9003 is open (PCP, until 14:06)"},
		{"IPv6 alone", alone, "port 9003 is open over IPv6 alone, since there is no router over IPv4: [2a00::5]:9003 is open (PCP, until 14:06)"},
		{"ended", status(LinkStatus{State: Ended}), "port 9003 is no longer kept open"},
		{"public address", publicHost, "port 9003 needs no router: this machine's address 11.0.0.9 is public, and only a firewall can close the port"},
		{
			"silence", status(LinkStatus{State: Closed, Tried: []Attempt{{Protocol: PCP, Outcome: Silent}, {Protocol: NATPMP, Outcome: Silent}, {Protocol: UPnP, Outcome: Silent}}}),
			"failed to open port 9003: the router 192.168.1.1 answered neither PCP, NAT-PMP nor UPnP; " + byHand,
		},
		{
			"one that is silent", status(LinkStatus{State: Closed, Tried: []Attempt{{Protocol: UPnP, Outcome: Silent}}}),
			"failed to open port 9003: the router 192.168.1.1 answered no UPnP; " + byHand,
		},
		{
			"not authorized", status(refused(PCP, pcpNotAuthorized, "NOT_AUTHORIZED")),
			`failed to open port 9003: the router 192.168.1.1 refuses by PCP (NOT_AUTHORIZED (2)): allow "UPnP", "NAT-PMP" or "PCP" for this machine in its settings, or ` + byHand,
		},
		{
			"address mismatch", status(refused(PCP, pcpAddressMismatch, "ADDRESS_MISMATCH")),
			"failed to open port 9003: the router 192.168.1.1 refuses by PCP (ADDRESS_MISMATCH (12)): another router is between this machine and it; set up the one that faces the internet",
		},
		{
			"unknown refusal", status(refused(UPnP, 999, "who knows")),
			"failed to open port 9003: the router 192.168.1.1 refuses by UPnP (who knows (999)); " + byHand,
		},
		{
			"private", status(LinkStatus{State: Closed, External: addr("10.0.0.2"), Translation: TranslationPrivate}),
			"failed to open port 9003: the router's own address 10.0.0.2 is private: there is another router (or your provider's NAT) in front of it; " +
				"in that one's settings forward TCP and UDP port 9003 to 10.0.0.2 port 9003, or make one of the two a bridge",
		},
	} {
		if got := c.s.Sentence(); got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.name, got, c.want)
		}
	}
}

// Every refusal that has a name has a remedy or forwarding by hand as one.
func TestRemediesAreRanked(t *testing.T) {
	for _, p := range protocols {
		for code := range 1000 {
			s := status(refused(p, code, "x")).Sentence()
			if !strings.Contains(s, "settings") && !strings.Contains(s, "router") {
				t.Errorf("%v %d: %s", p, code, s)
			}
			if _, ok := best(refused(p, code, "x").Tried, Refused); !ok {
				t.Errorf("the remedy of %v %d is in no order", p, code)
			}
		}
	}
}

// UDP alone is of no use to who listens by TCP, nor is a port on a router behind another.
func TestReachable(t *testing.T) {
	behind := openBy(UPnP, TCP, UDP)
	behind.Translation = TranslationPrivate
	pinhole := status(LinkStatus{State: Closed})
	pinhole.IPv6 = openBy(PCP, TCP)
	publicHost := status(LinkStatus{State: Closed})
	publicHost.IPv4.Local = []netip.Addr{addr("11.0.0.9")}
	for name, c := range map[string]struct {
		s    Status
		want bool
	}{
		"open":             {status(openBy(PCP, TCP, UDP)), true},
		"UDP alone":        {status(openBy(NATPMP, UDP)), false},
		"behind another":   {status(behind), false},
		"closed":           {status(LinkStatus{State: Closed}), false},
		"asking":           {status(LinkStatus{State: Asking}), false},
		"a pinhole":        {pinhole, true},
		"a public address": {publicHost, true},
	} {
		if got := c.s.Reachable(); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
