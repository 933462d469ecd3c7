package natpmp

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

func wantTCP() wanted {
	return wanted{transport: TCP, local: addr("127.0.0.1"), port: 9003, external: 9003}
}

// within is the context of one request.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// speak probes the gateway and maps by one protocol.
func speak(t *testing.T, f *fakeGateway, p Protocol) (speaker, Mapping) {
	t.Helper()
	gs, _ := f.gateways()
	var calls sync.WaitGroup
	t.Cleanup(calls.Wait)
	s := map[Protocol]speaker{PCP: newPCP(gs.IPv4, []byte("secret")), NATPMP: newNATPMP(gs.IPv4, &calls), UPnP: newUPnP(gs.IPv4)}[p]
	if err := s.probe(within(t)); err != nil {
		t.Fatal(err)
	}
	m, err := s.grant(within(t), wantTCP())
	if err != nil {
		t.Fatal(err)
	}
	return s, m
}

// Each protocol notices a gateway that was started anew, and one that wasn't.
func TestSpeakersNoticeReboot(t *testing.T) {
	for _, p := range protocols {
		f := newFakeGateway(t)
		s, m := speak(t, f, p)
		if err := s.check(within(t), m); err != nil {
			t.Errorf("%v: %v", p, err)
		}
		f.reboot()
		if err := s.check(within(t), m); !errors.Is(err, errLost) {
			t.Errorf("%v: after a reboot: %v", p, err)
		}
		if again, err := s.grant(within(t), m.again()); err != nil || !again.sameAs(m) {
			t.Errorf("%v: mapped again as %+v, %v", p, again, err)
		}
		if err := s.check(within(t), m); err != nil {
			t.Errorf("%v: once more: %v", p, err)
		}
	}
}

// Another external address is noticed by what tells it.
func TestSpeakersNoticeExternalAddress(t *testing.T) {
	for _, p := range []Protocol{NATPMP, UPnP} {
		f := newFakeGateway(t)
		s, m := speak(t, f, p)
		f.mu.Lock()
		f.external = addr("11.0.0.99")
		f.mu.Unlock()
		if err := s.check(within(t), m); !errors.Is(err, errLost) {
			t.Errorf("%v: %v", p, err)
		}
	}
}

// A port that the gateway gave to somebody else is lost.
func TestUPnPNoticesOtherClient(t *testing.T) {
	f := newFakeGateway(t)
	s, m := speak(t, f, UPnP)
	f.mu.Lock()
	f.mapped["TCP 9003"] = "192.168.1.99:22"
	f.mu.Unlock()
	if err := s.check(within(t), m); !errors.Is(err, errLost) {
		t.Error(err)
	}
}

// A gateway that claims to have mapped, but has not, is found out.
func TestUPnPReadsBack(t *testing.T) {
	f := newFakeGateway(t)
	s, _ := speak(t, f, UPnP)
	u := s.(*upnpSpeaker)
	for _, c := range []struct {
		entry string
		ok    bool
	}{{"127.0.0.1:9003", true}, {"127.0.0.1:9004", false}, {"192.168.1.99:9003", false}} {
		f.mu.Lock()
		f.mapped["TCP 9003"] = c.entry
		f.mu.Unlock()
		if err := u.readBack(within(t), wantTCP(), 9003); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.entry, err)
		}
	}
	if err := u.readBack(within(t), wantTCP(), 1); !errors.Is(err, errLost) {
		t.Errorf("without an entry: %v", err)
	}
}

func TestUPnPPPPConnection(t *testing.T) {
	f := newFakeGateway(t, func(f *fakeGateway) { f.igd, f.service = 1, "WANPPPConnection:1" })
	s, m := speak(t, f, UPnP)
	if m.ExternalPort != 9003 || s.release(within(t), m) != nil || f.list() != "map[]" {
		t.Errorf("%+v, left %s", m, f.list())
	}
	if err := s.release(within(t), m); err != nil {
		t.Errorf("what is gone is released: %v", err)
	}
}

