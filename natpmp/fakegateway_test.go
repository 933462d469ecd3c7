package natpmp

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// fakeGateway is a router on a loopback address of its own, at the ports of a
// real one. Its functions are the parts that tests replace.
type fakeGateway struct {
	t    *testing.T
	addr netip.Addr

	// port5351 answers PCP and NAT-PMP; nil answers are silence.
	port5351 func(request []byte) []byte
	// ssdp answers a search.
	ssdp func(request []byte) []byte
	// web serves the description and takes SOAP.
	web http.HandlerFunc

	webPort  uint16
	external netip.Addr
	lifetime uint32
	igd      int             // the version that it describes
	taken    map[string]bool // "TCP 9003": what other machines have
	lease    bool            // whether UPnP knows leases
	service  string          // that it describes; empty: WANIPConnection of igd
	pinholes int             // 1 if the IPv6 firewall allows any

	mu sync.Mutex // guards the following
	// mapped are the mappings: "TCP 9003" to "natpmp 127.0.0.1:9003".
	mapped map[string]string
	grants map[string]int // requests for mappings, by protocol
	born   time.Time      // when its epoch began
}

var fakes atomic.Uint32

// newFakeGateway starts one that does everything right, but for what is set.
func newFakeGateway(t *testing.T, set ...func(*fakeGateway)) *fakeGateway {
	t.Helper()
	n, pid := fakes.Add(1), os.Getpid()
	f := &fakeGateway{
		t: t, addr: netip.AddrFrom4([4]byte{127, byte(1 + pid%250), byte(pid / 250), byte(2 + n%250)}),
		external: addr("11.0.0.7"), lifetime: 3600, igd: 2, lease: true,
		taken: map[string]bool{}, mapped: map[string]string{}, grants: map[string]int{}, born: time.Now().Add(-time.Hour),
	}
	f.port5351, f.ssdp, f.web = f.answer5351, f.answerSearch, f.answerWeb
	l := f.listenHTTP()
	for _, s := range set {
		s(f)
	}
	f.serveHTTP(l)
	f.serveUDP(pcpPort, f.port5351)
	f.serveUDP(ssdpPort, f.ssdp)
	return f
}

// serveUDP answers packets from the port at which they arrive.
func (f *fakeGateway) serveUDP(port uint16, answer func([]byte) []byte) {
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(f.addr, port)))
	if err != nil {
		f.t.Fatal(err)
	}
	ended := make(chan struct{})
	f.t.Cleanup(func() {
		conn.Close()
		<-ended
	})
	go func() {
		defer close(ended)
		b := make([]byte, 2048)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			if a := answer(b[:n]); a != nil {
				conn.WriteToUDPAddrPort(a, from)
			}
		}
	}()
}

func (f *fakeGateway) listenHTTP() net.Listener {
	l, err := net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(netip.AddrPortFrom(f.addr, 0)))
	if err != nil {
		f.t.Fatal(err)
	}
	f.webPort = l.Addr().(*net.TCPAddr).AddrPort().Port()
	return l
}

func (f *fakeGateway) serveHTTP(l net.Listener) {
	server := &http.Server{Handler: f.web}
	ended := make(chan struct{})
	f.t.Cleanup(func() {
		server.Close()
		<-ended
	})
	go func() {
		defer close(ended)
		server.Serve(l)
	}()
}

// gateways is what a Mapper on this machine sees of it.
func (f *fakeGateway) gateways() (Gateways, error) {
	return Gateways{IPv4: Gateway{Addr: f.addr, Local: []netip.Addr{addr("127.0.0.1")}}}, nil
}

func (f *fakeGateway) epoch() uint32 { return uint32(time.Since(f.born) / time.Second) }

// reboot forgets the mappings and starts the epoch anew.
func (f *fakeGateway) reboot() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.born, f.mapped = time.Now(), map[string]string{}
}

func (f *fakeGateway) count(protocol string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.grants[protocol]
}

func (f *fakeGateway) list() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return fmt.Sprint(f.mapped)
}

