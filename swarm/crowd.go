package swarm

import "time"

const (
	// dialShare is the part of the places, one in four, that incoming
	// connections leave to those that we open.
	dialShare = 4
	// idleTime is after how long a connection that brought nothing, either way,
	// may have to give its place to another.
	idleTime = 30 * time.Second
)

// refuse says why a new connection is not wanted.
func (s *Swarm) refuse(now time.Time, p *peer) error {
	switch {
	case s.stopped != nil:
		return errStopped
	case s.book.banned[p.about.Addr.Addr().Unmap()]:
		return errBanned
	case p.about.ID == s.cfg.Self:
		s.book.forget(p.about.Addr)
		return errSelf
	case s.isTwin(p):
		return errDuplicate
	case s.sold && !p.about.Pay && s.plain() > s.cfg.MaxPeers/plainShare:
		return errCrowded
	}
	return s.makeRoom(now, p)
}

// isTwin reports whether a peer is connected already. Its id alone does not
// tell: anybody may take that of another to keep it out.
func (s *Swarm) isTwin(p *peer) bool {
	for _, o := range s.order {
		if o != p && !o.dropped && o.about.ID == p.about.ID && o.about.Addr.Addr() == p.about.Addr.Addr() {
			return true
		}
	}
	return false
}

// makeRoom finds a place for a new connection: there is a free one, or that of
// an idle one is taken.
func (s *Swarm) makeRoom(now time.Time, p *peer) error {
	all, incoming, near := 0, 0, 0
	for _, o := range s.order {
		if o.dropped {
			continue
		}
		all++
		if !o.about.Outgoing {
			incoming++
			if o.about.Addr.Addr() == p.about.Addr.Addr() {
				near++
			}
		}
	}
	limit := s.cfg.MaxPeers - s.cfg.MaxPeers/dialShare
	switch {
	case !p.about.Outgoing && all > s.cfg.MaxPeers/2 && near > s.cfg.PerAddress:
		return errCrowded
	case all <= s.cfg.MaxPeers && (p.about.Outgoing || incoming <= limit):
		return nil
	}
	idle := s.idlest(now)
	if idle == nil {
		return errCrowded
	}
	s.drop(idle, errIdle)
	return nil
}

// idlest is the incoming connection that has been of no use to either side for
// longest; nil if there is none. The list is in the order in which they came.
func (s *Swarm) idlest(now time.Time) *peer {
	for _, o := range s.order {
		idle := !o.dropped && !o.about.Outgoing && o.delivered == 0 && o.given == 0 && !o.interested
		if idle && now.Sub(o.joined) >= idleTime {
			return o
		}
	}
	return nil
}

// connected counts the connections that are not about to be closed.
func (s *Swarm) connected() (n int) {
	for _, p := range s.order {
		if !p.dropped {
			n++
		}
	}
	return n
}
