package natpmp

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/huin/goupnp"
	igd "github.com/huin/goupnp/dcps/internetgateway2"
	"github.com/huin/goupnp/soap"
)

const (
	// upnpDescription is the mapping's name in the gateway's pages.
	upnpDescription = "Torrente"
	// upnpServicesMost is how many connections of a gateway are looked at.
	upnpServicesMost = 4
	// upnpPortsMost is how many external ports are tried when IGD 1 says that
	// one is taken.
	upnpPortsMost = 5
)

// wanConnection is what WANIPConnection:1, :2 and WANPPPConnection:1 have in
// common.
type wanConnection interface {
	AddPortMappingCtx(ctx context.Context, remoteHost string, externalPort uint16, protocol string, internalPort uint16, internalClient string, enabled bool, description string, lease uint32) error
	DeletePortMappingCtx(ctx context.Context, remoteHost string, externalPort uint16, protocol string) error
	GetExternalIPAddressCtx(ctx context.Context) (string, error)
	GetSpecificPortMappingEntryCtx(ctx context.Context, remoteHost string, externalPort uint16, protocol string) (internalPort uint16, internalClient string, enabled bool, description string, lease uint32, err error)
}

// anyPortMapper is what only WANIPConnection:2 can.
type anyPortMapper interface {
	AddAnyPortMappingCtx(ctx context.Context, remoteHost string, externalPort uint16, protocol string, internalPort uint16, internalClient string, enabled bool, description string, lease uint32) (uint16, error)
}

// upnpSpeaker speaks UPnP IGD with one gateway over IPv4.
type upnpSpeaker struct {
	gateway    Gateway
	client     *http.Client
	connection wanConnection // set by probe
	external   netip.Addr
}

func newUPnP(g Gateway) *upnpSpeaker {
	return &upnpSpeaker{gateway: g, client: newGatewayHTTP(g.Addr, g.Local[0])}
}

// probe finds the gateway's description and, in it, the connection that has
// an external address, or else the first.
func (s *upnpSpeaker) probe(ctx context.Context) error {
	at, err := search(ctx, s.gateway)
	if err != nil {
		return err
	}
	root, err := describe(ctx, s.client, at)
	if err != nil {
		return err
	}
	found, err := connections(root, at, s.client, s.gateway.Addr)
	if err != nil {
		return err
	}
	s.connection = found[0]
	for _, c := range found {
		if addr, err := externalOf(ctx, c); err == nil {
			s.connection, s.external = c, addr
			break
		}
	}
	return nil
}

// connections are the services of a description that map ports, best kind
// first, each with the bounded client in it and on the gateway itself.
func connections(root *goupnp.RootDevice, at *url.URL, client *http.Client, gateway netip.Addr) ([]wanConnection, error) {
	var found []wanConnection
	elsewhere := error(nil)
	add := func(c wanConnection, at *soap.SOAPClient) {
		if err := onGateway(&at.EndpointURL, gateway); err != nil {
			elsewhere = err
		} else if len(found) < upnpServicesMost {
			at.HTTPClient = *client
			found = append(found, c)
		}
	}
	ip2, _ := igd.NewWANIPConnection2ClientsFromRootDevice(root, at)
	for _, c := range ip2 {
		add(c, c.SOAPClient)
	}
	ip1, _ := igd.NewWANIPConnection1ClientsFromRootDevice(root, at)
	for _, c := range ip1 {
		add(c, c.SOAPClient)
	}
	ppp, _ := igd.NewWANPPPConnection1ClientsFromRootDevice(root, at)
	for _, c := range ppp {
		add(c, c.SOAPClient)
	}
	if len(found) > 0 {
		return found, nil
	}
	if elsewhere != nil {
		return nil, elsewhere
	}
	return nil, errors.New("the gateway describes no connection that maps ports")
}

// externalOf asks a connection for its external address.
func externalOf(ctx context.Context, c wanConnection) (netip.Addr, error) {
	said, err := c.GetExternalIPAddressCtx(ctx)
	if err != nil {
		return netip.Addr{}, upnpError(err)
	}
	addr, err := netip.ParseAddr(clean(said))
	if err != nil || !addr.Is4() {
		return netip.Addr{}, errors.New("the gateway says no usable external address")
	}
	return addr, usableExternal(addr)
}

