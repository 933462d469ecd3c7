package natpmp

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// trap is a server that nothing may be sent to.
type trap struct {
	url   string
	asked atomic.Int32
}

func newTrap(t *testing.T) *trap {
	tr := &trap{}
	newFakeGateway(t, func(f *fakeGateway) {
		f.web = func(http.ResponseWriter, *http.Request) { tr.asked.Add(1) }
		tr.url = fmt.Sprintf("http://%s:%d/", f.addr, f.webPort)
	})
	return tr
}

const metadata = "http://169.254.169.254/latest/meta-data/"

func silent([]byte) []byte { return nil }

// web is a gateway that only speaks UPnP, with another description or SOAP.
func web(description func(*fakeGateway) http.HandlerFunc, soap http.HandlerFunc) func(*fakeGateway, *trap) {
	return func(f *fakeGateway, _ *trap) {
		f.port5351 = silent
		right := f.answerWeb
		f.web = func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.Method == http.MethodGet && description != nil:
				description(f)(w, r)
			case r.Method == http.MethodPost && soap != nil:
				soap(w, r)
			default:
				right(w, r)
			}
		}
	}
}

func saying(body string) func(*fakeGateway) http.HandlerFunc {
	return func(*fakeGateway) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, body) }
	}
}

// floods writes forty megabytes, and counts when they were taken whole.
func floods(head string, whole *atomic.Int64) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, head)
		chunk := bytes.Repeat([]byte("<a>aaaaaaaaa</a>"), 4096)
		for range 640 {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
		whole.Add(1)
	}
}

// hangs answers nothing until the client has gone.
func hangs(_ http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body) // before that the server doesn't notice who goes
	<-r.Context().Done()
}

func bent(bend func(b []byte)) func(*fakeGateway, *trap) {
	return func(f *fakeGateway, _ *trap) {
		f.ssdp = silent
		f.port5351 = func(b []byte) []byte {
			a := f.answer5351(b)
			if len(b) > pcpHeader || len(b) == 12 { // what asks for mappings
				bend(a)
			}
			return a
		}
	}
}

