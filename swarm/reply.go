package swarm

import (
	"time"

	"torrente/peerwire"
)

const (
	// heavyWindow is how many heavy messages are on their way to a peer at a
	// time: 128 KiB for one that asks and does not read.
	heavyWindow = 8
	// maxReplies is how many requests for metadata and hashes a peer may have
	// waiting: a dictionary of 30 MiB has 1,920 pieces.
	maxReplies = 2048
	// MaxHashJobs bounds the rows of hashes being read; more are refused.
	MaxHashJobs = 1024
	// maxIdleAsks is how many hash requests in vain end a connection; one is
	// forgiven each second.
	maxIdleAsks = 600
)

// reply is a request for a piece of the metadata or a row of hashes that waits
// for its turn.
type reply struct {
	metadata int64 // piece; used if hashes is zero
	hashes   peerwire.HashRange
}

// Heavy reports whether Written is called for a message: those are counted that
// a peer can ask for and that take memory until it reads them.
func Heavy(m *peerwire.Message) bool {
	return m.ID == peerwire.Hashes || m.ID == peerwire.Extended
}

// Written tells that heavy messages, n in number, went to a peer.
func (s *Swarm) Written(now time.Time, id PeerID, n int) {
	s.input()
	if p := s.peers[id]; p != nil {
		p.heavy -= n
		s.reply(now, p)
	}
}

// enqueue takes a request for metadata or hashes.
func (s *Swarm) enqueue(now time.Time, p *peer, r reply) error {
	if len(p.replies) >= maxReplies {
		return errTooManyAsks
	}
	p.replies = append(p.replies, r)
	s.reply(now, p)
	return nil
}

// reply answers requests while the window has room.
func (s *Swarm) reply(now time.Time, p *peer) {
	for len(p.replies) > 0 && p.heavy+p.reading < heavyWindow && !p.dropped {
		r := p.replies[0]
		p.replies = p.replies[1:]
		if r.hashes == (peerwire.HashRange{}) {
			s.serveMetadata(now, p, r.metadata)
		} else {
			s.serveHashes(now, p, r.hashes)
		}
	}
}

// serveHashes hands a request for hashes on.
func (s *Swarm) serveHashes(now time.Time, p *peer, r peerwire.HashRange) {
	if s.hashJobs >= MaxHashJobs {
		s.send(now, p, peerwire.Message{ID: peerwire.HashReject, Rare: r})
		return
	}
	p.reading++
	s.hashJobs++
	s.out.Hashes = append(s.out.Hashes, HashServing{p.id, r})
}

// onHashRequest takes a request for hashes; what we have not is refused at once.
func (s *Swarm) onHashRequest(now time.Time, p *peer, r peerwire.HashRange) error {
	if s.picker != nil && p.about.V2 && s.trees.canServe(s.picker.Have(), r) {
		return s.enqueue(now, p, reply{hashes: r})
	}
	if p.idleAsks++; p.idleAsks > maxIdleAsks {
		return errBadRequests
	}
	s.send(now, p, peerwire.Message{ID: peerwire.HashReject, Rare: r})
	return nil
}

// HashesRead answers a HashServing: the row and its proof, or nil if there is
// no such row.
func (s *Swarm) HashesRead(now time.Time, id PeerID, r peerwire.HashRange, hashes []byte) {
	s.input()
	s.hashJobs--
	p := s.peers[id]
	if p == nil {
		return
	}
	p.reading--
	if hashes == nil {
		s.send(now, p, peerwire.Message{ID: peerwire.HashReject, Rare: r})
	} else {
		s.send(now, p, peerwire.Message{ID: peerwire.Hashes, Rare: r, Data: hashes})
	}
	s.reply(now, p)
}
