package node

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"

	"torrente/swarm"
	"torrente/tracker"
)

// announce tells the torrent's trackers of us until the torrent ends.
func (t *Torrent) announce() {
	tiers := t.trackers()
	if len(tiers) == 0 || t.node.cfg.Trackers == nil {
		return
	}
	s := tracker.NewSession(tracker.SessionConfig{
		Client: t.node.cfg.Trackers, Trackers: tiers, Hashes: t.hashes, PeerID: t.node.id, Port: t.node.External,
		Key: rand.Uint32(), Seed: rand.Uint64(), Log: t.node.cfg.Log,
		Stats: t.transferred, Seen: t.node.cfg.Seen,
		Found: func(a []netip.AddrPort) { t.Found(a, swarm.FromTracker) },
	})
	t.session.Store(s)
	t.tasks.Go(func() { s.Run(t.ctx) })
	t.tasks.Go(func() {
		select {
		case <-t.ctx.Done():
		case <-t.opened:
			t.announceCompletion(s)
		}
	})
}

// announceCompletion tells the trackers when a download completes; what was
// complete from the start never completes (BEP 3).
func (t *Torrent) announceCompletion(s *tracker.Session) {
	if isClosed(t.complete) || t.Status().Left == 0 {
		return
	}
	select {
	case <-t.ctx.Done():
	case <-t.complete:
		s.Completed()
	}
}

// trackers are the tiers of the torrent file, or each tracker of a link in a
// tier of its own.
func (t *Torrent) trackers() [][]string {
	if t.opt.Torrent != nil {
		return t.opt.Torrent.Trackers
	}
	var tiers [][]string
	for _, u := range t.opt.Magnet.Trackers {
		tiers = append(tiers, []string{u})
	}
	return tiers
}

// transferred are the bytes that trackers want to hear of; left is negative
// while it is unknown.
func (t *Torrent) transferred() (up, down, left int64) {
	st := t.Status()
	if st.Pieces == 0 {
		return 0, 0, -1
	}
	return st.Uploaded, st.Downloaded, st.Left
}

// TrackerTrouble says why no tracker has named a peer, or nil.
func (t *Torrent) TrackerTrouble() error {
	s := t.session.Load()
	if s == nil {
		return nil
	}
	var trouble error
	for _, st := range s.Status() {
		if st.Working {
			return nil
		}
		if st.LastError != nil && trouble == nil && !errors.Is(st.LastError, context.Canceled) {
			trouble = st.LastError
		}
	}
	return trouble
}
