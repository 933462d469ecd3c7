package swarm

import (
	"fmt"
	"time"

	"torrente/peerwire"
)

// Receive takes a message of a peer.
func (s *Swarm) Receive(now time.Time, id PeerID, m peerwire.Message) {
	s.input()
	p := s.peers[id]
	if p == nil || p.dropped {
		s.free(&m)
		return
	}
	p.lastHeard = now
	if err := s.dispatch(now, p, &m); err != nil {
		s.drop(p, err)
	}
}

func (s *Swarm) dispatch(now time.Time, p *peer, m *peerwire.Message) error {
	switch m.ID {
	case peerwire.Piece:
		return s.onPiece(now, p, m)
	case peerwire.Request:
		return s.onRequest(now, p, blockOf(m))
	case peerwire.Have:
		return s.onHave(now, p, m.Index)
	case peerwire.Cancel:
		return s.onCancel(now, p, blockOf(m))
	case peerwire.Reject:
		return s.onReject(now, p, blockOf(m))
	case peerwire.Choke, peerwire.Unchoke:
		return s.onChoke(now, p, m.ID == peerwire.Choke)
	case peerwire.Interested, peerwire.NotInterested:
		return s.onInterested(now, p, m.ID == peerwire.Interested)
	case peerwire.Bitfield, peerwire.HaveAll, peerwire.HaveNone:
		return s.onBitfield(now, p, m)
	case peerwire.Extended:
		return s.onExtended(now, p, m)
	case peerwire.HashRequest, peerwire.Hashes, peerwire.HashReject:
		return s.onHashes(now, p, m)
	case peerwire.KeepAlive, peerwire.Port, peerwire.Suggest, peerwire.AllowedFast:
		return nil // of no use to us now
	}
	if m.ID.IsPay() {
		return s.onPay(now, p, m)
	}
	return fmt.Errorf("%w: %v", errBadMessage, m.ID)
}

// free gives back the buffer of a block that nobody wants.
func (s *Swarm) free(m *peerwire.Message) {
	if m.ID == peerwire.Piece && m.Data != nil {
		s.out.Free = append(s.out.Free, m.Data)
	}
}