// mapPort maps the external port or, if another machine has it, one above.
// Who has the port internally has the same one externally, again.
func (f *fakeGateway) mapPort(protocol, transport string, internal, external uint16, any bool) (uint16, bool) {
	f.grants[protocol]++
	to := fmt.Sprintf("127.0.0.1:%d", internal)
	for key, at := range f.mapped {
		var port uint16
		if n, _ := fmt.Sscanf(key, transport+" %d", &port); n == 1 && at == to && any {
			return port, true
		}
	}
	for f.taken[fmt.Sprint(transport, " ", external)] {
		if !any {
			return 0, false
		}
		external++
	}
	f.mapped[fmt.Sprint(transport, " ", external)] = to
	return external, true
}

func (f *fakeGateway) unmap(transport string, internal uint16) {
	for key, at := range f.mapped {
		if strings.HasPrefix(key, transport) && at == fmt.Sprintf("127.0.0.1:%d", internal) {
			delete(f.mapped, key)
		}
	}
}

func (f *fakeGateway) answer5351(b []byte) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(b) >= pcpHeader && b[0] == pcpVersion {
		return f.answerPCP(b)
	}
	return f.answerNATPMP(b)
}

func (f *fakeGateway) answerPCP(b []byte) []byte {
	a := pcpAnswer{opcode: b[1], lifetime: f.lifetime, epoch: f.epoch()}
	if a.opcode == opMap {
		a.mapped = parseMapData(b[pcpHeader:])
		if binary.BigEndian.Uint32(b[4:]) == 0 {
			f.unmap(a.mapped.transport.String(), a.mapped.internalPort)
			a.lifetime = 0
			return a.append(nil)
		}
		a.mapped.externalPort, _ = f.mapPort("pcp", a.mapped.transport.String(), a.mapped.internalPort, a.mapped.externalPort, true)
		a.mapped.external = f.external
	}
	return a.append(nil)
}

// answerNATPMP answers opcodes 0, 1 (UDP) and 2 (TCP), RFC 6886 3.2, 3.3.
func (f *fakeGateway) answerNATPMP(b []byte) []byte {
	head := binary.BigEndian.AppendUint32([]byte{0, b[1] | 0x80, 0, 0}, f.epoch())
	if b[1] == 0 {
		return append(head, f.external.AsSlice()...)
	}
	transport := map[byte]string{1: "UDP", 2: "TCP"}[b[1]]
	internal, external := binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint16(b[6:])
	lifetime := f.lifetime
	if binary.BigEndian.Uint32(b[8:]) == 0 {
		f.unmap(transport, internal)
		external, lifetime = 0, 0
	} else {
		external, _ = f.mapPort("natpmp", transport, internal, external, true)
	}
	head = append(head, b[4:6]...)
	head = binary.BigEndian.AppendUint16(head, external)
	return binary.BigEndian.AppendUint32(head, lifetime)
}

func (f *fakeGateway) answerSearch(b []byte) []byte {
	target := regexp.MustCompile(`(?m)^ST: (.*)\r$`).FindSubmatch(b)
	if target == nil || !strings.HasSuffix(string(target[1]), fmt.Sprintf(":%d", f.igd)) {
		return nil
	}
	return searchAnswer(string(target[1]), fmt.Sprintf("http://%s:%d/rootDesc.xml", f.addr, f.webPort))
}

func searchAnswer(target, location string) []byte {
	return []byte("HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\nST: " + target +
		"\r\nUSN: uuid:1::" + target + "\r\nEXT:\r\nSERVER: fake\r\nLOCATION: " + location + "\r\n\r\n")
}

// description has one connection, with the control URL and of that service.
func description(service, control string) string {
	return `<?xml version="1.0"?><root xmlns="urn:schemas-upnp-org:device-1-0"><specVersion><major>1</major><minor>0</minor></specVersion>
<device><deviceType>urn:schemas-upnp-org:device:InternetGatewayDevice:1</deviceType><friendlyName>fake</friendlyName><deviceList>
<device><deviceType>urn:schemas-upnp-org:device:WANDevice:1</deviceType><deviceList>
<device><deviceType>urn:schemas-upnp-org:device:WANConnectionDevice:1</deviceType><serviceList>
<service><serviceType>urn:schemas-upnp-org:service:` + service + `</serviceType><serviceId>urn:upnp-org:serviceId:WANIPConn1</serviceId>
<SCPDURL>/scpd.xml</SCPDURL><controlURL>` + control + `</controlURL><eventSubURL>/event</eventSubURL></service>
</serviceList></device></deviceList></device></deviceList></device></root>`
}

