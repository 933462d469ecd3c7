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
			t, about, err := n.welcome(c)
			n.dismiss()
			if err != nil {
				n.cfg.Log.Debug("handshake", "from", c.RemoteAddr(), "err", err)
				c.Close()
				return
			}
			t.run(c, about)
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
func (n *Node) welcome(c net.Conn) (*Torrent, swarm.Peer, error) {
	c.SetDeadline(time.Now().Add(handshakeTime))
	h, err := peerwire.ReadHandshake(c)
	if err != nil {
		return nil, swarm.Peer{}, err
	}
	t := n.find(h.InfoHash)
	if t == nil {
		return nil, swarm.Peer{}, errNoTorrent
	}
	ours := t.handshake(t.answerHash(&h))
	if _, err := c.Write(ours.Append(nil)); err != nil {
		return nil, swarm.Peer{}, err
	}
	c.SetDeadline(time.Time{})
	return t, t.about(c, &h, &ours, false), nil
}

// greet does the handshake of a connection that we opened.
func (t *Torrent) greet(c net.Conn) (swarm.Peer, error) {
	c.SetDeadline(time.Now().Add(handshakeTime))
	ours := t.handshake(t.hashes[0])
	if _, err := c.Write(ours.Append(nil)); err != nil {
		return swarm.Peer{}, err
	}
	h, err := peerwire.ReadHandshake(c)
	if err != nil {
		return swarm.Peer{}, err
	}
	if !t.isHash(h.InfoHash) {
		return swarm.Peer{}, errOtherTorrent
	}
	c.SetDeadline(time.Time{})
	return t.about(c, &h, &ours, true), nil
}

// about is what two handshakes agree on.
func (t *Torrent) about(c net.Conn, theirs, ours *peerwire.Handshake, outgoing bool) swarm.Peer {
	both := func(f peerwire.Feature) bool { return theirs.Has(f) && ours.Has(f) }
	addr, _ := netip.ParseAddrPort(c.RemoteAddr().String())
	return swarm.Peer{
		Addr: netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port()), ID: theirs.PeerID, Outgoing: outgoing,
		Extended: both(peerwire.FeatureExtended), Fast: both(peerwire.FeatureFast),
		// A peer that uses the v2 hash need not say that it knows v2.
		V2: both(peerwire.FeatureV2) || t.isV2Hash(theirs.InfoHash),
	}
}
