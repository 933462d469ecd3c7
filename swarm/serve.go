package swarm

import (
	"time"

	"torrente/peerwire"
	"torrente/piece"
)

const (
	// ourReqq is how many requests a peer may have queued with us, as we tell
	// it (BEP 10 "reqq"); maxQueue is how many we bear from those that cannot
	// count.
	ourReqq  = 500
	maxQueue = 2000
	// serveWindow is how many blocks are handed on at a time: 1 MiB. What is
	// not handed on can still be cancelled, and is dropped by a choke.
	serveWindow = 64
	// maxRefused is how many requests in vain end a connection.
	maxRefused = 300
)

func (s *Swarm) onRequest(now time.Time, p *peer, b piece.Block) error {
	switch {
	case s.picker == nil || b.Length > piece.BlockSize || !s.layout.Holds(b) || !s.picker.Have().Has(int(b.Piece)):
		if p.refused++; p.refused > maxRefused {
			return errBadRequests
		}
		s.reject(now, p, b)
		return nil
	case s.sold && !s.layout.IsUnit(b): // a request is one unit (section 4)
		if p.refused++; p.refused > maxRefused {
			return errBadRequests
		}
		s.reject(now, p, b)
		return nil
	case p.weChoke:
		// In flight while we choked it: no offence, but not without end.
		if p.refused++; p.refused > maxQueue {
			return errBadRequests
		}
		s.reject(now, p, b)
		return nil
	case p.queue.len() >= maxQueue:
		return errTooManyAsks
	}
	p.queue.push(b)
	s.feed(p)
	return nil
}

// reject answers a request that will not be served, if the peer knows such
// answers (BEP 6).
func (s *Swarm) reject(now time.Time, p *peer, b piece.Block) {
	if p.about.Fast {
		s.send(now, p, peerwire.BlockMessage(peerwire.Reject, b.Piece, b.Begin, b.Length))
	}
}

// feed hands on queued requests while the window has room.
func (s *Swarm) feed(p *peer) {
	if s.sold {
		s.feedSold(p)
		return
	}
	for p.serving < serveWindow && p.queue.len() > 0 && !p.dropped {
		s.hand(p, p.queue.pop())
	}
}

// hand gives a block on to be sent.
func (s *Swarm) hand(p *peer, b piece.Block) {
	p.serving++
	s.out.Serve = append(s.out.Serve, Serving{p.id, b, len(s.out.Send)})
}

// Sent tells that blocks which Serve named are on their way, n in number and
// bytes in sum.
func (s *Swarm) Sent(now time.Time, id PeerID, n int, bytes int64) {
	s.input()
	p := s.peers[id]
	if p == nil {
		return
	}
	p.serving -= n
	p.refused = 0
	p.lastSent = now
	p.given += bytes
	p.up.add(int(bytes))
	s.totals.Uploaded += bytes
	s.feed(p)
}

// onCancel takes a request back that is still queued. BEP 6: it is rejected,
// so that the peer knows that the block will not come.
func (s *Swarm) onCancel(now time.Time, p *peer, b piece.Block) error {
	if p.queue.take(b) {
		s.reject(now, p, b)
	}
	return nil
}