// hostileGateways lie, or are broken.
var hostileGateways = []struct {
	name     string
	protocol Protocol
	set      func(*fakeGateway, *trap)
	problem  string // a part of what the status tells
}{
	{"says nothing", 0, func(f *fakeGateway, _ *trap) { f.port5351, f.ssdp = silent, silent }, "answered neither PCP, NAT-PMP nor UPnP"},
	{"says only nonsense", 0, func(f *fakeGateway, _ *trap) {
		f.port5351 = func([]byte) []byte { return []byte{2, 0x81, 0} }
		f.ssdp = func([]byte) []byte { return []byte("HTTP/1.1 200") }
	}, "cannot be used"},
	{"repeats the request", 0, func(f *fakeGateway, _ *trap) {
		f.port5351 = func(b []byte) []byte { return b }
		f.ssdp = func(b []byte) []byte { return b }
	}, "cannot be used"},

	{"another nonce", PCP, bent(func(a []byte) { a[24]++ }), "no PCP"},
	{"another transport", PCP, bent(func(a []byte) { a[36]++ }), "no PCP"},
	{"another internal port", PCP, bent(func(a []byte) { a[41]++ }), "no PCP"},
	{"external port 0", PCP, bent(func(a []byte) { a[42], a[43] = 0, 0 }), "port 0"},
	{"no lifetime", PCP, bent(func(a []byte) { copy(a[4:8], make([]byte, 4)) }), "no time"},
	{"multicast address", PCP, bent(func(a []byte) { a[56] = 224 }), "no usable external address"},
	{"no address", PCP, bent(func(a []byte) { copy(a[56:60], make([]byte, 4)) }), "no usable external address"},
	{"wrong client address", PCP, bent(func(a []byte) { a[3] = pcpAddressMismatch }), "another router is between"},
	{"not authorized", PCP, bent(func(a []byte) { a[3] = pcpNotAuthorized }), "NOT_AUTHORIZED"},

	{"another internal port", NATPMP, bent(func(a []byte) { a[9]++ }), "cannot be used"},
	{"external port 0", NATPMP, bent(func(a []byte) { a[10], a[11] = 0, 0 }), "cannot be used"},
	{"no lifetime", NATPMP, bent(func(a []byte) { copy(a[12:16], make([]byte, 4)) }), "cannot be used"},
	{"not authorized", NATPMP, bent(func(a []byte) { a[3] = 2 }), "not authorized"},
	{"another opcode", NATPMP, bent(func(a []byte) { a[1]++ }), "cannot be used"},

	{"location elsewhere", UPnP, func(f *fakeGateway, tr *trap) {
		f.ssdp = func([]byte) []byte { return searchAnswer(ssdpTargets[0], tr.url+"rootDesc.xml") }
	}, "points elsewhere"},
	{"location by name", UPnP, func(f *fakeGateway, _ *trap) {
		f.ssdp = func([]byte) []byte {
			return searchAnswer(ssdpTargets[0], fmt.Sprintf("http://localhost:%d/", f.webPort))
		}
	}, "points elsewhere"},
	{"location at the metadata service", UPnP, func(f *fakeGateway, _ *trap) {
		f.ssdp = func([]byte) []byte { return searchAnswer(ssdpTargets[0], metadata) }
	}, "points elsewhere"},
	{"redirect elsewhere", UPnP, func(f *fakeGateway, tr *trap) {
		web(func(*fakeGateway) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, tr.url, http.StatusFound) }
		}, nil)(f, tr)
	}, "302"},
	{"redirect to the metadata service", UPnP, web(func(*fakeGateway) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, metadata, http.StatusFound) }
	}, nil), "302"},
	{"control elsewhere", UPnP, func(f *fakeGateway, tr *trap) {
		web(saying(description("WANIPConnection:1", tr.url)), nil)(f, tr)
	}, "points elsewhere"},
	{"base elsewhere", UPnP, func(f *fakeGateway, tr *trap) {
		web(saying(strings.Replace(description("WANIPConnection:1", "/control"), "<device>", "<URLBase>"+tr.url+"</URLBase><device>", 1)), nil)(f, tr)
	}, "points elsewhere"},
	{"control redirects", UPnP, func(f *fakeGateway, tr *trap) {
		web(nil, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, tr.url, http.StatusTemporaryRedirect)
		})(f, tr)
	}, "cannot be used"},
	{"no connection", UPnP, web(saying(description("WANCommonInterfaceConfig:1", "/control")), nil), "no connection that maps ports"},
	{"not found", UPnP, web(func(*fakeGateway) http.HandlerFunc { return http.NotFound }, nil), "404"},
	{"no XML", UPnP, web(saying("<html><p>Log in"), nil), "description"},
	{"silent web server", UPnP, web(func(*fakeGateway) http.HandlerFunc { return hangs }, nil), "no UPnP"},
	{"silent control", UPnP, web(nil, hangs), "no UPnP"},
	{"refuses in colour", UPnP, web(nil, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
		io.WriteString(w, soapFault(upnpNotAuthorized, "&#x9b;31m&lt;script&gt;"+strings.Repeat("no ", 1000)))
	}), "refuses by UPnP (31m<script>no no"},
}

// TestHostileGateways maps nothing, sends nothing to anybody else, and comes
// to an end in time.
func TestHostileGateways(t *testing.T) {
	for _, c := range hostileGateways {
		t.Run(c.name+", "+c.protocol.String(), func(t *testing.T) {
			t.Parallel()
			tr := newTrap(t)
			f := newFakeGateway(t, func(f *fakeGateway) { c.set(f, tr) })
			var only []Protocol
			if c.protocol != 0 {
				only = []Protocol{c.protocol}
			}
			began := time.Now()
			m := New(Config{Port: 9003, Protocols: Only(only...), Gateways: f.gateways})
			m.listen, m.limits.start = deaf, time.Second
			r := runMapper(t, m)
			s := r.until("an end", settled)
			if took := time.Since(began); took > r.limits.start+2*time.Second {
				t.Errorf("it took %v", took)
			}
			if got := s.Sentence(); s.IPv4.State != Closed || !strings.Contains(got, c.problem) {
				t.Errorf("no %q in %s", c.problem, got)
			}
			if n := tr.asked.Load(); n != 0 {
				t.Errorf("somebody else was asked %d times", n)
			}
		})
	}
}

