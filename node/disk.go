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

	layersBusy atomic.Bool

	mu    sync.Mutex // held while a record is written
	final bool       // the last record is written: no older one may replace it
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
		layers := t.knownLayers(info)
		s, have, fresh, err := t.openFiles(info, layers)
		if err != nil {
			t.fail(err)
			return
		}
		partial, err := t.boughtBefore(s, have)
		if err != nil {
			t.fail(t.unwritten(err))
			return
		}
		if p := t.node.purse; p != nil {
			p.prepare(t, missingUnits(s.Layout(), have))
		}
		t.tell(func(now time.Time) {
			t.limits = peerwire.Limits{Pieces: s.Layout().Pieces()}
			t.startIntakes(s, partial)
			t.workers.Go(func() { t.serveHashes(s) })
			t.learned, t.unrecorded = layers, fresh
			t.swarm.KnowLayers(layers)
			t.swarm.Opened(now, have, partial)
			close(t.opened)
		})
	})
}

// missingUnits is how many units are in the pieces that are missing.
func missingUnits(l *piece.Layout, have *piece.Bitfield) (n uint64) {
	for i := range l.Pieces() {
		if !have.Has(i) {
			n += uint64(l.Blocks(i))
		}
	}
	return n
}

// openFiles returns what is on disk, and which pieces of that the record of the
// last run did not have yet: they came just before it was killed.
func (t *Torrent) openFiles(info *metainfo.Info, layers map[[32]byte][]byte) (s *store.Store, have, fresh *piece.Bitfield, err error) {
	s, err = store.Open(t.opt.Dir, info, layers, !t.opt.SeedOnly)
	if err != nil {
		return nil, nil, nil, err
	}
	t.store.Store(s)
	if t.opt.Resume != "" {
		if err := s.KeepLeaves(t.opt.Resume + ".leaves"); err != nil {
			return nil, nil, nil, err
		}
	}
	fresh = piece.NewBitfield(s.Layout().Pieces())
	holes := false
	have, clean, err := s.LoadResume(t.opt.Resume)
	switch {
	case err == nil && clean:
		return s, have, fresh, nil
	case err == nil:
		holes = true
	case errors.Is(err, store.ErrNoResume):
		t.node.cfg.Log.Info("checking the files", "torrent", info.Name, "why", err)
		have = piece.NewBitfield(s.Layout().Pieces())
	default:
		return nil, nil, nil, err
	}
	recorded := have.Clone()
	err = t.check(s, have, holes)
	for i := range have.Len() {
		if holes && have.Has(i) && !recorded.Has(i) {
			fresh.Set(i)
		}
	}
	return s, have, fresh, err
}

// check verifies the pieces that have lacks. With a record of our own, holes in
// the files are what was not written so far, and are passed over; in files that
// somebody else made they are zeros like others.
func (t *Torrent) check(s *store.Store, have *piece.Bitfield, holes bool) error {
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
				if !holes || s.HasData(i) {
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

// serveHashes answers hash requests (BEP 52), one after the other, and tells of
// those together that came together.
func (t *Torrent) serveHashes(s *store.Store) {
	for h := range t.hashJobs {
		jobs := []swarm.HashServing{h}
		for waiting := len(t.hashJobs); waiting > 0; waiting-- {
			jobs = append(jobs, <-t.hashJobs) // nobody else takes from it
		}
		if t.ctx.Err() != nil {
			continue // nobody waits for it any more
		}
		rows := make([][]byte, len(jobs))
		for i := range jobs {
			rows[i] = t.readHashes(s, jobs[i].Range)
		}
		t.tell(func(now time.Time) {
			for i := range jobs {
				t.swarm.HashesRead(now, jobs[i].Peer, jobs[i].Range, rows[i])
			}
		})
	}
}

// readHashes reads a row of hashes; nil: it cannot be had.
func (t *Torrent) readHashes(s *store.Store, r peerwire.HashRange) []byte {
	row, err := s.Hashes(r.Root, metainfo.Range{
		Base: int(r.Base), Index: int(r.Index), Length: int(r.Length), ProofLayers: int(r.Proofs),
	})
	switch {
	case errors.Is(err, store.ErrChanged):
		t.damage(err)
	case err != nil:
		t.node.cfg.Log.Debug("hash request", "err", err)
	}
	return row
}

// tookIn tells the Swarm what became of blocks.
func (t *Torrent) tookIn(outcomes []store.Outcome) {
	var events [intakeBlocks]event
	n := 0
	for i := range outcomes {
		switch o := &outcomes[i]; {
		case o.Err != nil:
			t.damage(o.Err)
		case o.Inconsistent:
			t.fail(fmt.Errorf("piece %d: %w", o.Block.Piece, errInconsistent))
		case o.OK && !o.Whole && !o.Proven:
			// Nothing to tell of a block that waits for the rest of its piece.
		default:
			events[n] = event{kind: verified, verdict: swarm.Verdict{
				Block: o.Block, OK: o.OK, Whole: o.Whole, Good: o.Good, False: o.False,
			}}
			n++
		}
	}
	t.mail.post(events[:n]...)
}

// saveNowAndThen writes the resume record beside the loop, one at a time.
func (t *Torrent) saveNowAndThen(now time.Time) {
	st := t.swarm.Status()
	t.last.Store(&st)
	t.saveLayers()
	if st.Have == t.saved.pieces || now.Sub(t.saved.at) < saveInterval || !t.saved.busy.CompareAndSwap(false, true) {
		return
	}
	t.saved.at, t.saved.pieces = now, st.Have
	wire := t.swarm.Have()
	t.tasks.Go(func() {
		defer t.saved.busy.Store(false)
		if err := t.saveInterim(wire); err != nil {
			t.node.cfg.Log.Warn("resume record", "err", err)
		}
	})
}

// damage stops the torrent because of an error of the disk. Unless the disk is
// merely full, what was verified may not be there any more.
func (t *Torrent) damage(err error) {
	if !errors.Is(err, store.ErrNoSpace) {
		t.damaged.Store(true)
	}
	t.fail(err)
}

func (t *Torrent) saveInterim(wire []byte) error {
	t.saved.mu.Lock()
	defer t.saved.mu.Unlock()
	if t.saved.final {
		return nil
	}
	return t.save(wire, false)
}

// saveFinal saves the last state. What was written is synced first, so that the
// record is believed whatever happens next. After an error of the disk there is
// no record: all is checked next time.
func (t *Torrent) saveFinal() error {
	t.saved.mu.Lock()
	defer t.saved.mu.Unlock()
	t.saved.final = true
	if t.damaged.Load() && t.opt.Resume != "" {
		return store.RemoveResume(t.opt.Resume)
	}
	return t.save(t.swarm.Have(), true)
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
	t.hangUp()
	t.intakes.close()
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
	if p := t.node.purse; p != nil {
		p.unregistered.left(t)
	}
	t.noticeEnds()
	t.saved.err = t.saveFinal() // first: tasks may take their time to end
	t.tasks.Wait()
	t.saveLayers()
	t.tasks.Wait()
	if s := t.store.Load(); s != nil {
		s.Close()
	}
	if !isClosed(t.ended) {
		close(t.ended)
	}
}

// hangUp ends all connections when what is in their outboxes has been written:
// the last links, most of all.
func (t *Torrent) hangUp() {
	var wg sync.WaitGroup
	for _, c := range t.conns {
		wg.Go(c.closeAfter)
	}
	wg.Wait()
}

func servedBlock(b piece.Block) peerwire.Message {
	return peerwire.Message{ID: peerwire.Piece, Index: b.Piece, Begin: b.Begin, Length: b.Length}
}