// What a gateway refuses to delete is cut short.
func TestPCPShortens(t *testing.T) {
	f := newFakeGateway(t, func(f *fakeGateway) {
		f.port5351 = func(b []byte) []byte {
			a := f.answer5351(b)
			switch {
			case b[1] == opMap && b[4] == 0 && b[5] == 0 && b[6] == 0 && b[7] == 0:
				a[3] = pcpNotAuthorized
			case b[1] == opMap:
				copy(a[4:8], b[4:8])
			}
			return a
		}
	})
	s, m := speak(t, f, PCP)
	if err := s.release(within(t), m); err == nil || !strings.HasSuffix(err.Error(), "NOT_AUTHORIZED (2); it ends in 1m0s") {
		t.Error(err)
	}
}

// The IPv6 firewall is asked at the other gateway's address, by the port and
// path that SSDP told; here that is another loopback address.
func TestPinhole(t *testing.T) {
	firewall := newFakeGateway(t, func(f *fakeGateway) { f.service, f.pinholes = "WANIPv6FirewallControl:1", 1 })
	finder := newFakeGateway(t, func(f *fakeGateway) { f.webPort = firewall.webPort })
	v4, _ := finder.gateways()
	v6, _ := firewall.gateways()
	s := newPinhole(v4.IPv4, v6.IPv4)
	if err := s.probe(within(t)); err != nil {
		t.Fatal(err)
	}
	m, err := s.grant(within(t), wantTCP())
	if err != nil || m.External != m.Internal || m.ExternalPort != 9003 {
		t.Fatalf("%+v %v", m, err)
	}
	if _, err := s.grant(within(t), m.again()); err != nil || firewall.count("pinhole") != 1 {
		t.Errorf("renewed by %d pinholes: %v", firewall.count("pinhole"), err)
	}
	if err := s.check(within(t), m); err != nil {
		t.Error(err)
	}
	firewall.reboot()
	if err := s.check(within(t), m); !errors.Is(err, errLost) {
		t.Errorf("after a reboot: %v", err)
	}
	if _, err := s.grant(within(t), m.again()); err != nil || firewall.count("pinhole") != 2 {
		t.Errorf("made anew by %d pinholes: %v", firewall.count("pinhole"), err)
	}
	if err := s.release(within(t), m); err != nil || firewall.list() != "map[]" {
		t.Errorf("left %s: %v", firewall.list(), err)
	}
}

func TestPinholeForbidden(t *testing.T) {
	firewall := newFakeGateway(t, func(f *fakeGateway) { f.service = "WANIPv6FirewallControl:1" })
	gs, _ := firewall.gateways()
	if err := newPinhole(gs.IPv4, gs.IPv4).probe(within(t)); !refusedBy(err, upnpNoPinholes) {
		t.Error(err)
	}
	other := newFakeGateway(t)
	gs, _ = other.gateways()
	if err := newPinhole(gs.IPv4, gs.IPv4).probe(within(t)); err == nil {
		t.Error("a gateway without an IPv6 firewall is taken")
	}
}

// A zone is part of the host, escaped (RFC 6874).
func TestAt6(t *testing.T) {
	for _, c := range []struct{ from, addr, want string }{
		{"http://192.168.1.1:5000/rootDesc.xml", "fe80::1%eth0", "http://[fe80::1%25eth0]:5000/rootDesc.xml"},
		{"http://192.168.1.1/a?b", "2a00::1", "http://[2a00::1]:80/a?b"},
	} {
		found, _ := parseSearchAnswer(searchAnswer(ssdpTargets[0], c.from), addr("192.168.1.1"))
		moved := at6(found, netip.MustParseAddr(c.addr))
		if got := moved.String(); got != c.want || onGateway(moved, netip.MustParseAddr(c.addr)) != nil {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
}

// The library has results and silence as text alone.
func TestNATPMPErrors(t *testing.T) {
	for text, code := range map[string]int{
		"Non-zero result code 2 (Not Authorized/Refused)": 2,
		"Non-zero result code 77":                         77,
	} {
		var refused *refusal
		if err := natpmpError(errors.New(text)); !errors.As(err, &refused) || refused.code != code {
			t.Errorf("%q: %v", text, err)
		}
	}
	if err := natpmpError(errors.New("Timed out trying to contact gateway")); err != errSilent {
		t.Error(err)
	}
}