// A flood is not read, wherever it comes.
func TestHostileGatewayFloods(t *testing.T) {
	var fromDescription, fromControl atomic.Int64
	for name, c := range map[string]struct {
		set   func(*fakeGateway, *trap)
		whole *atomic.Int64
	}{
		"description": {web(func(*fakeGateway) http.HandlerFunc {
			return floods(`<root xmlns="urn:schemas-upnp-org:device-1-0">`, &fromDescription)
		}, nil), &fromDescription},
		"control": {web(nil, floods(`<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>`, &fromControl)), &fromControl},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeGateway(t, func(f *fakeGateway) { c.set(f, nil) })
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			s := run(t, f, UPnP).until("an end", settled)
			runtime.ReadMemStats(&after)
			if s.IPv4.State != Closed {
				t.Error(s.Sentence())
			}
			if c.whole.Load() != 0 {
				t.Error("the flood was taken whole")
			}
			if n := after.TotalAlloc - before.TotalAlloc; n > 8<<20 {
				t.Errorf("%d bytes were allocated", n)
			}
		})
	}
}

func TestBoundedBody(t *testing.T) {
	for _, c := range []struct {
		size int
		ok   bool
	}{{0, true}, {upnpBodyMost - 1, true}, {upnpBodyMost, false}, {10 << 20, false}} {
		b := &boundedBody{ReadCloser: io.NopCloser(bytes.NewReader(make([]byte, c.size))), left: upnpBodyMost}
		got, err := io.ReadAll(b)
		if (err == nil) != c.ok || len(got) != min(c.size, upnpBodyMost) {
			t.Errorf("of %d bytes %d are read: %v", c.size, len(got), err)
		}
	}
}

// A gateway may be slow: in each protocol later sends get the answer.
func TestLateGateway(t *testing.T) {
	for _, p := range []Protocol{PCP, NATPMP} {
		t.Run(p.String(), func(t *testing.T) {
			t.Parallel()
			f := newFakeGateway(t, func(f *fakeGateway) {
				f.port5351 = func(b []byte) []byte {
					<-time.After(150 * time.Millisecond)
					return f.answer5351(b)
				}
			})
			m := New(Config{Port: 9003, Protocols: Only(p), Gateways: f.gateways})
			m.listen = deaf
			s := runMapper(t, m).until("an end", settled)
			if s.IPv4.State != Open {
				t.Error(s.Sentence())
			}
		})
	}
}

// Answers of others than the gateway are no answers.
func TestSearchHearsTheGatewayAlone(t *testing.T) {
	f := newFakeGateway(t)
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	to := conn.LocalAddr().(*net.UDPAddr)
	liar := searchAnswer(ssdpTargets[0], fmt.Sprintf("http://%s:1/liar", f.addr))
	for range 3 {
		say(t, "127.0.0.1", to, liar)
	}
	say(t, f.addr.String(), to, searchAnswer(ssdpTargets[0], fmt.Sprintf("http://%s:1/true", f.addr)))
	conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	budget := ssdpBudget{answers: ssdpAnswers, strays: ssdpStrays}
	u, err := awaitLocation(conn, f.addr, &budget)
	if err != nil || u.Path != "/true" {
		t.Errorf("%v %v", u, err)
	}
	if budget.strays != ssdpStrays-3 {
		t.Errorf("%d strays are left", budget.strays)
	}
	budget = ssdpBudget{answers: 1, strays: 2}
	for range 3 {
		say(t, "127.0.0.1", to, liar)
	}
	if _, err := awaitLocation(conn, f.addr, &budget); err == nil || err == errSilent {
		t.Errorf("a flood ends in %v", err)
	}
}

