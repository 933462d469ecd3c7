package node

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"time"

	"torrente/peerwire"
	"torrente/swarm"
)

var (
	errOtherTorrent = errors.New("the peer answered for another torrent")
	errNoTorrent    = errors.New("the peer asks for a torrent that is not open here")
)

// meeting is what two handshakes brought.
type meeting struct {
	peer         swarm.Peer
	ours, theirs peerwire.Handshake
}

// accept takes incoming connections until the listener is closed.
func (n *Node) accept() {
	for {
		c, err := n.cfg.Listener.Accept()
		if err != nil {
			if n.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			n.cfg.Log.Warn("accept a connection", "err", err)
			select { // out of file handles, most likely: wait for some
			case <-n.ctx.Done():
				return
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		g := n.admit(c)
		n.tasks.Go(func() {
			t, m, err := n.welcome(c)
			n.dismiss(g)
			if err != nil {
				n.cfg.Log.Debug("handshake", "from", c.RemoteAddr(), "err", err)
				c.Close()
				return
			}
			t.run(c, m)
		})
	}
}

// guest is an incoming connection that has not shown what it wants.
type guest struct {
	conn net.Conn
	from netip.Addr
}

const (
	// maxGuests bounds them, maxGuestsFrom those of one address.
	maxGuests     = 64
	maxGuestsFrom = 16
)

// admit takes a guest in. If there are too many the oldest must go: whoever
// says nothing cannot keep others out.
func (n *Node) admit(c net.Conn) *guest {
	g := &guest{c, remote(c).Addr()}
	n.mu.Lock()
	defer n.mu.Unlock()
	same := func(o *guest) bool { return o.from == g.from }
	of := slices.DeleteFunc(slices.Clone(n.guests), func(o *guest) bool { return !same(o) })
	switch {
	case len(of) >= maxGuestsFrom:
		of[0].conn.Close()
		n.guests = slices.DeleteFunc(n.guests, func(o *guest) bool { return o == of[0] })
	case len(n.guests) >= maxGuests:
		n.guests[0].conn.Close()
		n.guests = slices.Delete(n.guests, 0, 1)
	}
	n.guests = append(n.guests, g)
	return g
}

func (n *Node) dismiss(g *guest) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.guests = slices.DeleteFunc(n.guests, func(o *guest) bool { return o == g })
}

// remote is the address of the other side.
func remote(c net.Conn) netip.AddrPort {
	a, _ := netip.ParseAddrPort(c.RemoteAddr().String())
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// welcome does the handshake of an incoming connection: theirs first, which
// says for which torrent.
func (n *Node) welcome(c net.Conn) (*Torrent, meeting, error) {
	defer context.AfterFunc(n.ctx, func() { c.Close() })()
	c.SetDeadline(time.Now().Add(handshakeTime))
	h, err := peerwire.ReadHandshake(c)
	if err != nil {
		return nil, meeting{}, err
	}
	t := n.find(h.InfoHash)
	if t == nil {
		return nil, meeting{}, errNoTorrent
	}
	ours := t.handshake(t.answerHash(&h))
	pay := h.Has(peerwire.PayOffer) && t.mayPay()
	if pay {
		ours.Set(peerwire.PayAnswer) // only ever after an offer
	}
	if _, err := c.Write(ours.Append(nil)); err != nil {
		return nil, meeting{}, err
	}
	c.SetDeadline(time.Time{})
	return t, meeting{t.about(c, &h, &ours, pay), ours, h}, nil
}

// greet does the handshake of a connection that we opened.
func (t *Torrent) greet(c net.Conn) (meeting, error) {
	defer context.AfterFunc(t.ctx, func() { c.Close() })()
	c.SetDeadline(time.Now().Add(handshakeTime))
	ours := t.handshake(t.hashes[0])
	if t.mayPay() {
		ours.Set(peerwire.PayOffer)
	}
	if _, err := c.Write(ours.Append(nil)); err != nil {
		return meeting{}, err
	}
	h, err := peerwire.ReadHandshake(c)
	if err != nil {
		return meeting{}, err
	}
	if !t.isHash(h.InfoHash) {
		return meeting{}, errOtherTorrent
	}
	c.SetDeadline(time.Time{})
	p := t.about(c, &h, &ours, ours.Has(peerwire.PayOffer) && h.Has(peerwire.PayAnswer))
	p.Outgoing = true
	return meeting{p, ours, h}, nil
}

// about is what two handshakes agree on.
func (t *Torrent) about(c net.Conn, theirs, ours *peerwire.Handshake, pay bool) swarm.Peer {
	both := func(f peerwire.Feature) bool { return theirs.Has(f) && ours.Has(f) }
	return swarm.Peer{
		Addr: remote(c), ID: theirs.PeerID, Pay: pay,
		Extended: both(peerwire.FeatureExtended), Fast: both(peerwire.FeatureFast),
		// A peer that uses the v2 hash need not say that it knows v2.
		V2: both(peerwire.FeatureV2) || t.isV2Hash(theirs.InfoHash),
	}
}