func (f *fakeGateway) answerWeb(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		service := f.service
		if service == "" {
			service = fmt.Sprintf("WANIPConnection:%d", f.igd)
		}
		io.WriteString(w, description(service, "/control"))
		return
	}
	b, _ := io.ReadAll(io.LimitReader(r.Body, 1<<16))
	action := r.Header.Get("SOAPACTION")
	action = strings.Trim(action[strings.Index(action, "#")+1:], `"`)
	f.mu.Lock()
	defer f.mu.Unlock()
	code, out := f.answerSOAP(action, func(name string) string {
		m := regexp.MustCompile("<" + name + ">([^<]*)</").FindSubmatch(b)
		if m == nil {
			return ""
		}
		return string(m[1])
	})
	if code != 0 {
		w.WriteHeader(http.StatusInternalServerError)
		io.WriteString(w, soapFault(code, "no"))
		return
	}
	io.WriteString(w, `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body><u:`+
		action+`Response xmlns:u="urn:schemas-upnp-org:service:WANIPConnection:1">`+out+`</u:`+action+`Response></s:Body></s:Envelope>`)
}

func soapFault(code int, text string) string {
	return fmt.Sprintf(`<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body>
<s:Fault><faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring><detail><UPnPError xmlns="urn:schemas-upnp-org:control-1-0">
<errorCode>%d</errorCode><errorDescription>%s</errorDescription></UPnPError></detail></s:Fault></s:Body></s:Envelope>`, code, text)
}

// answerSOAP does an action, and returns an error's code or the answer's
// elements.
func (f *fakeGateway) answerSOAP(action string, in func(string) string) (int, string) {
	var internal, external uint16
	fmt.Sscan(in("NewInternalPort"), &internal)
	fmt.Sscan(in("NewExternalPort"), &external)
	key := fmt.Sprint(in("NewProtocol"), " ", external)
	switch action {
	case "GetExternalIPAddress":
		return 0, "<NewExternalIPAddress>" + f.external.String() + "</NewExternalIPAddress>"
	case "AddPortMapping", "AddAnyPortMapping":
		if !f.lease && in("NewLeaseDuration") != "0" {
			return upnpOnlyPermanent, ""
		}
		port, ok := f.mapPort("upnp", in("NewProtocol"), internal, external, action == "AddAnyPortMapping")
		if !ok {
			return upnpConflict, ""
		}
		return 0, fmt.Sprintf("<NewReservedPort>%d</NewReservedPort>", port)
	case "GetSpecificPortMappingEntry":
		at, port, ok := strings.Cut(f.mapped[key], ":")
		if !ok {
			return upnpNoSuchEntry, ""
		}
		return 0, "<NewInternalPort>" + port + "</NewInternalPort><NewInternalClient>" + at + "</NewInternalClient><NewEnabled>1</NewEnabled>" +
			"<NewPortMappingDescription>Torrente</NewPortMappingDescription><NewLeaseDuration>3600</NewLeaseDuration>"
	case "DeletePortMapping":
		delete(f.mapped, key)
		return 0, ""
	}
	return f.answerFirewall(action, in)
}

// answerFirewall does the actions of the IPv6 firewall; pinholes are named by
// their number.
func (f *fakeGateway) answerFirewall(action string, in func(string) string) (int, string) {
	id := "pinhole " + in("UniqueID")
	_, exists := f.mapped[id]
	switch action {
	case "GetFirewallStatus":
		return 0, fmt.Sprintf("<FirewallEnabled>1</FirewallEnabled><InboundPinholeAllowed>%d</InboundPinholeAllowed>", f.pinholes)
	case "AddPinhole":
		f.grants["pinhole"]++
		f.mapped[fmt.Sprint("pinhole ", f.grants["pinhole"])] = in("InternalClient")
		return 0, fmt.Sprintf("<UniqueID>%d</UniqueID>", f.grants["pinhole"])
	case "UpdatePinhole", "GetPinholePackets", "DeletePinhole":
		if !exists {
			return upnpNoSuchPinhole, ""
		}
		if action == "DeletePinhole" {
			delete(f.mapped, id)
		}
		return 0, "<PinholePackets>7</PinholePackets>"
	}
	return 401, ""
}
