package main

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"

	"github.com/spf13/cobra"
)

// defaultPort is where peers are awaited: the port that the node asks the
// router for.
const defaultPort = 9003

// address is where a node listens, from --bind and --port, and how the router is
// asked to let others in, from --portmap.
type address struct {
	bind    string
	port    uint16
	portmap string
}

func (a *address) flags(c *cobra.Command) {
	c.Flags().StringVar(&a.bind, "bind", "", "the address to listen on and to connect from (default: all)")
	c.Flags().Uint16Var(&a.port, "port", defaultPort, "the port to listen on")
	c.Flags().StringVar(&a.portmap, "portmap", cmp.Or(os.Getenv("TORRENTE_PORTMAP"), "auto"),
		"how to ask the router to open the port: auto, pcp, natpmp, upnp or off (default: TORRENTE_PORTMAP, else auto)")
}

// listen opens the port. One that was asked for and is taken is an error; one
// that was not is replaced by any free one if anyFree is set.
func (a *address) listen(c *cobra.Command, anyFree bool) (net.Listener, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(a.bind, strconv.Itoa(int(a.port))))
	if err == nil {
		return l, nil
	}
	taken := errors.Is(err, syscall.EADDRINUSE)
	if taken && anyFree && !c.Flags().Changed("port") {
		return net.Listen("tcp", net.JoinHostPort(a.bind, "0"))
	}
	if taken {
		return nil, fmt.Errorf("port %d is taken by another program: give another with --port", a.port)
	}
	return nil, fmt.Errorf("listen on port %d: %w", a.port, err)
}

// dialer connects from the address that we listen on.
func (a *address) dialer() (*net.Dialer, error) {
	var d net.Dialer
	if a.bind != "" {
		ip, err := netip.ParseAddr(a.bind)
		if err != nil {
			return nil, usageError{fmt.Errorf("--bind %s is not an IP address", a.bind)}
		}
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, 0))
	}
	return &d, nil
}
