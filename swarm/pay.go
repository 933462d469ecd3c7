package swarm

import (
	"time"

	"torrente/payment"
)

// plainShare is the part of the connections, one in four, that peers which
// cannot pay may have of a sold torrent: they get metadata and hashes, and no
// data.
const plainShare = 4

// plain counts the connected peers that cannot pay.
func (s *Swarm) plain() (n int) {
	for _, p := range s.order {
		if !p.about.Pay && !p.dropped {
			n++
		}
	}
	return n
}

// Authenticated tells who is at the other end of a connection. The newest
// connection of an account to a torrent wins.
func (s *Swarm) Authenticated(_ time.Time, id PeerID, account payment.Account) {
	s.input()
	p := s.peers[id]
	if p == nil || p.dropped {
		return
	}
	for _, o := range s.snapshot() {
		if o != p && o.account == account {
			s.drop(o, errReplaced)
		}
	}
	p.account = account
}

// mayServe reports whether a peer may have data. That of a sold torrent is
// given for links alone, never for nothing.
func (s *Swarm) mayServe(*peer) bool { return !s.sold }
