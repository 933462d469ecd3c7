// Package wiretap stands between two peers in tests and records what each says
// to the other. It changes nothing, and understands no more than where messages
// begin and end.
package wiretap

import (
	"bytes"
	"net"
	"net/netip"
	"sync"
	"testing"

	"torrente/peerwire"
)

// Tap passes on what comes to its address.
type Tap struct {
	listener net.Listener
	from     *net.Dialer
	to       string
	wg       sync.WaitGroup

	mu    sync.Mutex // guards the following
	calls []*call
	ended bool
}

// call is one connection through the tap: what the dialler said, and what the
// other did.
type call struct {
	said  [2]bytes.Buffer
	conns [2]net.Conn
}

// Conversation is what one connection carried: what the side that dialled said,
// and then the other's.
type Conversation [2]Speech

// Speech is what one side said: its handshake, and the ids of its messages.
type Speech struct {
	Handshake peerwire.Handshake
	IDs       []peerwire.ID
}

// Start listens on a free port of the address ip until the test ends, and
// passes connections on to another, which it dials from that address as well.
func Start(t testing.TB, ip string, to netip.AddrPort) *Tap {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
	if err != nil {
		t.Fatal(err)
	}
	tap := &Tap{listener: l, to: to.String(), from: &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}}
	tap.wg.Go(tap.serve)
	t.Cleanup(tap.end)
	return tap
}

// Addr is where to connect.
func (tap *Tap) Addr() netip.AddrPort { return netip.MustParseAddrPort(tap.listener.Addr().String()) }

func (tap *Tap) serve() {
	for {
		in, err := tap.listener.Accept()
		if err != nil {
			return
		}
		out, err := tap.from.Dial("tcp", tap.to)
		if err != nil {
			in.Close()
			continue
		}
		c := &call{conns: [2]net.Conn{in, out}}
		tap.mu.Lock()
		tap.calls = append(tap.calls, c)
		if tap.ended {
			c.hangUp()
		}
		tap.mu.Unlock()
		tap.wg.Go(func() { tap.pass(&c.said[0], out, in) })
		tap.wg.Go(func() { tap.pass(&c.said[1], in, out) })
	}
}

// end breaks off what is going on, and waits for it.
func (tap *Tap) end() {
	tap.listener.Close()
	tap.mu.Lock()
	tap.ended = true
	for _, c := range tap.calls {
		c.hangUp()
	}
	tap.mu.Unlock()
	tap.wg.Wait()
}

func (c *call) hangUp() {
	for _, conn := range c.conns {
		conn.Close()
	}
}

func (tap *Tap) pass(said *bytes.Buffer, to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		tap.mu.Lock()
		said.Write(buf[:n])
		tap.mu.Unlock()
		if _, werr := to.Write(buf[:n]); err != nil || werr != nil {
			return
		}
	}
}

// Heard returns the conversations in which both sides gave a handshake so far.
// Others are encrypted, or were broken off.
func (tap *Tap) Heard() (all []Conversation) {
	tap.mu.Lock()
	defer tap.mu.Unlock()
	for _, c := range tap.calls {
		var v Conversation
		ok := true
		for who := range v {
			v[who], ok = read(c.said[who].Bytes(), ok)
		}
		if ok {
			all = append(all, v)
		}
	}
	return all
}

// read takes apart what one side said, up to a message that is not whole.
func read(said []byte, ok bool) (s Speech, _ bool) {
	src := bytes.NewReader(said)
	h, err := peerwire.ReadHandshake(src)
	if err != nil || !ok {
		return s, false
	}
	s.Handshake = h
	in := peerwire.NewReader(src, func() []byte { return make([]byte, peerwire.BlockSize) })
	for {
		m, err := in.Next()
		if err != nil {
			return s, true
		}
		s.IDs = append(s.IDs, m.ID)
	}
}
