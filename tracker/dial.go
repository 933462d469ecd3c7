package tracker

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path"
	"strings"
	"sync/atomic"
	"syscall"
)

// hop is one request of an announce: the first, or one that a redirect led to.
// It travels to the dialler in the request's context.
type hop struct {
	floor    scope // the widest network the announce has been to
	announce bool  // the path looks like a tracker's
	reached  atomic.Pointer[netip.Addr]
}

type hopKey struct{}

func newHop(u *url.URL, floor scope) *hop {
	return &hop{floor: floor, announce: u.Scheme == "udp" || strings.HasPrefix(path.Base(u.Path), "announce")}
}

// check tells whether the hop may dial an address. The rules stand in the
// package's documentation.
func (h *hop) check(a netip.Addr) error {
	switch s := scopeOf(a); {
	case s == nowhere:
		return fmt.Errorf("%s is no address of a tracker", a)
	case s < h.floor:
		return fmt.Errorf("a redirect from a %s address must not lead to the %s address %s", h.floor, s, a)
	case s < global && !h.announce:
		return fmt.Errorf("the %s address %s is asked only at a path that ends in /announce", s, a)
	}
	return nil
}

// scope is how far the hop's connection reaches. Connections that are not of
// the internet protocols, as in tests, count as loopback.
func (h *hop) scope() scope { return max(loopback, scopeOf(h.at())) }

// at is the address that the hop's connection reaches, or none.
func (h *hop) at() netip.Addr {
	if a := h.reached.Load(); a != nil {
		return *a
	}
	return netip.Addr{}
}

// dialError marks what happened before there was a connection.
type dialError struct{ error }

func (e dialError) Unwrap() error { return e.error }

// dial connects, to an address that the hop allows.
func (c *Client) dial(ctx context.Context, network, address string) (net.Conn, error) {
	h, ok := ctx.Value(hopKey{}).(*hop)
	if !ok {
		panic("tracker: a dial outside an announce")
	}
	conn, err := c.connect(ctx, h, network, address)
	if err != nil {
		return nil, dialError{err}
	}
	if ap, err := netip.ParseAddrPort(conn.RemoteAddr().String()); err == nil {
		at := ap.Addr().Unmap()
		h.reached.Store(&at)
	}
	return conn, nil
}

func (c *Client) connect(ctx context.Context, h *hop, network, address string) (net.Conn, error) {
	if c.cfg.Dial == nil {
		return c.dialer(network).DialContext(ctx, network, address)
	}
	// Names are the given dialler's to resolve, and to judge.
	if ap, err := netip.ParseAddrPort(address); err == nil {
		if err := h.check(ap.Addr()); err != nil {
			return nil, err
		}
	}
	return c.cfg.Dial(ctx, network, address)
}

func (c *Client) dialer(network string) *net.Dialer {
	d := &net.Dialer{ControlContext: c.control}
	if c.cfg.Local.IsValid() {
		local := netip.AddrPortFrom(c.cfg.Local, 0)
		if strings.HasPrefix(network, "udp") {
			d.LocalAddr = net.UDPAddrFromAddrPort(local)
		} else {
			d.LocalAddr = net.TCPAddrFromAddrPort(local)
		}
	}
	return d
}

// control judges the address that is really dialled: whatever a name resolved
// to before, or will resolve to next time, does not matter.
func (c *Client) control(ctx context.Context, network, address string, raw syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if err := ctx.Value(hopKey{}).(*hop).check(ap.Addr()); err != nil {
		return err
	}
	if c.cfg.Control != nil {
		return c.cfg.Control(network, address, raw)
	}
	return nil
}
