package wallet

import (
	"time"

	bolt "go.etcd.io/bbolt"

	"torrente/internal/failpoint"
	"torrente/payment"
)

// keep syncs links and folds full logs until Close, which waits for it.
func (w *Wallet) keep() {
	defer close(w.done)
	due := time.NewTimer(0)
	due.Stop()
	defer due.Stop()
	for {
		select {
		case <-w.stop:
			return
		case <-w.wrote:
			due.Reset(w.config.SyncEvery)
		case <-due.C:
			w.syncLinks()
		case <-w.full:
			w.foldFull()
		}
	}
}

// syncLinks makes the links of the last SyncEvery survive a loss of power. It
// holds no lock meanwhile: links go on being written.
func (w *Wallet) syncLinks() {
	s := &w.sold
	s.mu.Lock()
	due := s.log.unsynced
	s.log.unsynced = false
	s.mu.Unlock()
	if !due {
		return // a fold came first
	}
	failpoint.Hit("wallet.links.sync")
	if err := s.log.f.Sync(); err != nil {
		// A second sync would not tell what the first one lost.
		s.mu.Lock()
		err = s.log.fail(err)
		s.mu.Unlock()
		w.config.Log.Error("links are not safe on disk", "err", err)
	}
	failpoint.Hit("wallet.links.synced")
}

func (w *Wallet) foldFull() {
	w.write.Lock()
	defer w.write.Unlock()
	if err := w.fold(w.config.foldAt); err != nil {
		w.config.Log.Error("the wallet's logs stay as they are", "err", err)
	}
}

// fold brings wallet.db up to date with the memory, and empties the logs of at
// least some size. Records that arrive meanwhile wait: once in 131,072 links or
// 262,144 units. The caller holds write, or is alone.
func (w *Wallet) fold(size int64) error {
	if err := w.foldLinks(size); err != nil {
		return err
	}
	return w.foldOwed(size)
}

func (w *Wallet) foldLinks(size int64) error {
	s := &w.sold
	s.mu.Lock()
	defer s.mu.Unlock()
	return w.foldRows(&s.log, size, unfoldedOf(s.claims))
}

func (w *Wallet) foldOwed(size int64) error {
	b := &w.bought
	b.mu.Lock()
	defer b.mu.Unlock()
	return w.foldRows(&b.log, size, unfoldedOf(b.openings))
}

// unfolded is what memory, and perhaps a log, may know better than wallet.db.
type unfolded interface {
	unfolded() bool // it does
	fold(tx *bolt.Tx) error
	folded() // fold is on the disk
}

func unfoldedOf[R unfolded](all map[payment.CommitmentID]R) (rows []unfolded) {
	for _, r := range all {
		if r.unfolded() {
			rows = append(rows, r)
		}
	}
	return rows
}

// foldRows writes rows, and only then empties the log: a crash in between makes
// the log be read again, which changes nothing.
func (w *Wallet) foldRows(l *appendLog, size int64, rows []unfolded) error {
	if l.end < size {
		return nil
	}
	if len(rows) > 0 {
		failpoint.Hit("wallet.fold.write")
		if err := w.update(func(tx *bolt.Tx) error { return foldAll(tx, rows) }); err != nil {
			l.limit = l.end + foldRetryBytes
			return err
		}
		failpoint.Hit("wallet.fold.written")
	}
	for _, r := range rows {
		r.folded()
	}
	return l.reset(w.config.foldAt)
}

func foldAll(tx *bolt.Tx, rows []unfolded) error {
	for _, r := range rows {
		if err := r.fold(tx); err != nil {
			return err
		}
	}
	return nil
}
