package natpmp

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// running is a Mapper on a fake gateway, without the announcements that other
// gateways may make.
type running struct {
	*Mapper
	t      *testing.T
	cancel context.CancelFunc
	ended  chan struct{}
}

func run(t *testing.T, f *fakeGateway, protocols ...Protocol) *running {
	t.Helper()
	m := New(Config{Port: 9003, Protocols: Only(protocols...), Gateways: f.gateways})
	m.listen = deaf
	return runMapper(t, m)
}

func deaf(Gateway) (*net.UDPConn, error) { return nil, net.ErrClosed }

func runMapper(t *testing.T, m *Mapper) *running {
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{Mapper: m, t: t, cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(r.ended)
		m.Run(ctx)
	}()
	t.Cleanup(r.end)
	return r
}

// silence is the answer of who does not listen.
func silence([]byte) []byte { return nil }

// changesTo waits for the news that the IPv4 link is in a state.
func (r *running) changesTo(want State) {
	r.t.Helper()
	timeout := time.After(30 * time.Second)
	for r.Status().IPv4.State != want {
		select {
		case <-r.Changed():
		case <-timeout:
			r.t.Fatalf("waited in vain for the news of %q: %+v", want, r.Status().IPv4)
		}
	}
}

// end stops the mapper and waits for it, which takes two seconds at most.
func (r *running) end() {
	began := time.Now()
	r.cancel()
	<-r.ended
	if took := time.Since(began); took > 3*time.Second {
		r.t.Errorf("it ended after %v", took)
	}
}

// until looks at the status until it is as wanted.
func (r *running) until(what string, holds func(Status) bool) Status {
	r.t.Helper()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	timeout := time.After(15 * time.Second)
	for {
		if s := r.Status(); holds(s) {
			return s
		}
		select {
		case <-look.C:
		case <-timeout:
			r.t.Fatalf("waited in vain for: %s; now %s", what, r.Status().Sentence())
		}
	}
}

func settled(s Status) bool { return s.IPv4.State == Open || s.IPv4.State == Closed }

// goodGateways do what they should, each in its way.
var goodGateways = []struct {
	name      string
	protocols []Protocol
	set       func(*fakeGateway)
	want      string // the sentence, but for the gateway's address and the time
}{
	{"all", nil, nil, "port 9003 is open: the router R forwards 11.0.0.7:9003 to this machine (PCP, until T)"},
	{"PCP", []Protocol{PCP}, nil, "port 9003 is open: the router R forwards 11.0.0.7:9003 to this machine (PCP, until T)"},
	{"NAT-PMP", []Protocol{NATPMP}, nil, "port 9003 is open: the router R forwards 11.0.0.7:9003 to this machine (NAT-PMP, until T)"},
	{"UPnP", []Protocol{UPnP}, nil, "port 9003 is open: the router R forwards 11.0.0.7:9003 to this machine (UPnP, until T)"},
	{
		"no PCP", nil,
		func(f *fakeGateway) {
			f.port5351 = func(b []byte) []byte {
				if b[0] == pcpVersion {
					return []byte{0, 0x80, 0, 1, 0, 0, 0, 9}
				}
				return f.answer5351(b)
			}
		},
		"port 9003 is open: the router R forwards 11.0.0.7:9003 to this machine (NAT-PMP, until T)",
	},
	{
		"PCP refuses", nil,
		func(f *fakeGateway) {
			f.port5351 = func(b []byte) []byte {
				a := f.answer5351(b)
				if b[0] == pcpVersion && b[1] == opMap {
					a[3] = pcpNotAuthorized
				}
				return a
			}
		},
		"port 9003 is open: the router R forwards 11.0.0.7:9003 to this machine (NAT-PMP, until T)",
	},
	{
		"only UPnP", nil,
		func(f *fakeGateway) { f.port5351 = func([]byte) []byte { return nil } },
		"port 9003 is open: the router R forwards 11.0.0.7:9003 to this machine (UPnP, until T)",
	},
	{
		"taken, PCP",
		[]Protocol{PCP},
		func(f *fakeGateway) { f.taken = map[string]bool{"TCP 9003": true} },
		"port 9003 is open by external port 9004: the router R forwards 11.0.0.7:9004 to this machine (PCP, until T)",
	},
	{
		"taken for TCP and the next for UDP",
		[]Protocol{NATPMP},
		func(f *fakeGateway) { f.taken = map[string]bool{"TCP 9003": true, "UDP 9004": true} },
		"port 9003 is open by external port 9004 (TCP) and 9005 (UDP): the router R forwards 11.0.0.7:9004 to this machine (NAT-PMP, until T)",
	},
	{
		"taken, IGD 2",
		[]Protocol{UPnP},
		func(f *fakeGateway) { f.taken = map[string]bool{"TCP 9003": true} },
		"port 9003 is open by external port 9004: the router R forwards 11.0.0.7:9004 to this machine (UPnP, until T)",
	},
	{
		"IGD 1 without leases",
		[]Protocol{UPnP},
		func(f *fakeGateway) { f.igd, f.lease = 1, false },
		"port 9003 is open: the router R forwards 11.0.0.7:9003 to this machine (UPnP, until it is removed)",
	},
	{
		"private address",
		[]Protocol{NATPMP},
		func(f *fakeGateway) { f.external = addr("10.0.0.2") },
		"port 9003 is open on the router R, but not to the internet: the router's own address 10.0.0.2 is private: there is another router " +
			"(or your provider's NAT) in front of it; in that one's settings forward TCP and UDP port 9003 to 10.0.0.2 port 9003, or make one of the two a bridge",
	},
	{
		"carrier's address",
		[]Protocol{UPnP},
		func(f *fakeGateway) { f.external = addr("100.64.3.4") },
		"port 9003 is open on the router R, but not to the internet: the router's own address 100.64.3.4 is of your provider's NAT, " +
			"which nobody reaches from outside; ask the provider for a public IPv4 address, or use IPv6",
	},
}