// address is the external one that it said last.
func (s *upnpSpeaker) address() netip.Addr { return s.external }

func (s *upnpSpeaker) grant(ctx context.Context, w wanted) (Mapping, error) {
	port, lease, err := s.add(ctx, w)
	if err != nil {
		return Mapping{ExternalPort: port}, err
	}
	if err := s.readBack(ctx, w, port); err != nil {
		return Mapping{}, err
	}
	s.external, _ = externalOf(ctx, s.connection)
	return w.granted(UPnP, s.external, port, time.Now(), lease), nil
}

// add asks for the mapping, and again without an end if the gateway knows only
// such (IGD 1, 2.4.16).
func (s *upnpSpeaker) add(ctx context.Context, w wanted) (port uint16, lease time.Duration, err error) {
	port, err = s.addFor(ctx, w, lifetimeWanted)
	if refusedBy(err, upnpOnlyPermanent) {
		port, err = s.addFor(ctx, w, 0)
		return port, 0, err
	}
	return port, lifetimeWanted, err
}

// addFor asks IGD 2 for any port, IGD 1 for one after another until one is
// free. A port that is taken by a mapping to our own port is ours, of an
// earlier run.
func (s *upnpSpeaker) addFor(ctx context.Context, w wanted, lease time.Duration) (uint16, error) {
	local, seconds := w.local.String(), uint32(lease/time.Second)
	if c, ok := s.connection.(anyPortMapper); ok {
		port, err := c.AddAnyPortMappingCtx(ctx, "", w.external, w.transport.String(), w.port, local, true, upnpDescription, seconds)
		if err == nil && port == 0 {
			err = errors.New("the gateway granted port 0")
		}
		return port, upnpError(err)
	}
	for port, try := w.external, 1; ; port, try = uint16(1024+rand.IntN(1<<16-1024)), try+1 {
		err := upnpError(s.connection.AddPortMappingCtx(ctx, "", port, w.transport.String(), w.port, local, true, upnpDescription, seconds))
		if refusedBy(err, upnpConflict) {
			if s.entry(ctx, w, port) == nil {
				return port, nil
			}
			if try < upnpPortsMost {
				continue
			}
		}
		return port, err
	}
}

// entry looks whether the gateway has the mapping.
func (s *upnpSpeaker) entry(ctx context.Context, w wanted, port uint16) error {
	to, client, _, _, _, err := s.connection.GetSpecificPortMappingEntryCtx(ctx, "", port, w.transport.String())
	if err != nil {
		return upnpError(err)
	}
	if to != w.port || client != w.local.String() {
		return fmt.Errorf("%w: it forwards port %d to %.40q port %d", errLost, port, clean(client), to)
	}
	return nil
}

// readBack looks whether the gateway did what it said. One that cannot tell
// is believed.
func (s *upnpSpeaker) readBack(ctx context.Context, w wanted, port uint16) error {
	err := s.entry(ctx, w, port)
	var refused *refusal
	if !errors.As(err, &refused) {
		return err
	}
	if refused.code == upnpNoSuchEntry {
		return errLost
	}
	return nil
}

// check reads the mapping back and looks whether the external address is the
// same.
func (s *upnpSpeaker) check(ctx context.Context, m Mapping) error {
	if err := s.readBack(ctx, m.again(), m.ExternalPort); err != nil {
		return err
	}
	addr, err := externalOf(ctx, s.connection)
	if err == nil && addr != m.External {
		return errLost
	}
	return nil
}

// observe believes any announcement: UPnP has no epoch to compare.
func (s *upnpSpeaker) observe(uint32, time.Time) bool { return true }

// release deletes by the external port, which may be another machine's by now, or
// always was.
func (s *upnpSpeaker) release(ctx context.Context, m Mapping) error {
	if err := s.readBack(ctx, m.again(), m.ExternalPort); errors.Is(err, errLost) {
		return nil
	}
	err := upnpError(s.connection.DeletePortMappingCtx(ctx, "", m.ExternalPort, m.Transport.String()))
	if refusedBy(err, upnpNoSuchEntry) {
		return nil
	}
	return err
}
