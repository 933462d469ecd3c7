package natpmp

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"time"

	igd "github.com/huin/goupnp/dcps/internetgateway2"
)

// pinholeSpeaker asks a gateway's IPv6 firewall by UPnP
// (WANIPv6FirewallControl:1). SSDP finds the description over IPv4; the
// gateway believes who asks only for itself and over IPv6, so its port and path
// are taken at the IPv6 gateway.
type pinholeSpeaker struct {
	finder  Gateway // over IPv4
	gateway Gateway
	control *igd.WANIPv6FirewallControl1 // set by probe
	ids     map[wanted]uint16
}

func newPinhole(finder, g Gateway) *pinholeSpeaker {
	return &pinholeSpeaker{finder: finder, gateway: g, ids: map[wanted]uint16{}}
}

func (s *pinholeSpeaker) probe(ctx context.Context) error {
	found, err := search(ctx, s.finder)
	if err != nil {
		return err
	}
	at := at6(found, s.gateway.Addr)
	root, err := describe(ctx, newGatewayHTTP(s.gateway.Addr, s.gateway.Local[0]), at)
	if err != nil {
		return err
	}
	controls, _ := igd.NewWANIPv6FirewallControl1ClientsFromRootDevice(root, at)
	if len(controls) == 0 {
		return errors.New("the gateway describes no IPv6 firewall")
	}
	s.control = controls[0]
	// The URLs in the description may be those of IPv4.
	s.control.SOAPClient.EndpointURL = *at6(&s.control.SOAPClient.EndpointURL, s.gateway.Addr)
	return s.allowed(ctx)
}

// at6 is the same port and path at another address.
func at6(u *url.URL, addr netip.Addr) *url.URL {
	port := u.Port()
	if port == "" {
		port = "80"
	}
	moved := *u
	moved.Host = net.JoinHostPort(addr.String(), port)
	return &moved
}

// from is the control, asked from one of our addresses.
func (s *pinholeSpeaker) from(local netip.Addr) *igd.WANIPv6FirewallControl1 {
	c := *s.control
	client := *c.SOAPClient
	client.HTTPClient = *newGatewayHTTP(s.gateway.Addr, local)
	c.SOAPClient = &client
	return &c
}

// allowed asks whether the firewall's settings let anybody in.
func (s *pinholeSpeaker) allowed(ctx context.Context) error {
	on, pinholes, err := s.from(s.gateway.Local[0]).GetFirewallStatusCtx(ctx)
	if err != nil {
		return upnpError(err)
	}
	if on && !pinholes {
		return &refusal{protocol: UPnP, code: upnpNoPinholes, name: "InboundPinholeNotAllowed"}
	}
	return nil
}

// key is what a pinhole is known by here: the gateway may not change the port.
func key(w wanted) wanted {
	w.external = 0
	return w
}

// grant asks for the pinhole, or that the one it has lasts longer.
func (s *pinholeSpeaker) grant(ctx context.Context, w wanted) (Mapping, error) {
	c, seconds := s.from(w.local), uint32(lifetimeWanted/time.Second)
	if id, ok := s.ids[key(w)]; ok {
		err := upnpError(c.UpdatePinholeCtx(ctx, id, seconds))
		if err == nil {
			return w.granted(UPnP, w.local, w.port, time.Now(), lifetimeWanted), nil
		}
		if absent(err) {
			return Mapping{}, err
		}
		delete(s.ids, key(w)) // the gateway forgot it
	}
	id, err := c.AddPinholeCtx(ctx, "", 0, w.local.String(), w.port, uint16(w.transport), seconds)
	if err != nil {
		return Mapping{}, upnpError(err)
	}
	s.ids[key(w)] = id
	return w.granted(UPnP, w.local, w.port, time.Now(), lifetimeWanted), nil
}

// check asks how many packets came through, which only an existing pinhole
// answers; a gateway that cannot tell is believed.
func (s *pinholeSpeaker) check(ctx context.Context, m Mapping) error {
	_, err := s.from(m.Internal).GetPinholePacketsCtx(ctx, s.ids[key(m.again())])
	err = upnpError(err)
	if refusedBy(err, upnpNoSuchPinhole) {
		return errLost
	}
	var refused *refusal
	if errors.As(err, &refused) {
		return nil
	}
	return err
}

// observe believes any announcement: UPnP has no epoch to compare.
func (s *pinholeSpeaker) observe(uint32, time.Time) bool { return true }

func (s *pinholeSpeaker) release(ctx context.Context, m Mapping) error {
	id, ok := s.ids[key(m.again())]
	if !ok {
		return errLost
	}
	return upnpError(s.from(m.Internal).DeletePinholeCtx(ctx, id))
}