// TestMapper maps on gateways that do what they should.
func TestMapper(t *testing.T) {
	for _, c := range goodGateways {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var set []func(*fakeGateway)
			if c.set != nil {
				set = append(set, c.set)
			}
			f := newFakeGateway(t, set...)
			r := run(t, f, c.protocols...)
			s := r.until("open", settled)
			want := strings.ReplaceAll(c.want, " R", " "+f.addr.String())
			if len(s.IPv4.Mappings) > 0 {
				want = strings.ReplaceAll(want, " T)", " "+s.IPv4.Mappings[0].Until.Local().Format("15:04")+")")
			}
			if got := s.Sentence(); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			r.end()
			if rest := f.list(); rest != "map[]" {
				t.Errorf("left on the gateway: %s", rest)
			}
		})
	}
}

// Of protocols that all answer one is asked for a mapping.
func TestMapperAsksOneProtocol(t *testing.T) {
	f := newFakeGateway(t)
	r := run(t, f)
	r.until("open", settled)
	if pcp, rest := f.count("pcp"), f.count("natpmp")+f.count("upnp"); pcp != 2 || rest != 0 {
		t.Errorf("PCP was asked for %d mappings, others for %d", pcp, rest)
	}
}

// IGD 1 says that a port is taken: by another machine, then another port is
// asked for; by this one, then that is the mapping of an earlier run.
func TestMapperConflict(t *testing.T) {
	f := newFakeGateway(t, func(f *fakeGateway) { f.igd, f.taken = 1, map[string]bool{"TCP 9003": true} })
	r := run(t, f, UPnP)
	if got := r.until("open", settled).External(TCP); got == 9003 || got < 1024 {
		t.Errorf("port %d", got)
	}
	r.end()

	f = newFakeGateway(t, func(f *fakeGateway) {
		f.igd, f.taken = 1, map[string]bool{"TCP 9003": true, "UDP 9003": true}
		f.mapped = map[string]string{"TCP 9003": "127.0.0.1:9003", "UDP 9003": "127.0.0.1:9003"}
	})
	r = run(t, f, UPnP)
	if got := r.until("open", settled).External(TCP); got != 9003 {
		t.Errorf("port %d", got)
	}
}