// The address is looked at when it is dialled, too: should a URL get past the
// check before, or a name.
func TestGatewayHTTPDialsTheGatewayAlone(t *testing.T) {
	tr := newTrap(t)
	f := newFakeGateway(t)
	client := newGatewayHTTP(f.addr, addr("127.0.0.1"))
	if _, err := client.Get(tr.url); err == nil {
		t.Error("another address was asked")
	}
	u, _ := url.Parse(tr.url)
	inner := client.Transport.(*gatewayTransport).inner
	if conn, err := inner.DialContext(context.Background(), "tcp", u.Host); err == nil {
		conn.Close()
		t.Error("another address was dialled")
	}
	if inner.Proxy != nil {
		t.Error("it uses a proxy")
	}
	if tr.asked.Load() != 0 {
		t.Error("the trap was asked")
	}
}

func TestOnGateway(t *testing.T) {
	v4, v6 := netip.MustParseAddr("192.168.1.1"), netip.MustParseAddr("fe80::1%eth0")
	for _, c := range []struct {
		url     string
		gateway netip.Addr
		ok      bool
	}{
		{"http://192.168.1.1:5000/rootDesc.xml", v4, true},
		{"http://192.168.1.1/", v4, true},
		{"http://[fe80::1%25eth0]:5000/", v6, true},
		{"http://[fe80::1%25eth1]:5000/", v6, false},
		{"http://[fe80::1]:5000/", v6, false},
		{"http://192.168.1.2/", v4, false},
		{"http://[::ffff:192.168.1.1]/", v4, true},
		{"https://192.168.1.1/", v4, false},
		{"http://user@192.168.1.1/", v4, false},
		{"http://router.lan/", v4, false},
		{"http://3232235777/", v4, false},
		{"http://192.168.1.1.example/", v4, false},
		{"http:192.168.1.1", v4, false},
		{"/rootDesc.xml", v4, false},
		{"", v4, false},
	} {
		u, err := url.Parse(c.url)
		if err != nil {
			t.Fatal(err)
		}
		if err := onGateway(u, c.gateway); (err == nil) != c.ok {
			t.Errorf("%q on %s: %v", c.url, c.gateway, err)
		}
	}
}

func FuzzSearchAnswer(f *testing.F) {
	gateway := netip.MustParseAddr("192.168.1.1")
	f.Add(searchAnswer(ssdpTargets[0], "http://192.168.1.1:5000/rootDesc.xml"))
	f.Add(searchAnswer(ssdpTargets[1], metadata))
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		u, err := parseSearchAnswer(b, gateway)
		if err == nil && onGateway(u, gateway) != nil {
			t.Errorf("it leads to %s", u)
		}
	})
}

func FuzzDescription(f *testing.F) {
	gateway := netip.MustParseAddr("192.168.1.1")
	at, _ := url.Parse("http://192.168.1.1:5000/rootDesc.xml")
	f.Add([]byte(description("WANIPConnection:2", "/control")))
	f.Add([]byte(description("WANPPPConnection:1", metadata)))
	f.Add([]byte(strings.Repeat("<device>", 8000)))
	f.Add([]byte("<root xmlns=\"urn:schemas-upnp-org:device-1-0\">" + strings.Repeat("<device><deviceList>", 3000)))
	f.Fuzz(func(t *testing.T, b []byte) {
		root, err := parseDescription(bytes.NewReader(b[:min(len(b), upnpBodyMost)]), at)
		if err != nil {
			return
		}
		found, _ := connections(root, at, http.DefaultClient, gateway)
		if len(found) > upnpServicesMost {
			t.Errorf("%d connections", len(found))
		}
	})
}

func FuzzAnnounced(f *testing.F) {
	f.Add(pcpAnswer{opcode: opAnnounce, epoch: 1}.append(nil))
	f.Add([]byte{0, 0x80, 0, 0, 0, 0, 0, 1, 11, 0, 0, 7})
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, ok := announced(b); ok && len(b) < 12 {
			t.Errorf("%x is an announcement", b)
		}
	})
}
