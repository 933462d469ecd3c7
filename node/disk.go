package node

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"torrente/metainfo"
	"torrente/peerwire"
	"torrente/piece"
	"torrente/piece/store"
	"torrente/swarm"
)

// saveInterval is how often the resume record is written while pieces come.
const saveInterval = 5 * time.Second

// savedState is what the loop remembers of the last resume record.
type savedState struct {
	at     time.Time
	pieces int
	busy   atomic.Bool
	err    error // of the last record, at the end
}

// errInconsistent stops a hybrid whose two halves describe different data.
var errInconsistent = errors.New("the torrent's v1 and v2 hashes disagree: it cannot be downloaded, ask whoever made it for a new one")

// learn takes metadata that came from peers.
func (t *Torrent) learn(info *metainfo.Info) {
	t.mu.Lock()
	t.info = info
	t.mu.Unlock()
	t.startOpening(info)
}

// startOpening opens and checks the files beside the loop, which goes on.
func (t *Torrent) startOpening(info *metainfo.Info) {
	t.tasks.Go(func() {
		s, have, err := t.openFiles(info)
		if err != nil {
			t.fail(err)
			return
		}
		t.tell(func(now time.Time) {
			t.limits = peerwire.Limits{Pieces: s.Layout().Pieces()}
			t.startIntakes(s)
			t.workers.Go(func() { t.serveHashes(s) })
			t.swarm.Opened(now, have, nil)
			close(t.opened)
		})
	})
}

func (t *Torrent) openFiles(info *metainfo.Info) (*store.Store, *piece.Bitfield, error) {
	var layers map[[32]byte][]byte
	if t.opt.Torrent != nil {
		layers = t.opt.Torrent.Layers
	}
	s, err := store.Open(t.opt.Dir, info, layers, !t.opt.SeedOnly)
	if err != nil {
		return nil, nil, err
	}
	t.store.Store(s)
	if t.opt.Resume != "" {
		if err := s.KeepLeaves(t.opt.Resume + ".leaves"); err != nil {
			return nil, nil, err
		}
	}
	have, clean, err := s.LoadResume(t.opt.Resume)
	switch {
	case err == nil && clean:
		return s, have, nil
	case err == nil:
	case errors.Is(err, store.ErrNoResume):
		t.node.cfg.Log.Info("checking the files", "torrent", info.Name, "why", err)
		have = piece.NewBitfield(s.Layout().Pieces())
	default:
		return nil, nil, err
	}
	err = t.check(s, have)
	return s, have, err
}

// check verifies the pieces that have lacks and that have data on disk.
func (t *Torrent) check(s *store.Store, have *piece.Bitfield) error {
	if s.Empty() {
		return nil
	}
	defer t.checking.Store(nil)
	var mu sync.Mutex // guards have, next, first
	var first error
	next, pieces := 0, s.Layout().Pieces()
	var wg sync.WaitGroup
	for range workers() {
		wg.Go(func() {
			for {
				mu.Lock()
				for next < pieces && have.Has(next) {
					next++
				}
				i := next
				next++
				stop := i >= pieces || first != nil || t.ctx.Err() != nil
				mu.Unlock()
				if stop {
					return
				}
				t.checking.Store(&Checking{i, pieces})
				good, err := false, error(nil)
				if s.HasData(i) {
					good, err = s.Check(i)
				}
				mu.Lock()
				if err != nil && first == nil {
					first = err
				}
				if good {
					have.Set(i)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if first == nil {
		first = t.ctx.Err()
	}
	return first
}

// startIntakes starts the workers: each is responsible for every n-th piece.
func (t *Torrent) startIntakes(s *store.Store) {
	n := workers()
	for range n {
		c := make(chan swarm.Verification, t.node.blocks.limit)
		t.intakes = append(t.intakes, c)
		in := s.NewIntake(t.node.blocks.limit/(4*n), t.node.blocks.put)
		t.workers.Go(func() {
			defer in.Close()
			for v := range c {
				t.intake(in.Put(v.Block, v.Data, v.Leaf), v.Leaf != nil)
			}
		})
	}
}

// serveHashes answers hash requests (BEP 52), one after the other.
func (t *Torrent) serveHashes(s *store.Store) {
	for h := range t.hashJobs {
		r := h.Range
		row, err := s.Hashes(r.Root, metainfo.Range{
			Base: int(r.Base), Index: int(r.Index), Length: int(r.Length), ProofLayers: int(r.Proofs),
		})
		if err != nil {
			t.node.cfg.Log.Debug("hash request", "err", err)
		}
		t.tell(func(now time.Time) { t.swarm.HashesRead(now, h.Peer, r, row) })
	}
}

// intake tells the Swarm what became of a block.
func (t *Torrent) intake(o store.Outcome, proven bool) {
	switch {
	case o.Err != nil:
		t.fail(o.Err)
	case o.Inconsistent:
		t.fail(fmt.Errorf("piece %d: %w", o.Block.Piece, errInconsistent))
	case o.OK && !o.Whole && !proven:
		// Nothing to tell of a block that waits for the rest of its piece.
	default:
		t.mail.post(event{kind: verified, verdict: swarm.Verdict{
			Block: o.Block, OK: o.OK, Whole: o.Whole, Good: o.Good, False: o.False,
		}})
	}
}

// saveNowAndThen writes the resume record beside the loop, one at a time.
func (t *Torrent) saveNowAndThen(now time.Time) {
	st := t.swarm.Status()
	t.last.Store(&st)
	if st.Have == t.saved.pieces || now.Sub(t.saved.at) < saveInterval || !t.saved.busy.CompareAndSwap(false, true) {
		return
	}
	t.saved.at, t.saved.pieces = now, st.Have
	wire := t.swarm.Have()
	t.tasks.Go(func() {
		defer t.saved.busy.Store(false)
		if err := t.save(wire, false); err != nil {
			t.node.cfg.Log.Warn("resume record", "err", err)
		}
	})
}

func (t *Torrent) save(wire []byte, clean bool) error {
	s := t.store.Load()
	if s == nil || wire == nil || t.opt.Resume == "" {
		return nil
	}
	have, err := piece.ParseBitfield(wire, s.Layout().Pieces())
	if err != nil {
		return err
	}
	return s.SaveResume(t.opt.Resume, have, clean)
}

// shutdown ends all that the loop started, lets the workers finish what they
// have, and saves the state.
func (t *Torrent) shutdown() {
	t.cancel()
	t.node.unregister(t)
	for _, c := range t.conns {
		c.close()
	}
	for _, c := range t.intakes {
		close(c)
	}
	close(t.hashJobs)
	t.workers.Wait()
	st := t.swarm.Status()
	t.last.Store(&st)
	for _, e := range t.mail.close() {
		switch {
		case e.kind == verified: // on disk: not to be fetched again
			t.swarm.Verified(t.node.cfg.Now(), e.verdict)
		case e.kind == received && e.message.ID == peerwire.Piece:
			t.node.blocks.put(e.message.Data)
		}
	}
	t.tasks.Wait()
	t.noticeEnds()
	t.closeFiles()
	if !isClosed(t.ended) {
		close(t.ended)
	}
}

// closeFiles saves the last state. What was written is synced first, so that
// the record is believed whatever happens next.
func (t *Torrent) closeFiles() {
	t.saved.err = t.save(t.swarm.Have(), true)
	if s := t.store.Load(); s != nil {
		s.Close()
	}
}

func servedBlock(b piece.Block) peerwire.Message {
	return peerwire.Message{ID: peerwire.Piece, Index: b.Piece, Begin: b.Begin, Length: b.Length}
}
