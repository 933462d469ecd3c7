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
	most, perAddress int

	mu    sync.Mutex // guards the following
	open  int
	byNet map[netip.Addr]int
}

func newBoundedListener(l net.Listener, most, perAddress int) *boundedListener {
	return &boundedListener{Listener: l, most: most, perAddress: perAddress, byNet: map[netip.Addr]int{}}
}

// Accept returns the next connection for which there is a place.
func (l *boundedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		addr := throttle.Network(addressOf(c.RemoteAddr().String()))
		if l.enter(addr) {
			return &boundedConn{Conn: c, leave: sync.OnceFunc(func() { l.leave(addr) })}, nil
		}
		_ = c.Close() // it is refused either way
	}
}

func (l *boundedListener) enter(addr netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open >= l.most || l.byNet[addr] >= l.perAddress {
		return false
	}
	l.open++
	l.byNet[addr]++
	return true
}

func (l *boundedListener) leave(addr netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open--
	if l.byNet[addr]--; l.byNet[addr] == 0 {
		delete(l.byNet, addr)
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
