package federation

import (
	"net"
	"net/netip"
	"sync"

	"torrente/internal/throttle"
)

// addressOf is the address of a connection's other side, without its port.
func addressOf(remote string) netip.Addr {
	a, _ := netip.ParseAddrPort(remote) // the zero Addr counts as one, too
	return a.Addr()
}

// boundedListener closes connections beyond a number, over all and by address:
// one machine must not use up the places of all others. Those who are refused
// see the connection end, and try again.
type boundedListener struct {
	net.Listener
	places *places[netip.Addr]
}

func newBoundedListener(l net.Listener, most, perAddress int) *boundedListener {
	return &boundedListener{l, newPlaces[netip.Addr](most, perAddress)}
}

// Accept returns the next connection for which there is a place.
func (l *boundedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		addr := throttle.Network(addressOf(c.RemoteAddr().String()))
		if l.places.enter(addr) {
			return &boundedConn{Conn: c, leave: sync.OnceFunc(func() { l.places.leave(addr) })}, nil
		}
		_ = c.Close() // it is refused either way
	}
}

type boundedConn struct {
	net.Conn
	leave func()
}

// Close gives the place free.
func (c *boundedConn) Close() error {
	c.leave()
	return c.Conn.Close()
}
