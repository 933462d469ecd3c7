package node

import (
	"errors"
	"net"
	"net/netip"
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
		if !n.admit() {
			c.Close()
			continue
		}
		n.tasks.Go(func() {
			t, m, err := n.welcome(c)
			n.dismiss()
			if err != nil {
				n.cfg.Log.Debug("handshake", "from", c.RemoteAddr(), "err", err)
				c.Close()
				return
			}
			t.run(c, m)
		})
	}
}

// admit bounds the connections that have not shown what they want.
func (n *Node) admit() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.guests >= maxGuests {
		return false
	}
	n.guests++
	return true
}

func (n *Node) dismiss() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.guests--
}

// welcome does the handshake of an incoming connection: theirs first, which
// says for which torrent.
func (n *Node) welcome(c net.Conn) (*Torrent, meeting, error) {
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
	pay := h.Has(peerwire.PayOffer) && t.pays()
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
	c.SetDeadline(time.Now().Add(handshakeTime))
	ours := t.handshake(t.hashes[0])
	if t.pays() {
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
	addr, _ := netip.ParseAddrPort(c.RemoteAddr().String())
	return swarm.Peer{
		Addr: netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port()), ID: theirs.PeerID, Pay: pay,
		Extended: both(peerwire.FeatureExtended), Fast: both(peerwire.FeatureFast),
		// A peer that uses the v2 hash need not say that it knows v2.
		V2: both(peerwire.FeatureV2) || t.isV2Hash(theirs.InfoHash),
	}
}