func TestMapperTellsOfChanges(t *testing.T) {
	f := newFakeGateway(t)
	r := run(t, f)
	r.changesTo(Open)
	if s := r.Status(); s.External(UDP) != 9003 {
		t.Errorf("%+v", s)
	}
	r.end()
	r.changesTo(Ended)
	if s := r.Status(); len(s.IPv4.Mappings) != 0 {
		t.Errorf("%+v", s)
	}
	silent := run(t, newFakeGateway(t, func(f *fakeGateway) { f.port5351, f.ssdp = silence, silence }))
	silent.changesTo(Closed) // which is news, though nothing was mapped before
}

// Another address of the gateway is another gateway.
func TestMapperFollowsTheGateway(t *testing.T) {
	t.Parallel()
	first, second := newFakeGateway(t), newFakeGateway(t, func(f *fakeGateway) { f.external = addr("11.0.0.8") })
	now := make(chan *fakeGateway, 1)
	now <- first
	m := New(Config{Port: 9003, Gateways: func() (Gateways, error) {
		f := <-now
		now <- f
		return f.gateways()
	}})
	m.listen = deaf
	m.limits.poll = time.Millisecond
	r := runMapper(t, m)
	r.until("open", settled)
	<-now
	now <- second
	s := r.until("the other gateway", func(s Status) bool { return s.IPv4.External == second.external })
	if s.IPv4.Gateway != second.addr || len(s.IPv4.Mappings) != 2 {
		t.Errorf("%+v", s.IPv4)
	}
}

// A gateway that was started anew says so, in PCP as in NAT-PMP.
func TestMapperHearsAnnouncements(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		protocol Protocol
		packet   []byte
	}{
		{PCP, pcpAnswer{opcode: opAnnounce, epoch: 1}.append(nil)},
		{NATPMP, []byte{0, 0x80, 0, 0, 0, 0, 0, 1, 11, 0, 0, 7}},
	} {
		f := newFakeGateway(t)
		m := New(Config{Port: 9003, Protocols: Only(c.protocol), Gateways: f.gateways})
		heard := make(chan *net.UDPConn, 2)
		m.listen = func(Gateway) (*net.UDPConn, error) {
			conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
			heard <- conn
			return conn, err
		}
		r := runMapper(t, m)
		before := r.until("open", settled).IPv4.Mappings[0].Granted
		f.reboot()
		to := (<-heard).LocalAddr().(*net.UDPAddr)
		say(t, "127.0.0.1", to, c.packet) // not the gateway
		say(t, f.addr.String(), to, []byte("\x02\x80"))
		say(t, f.addr.String(), to, c.packet)
		r.until("open again", func(s Status) bool { return len(s.IPv4.Mappings) > 0 && s.IPv4.Mappings[0].Granted.After(before) })
		if f.list() == "map[]" {
			t.Error("it is not mapped again")
		}
	}
}

// say sends one packet from an address.
func say(t *testing.T, from string, to *net.UDPAddr, packet []byte) {
	t.Helper()
	conn, err := net.DialUDP("udp4", &net.UDPAddr{IP: net.ParseIP(from)}, to)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(packet); err != nil {
		t.Fatal(err)
	}
}

// What enough others see is compared with what the gateway says.
func TestMapperIsSeenElsewhere(t *testing.T) {
	f := newFakeGateway(t)
	r := run(t, f)
	r.until("open", settled)
	for _, from := range []string{"1.1.1.1", "2.2.2.2", "3.3.3.3"} {
		r.Seen(addr(from), addr("5.6.7.8"))
	}
	want := fmt.Sprintf("port 9003 is open on the router %s, but not to the internet: others see this machine at 5.6.7.8, but the router's own address is 11.0.0.7: "+
		"another router, your provider's NAT or a VPN is between; set up the forwarding there, or ask the provider for a public IPv4 address", f.addr)
	if got := r.Status().Sentence(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestStatusAsJSON(t *testing.T) {
	f := newFakeGateway(t)
	s := run(t, f).until("open", settled)
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var again Status
	if err := json.Unmarshal(b, &again); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	if again.Sentence() != s.Sentence() {
		t.Errorf("%s\n%s", again.Sentence(), b)
	}
	for _, want := range []string{`"port":9003`, `"transports":["tcp","udp"]`, `"protocol":"pcp"`, `"state":"open"`, `"external":"11.0.0.7"`, `"state":"no gateway"`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("no %s in %s", want, b)
		}
	}
}
