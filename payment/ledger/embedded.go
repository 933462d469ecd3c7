package ledger

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofrs/flock"
	berrors "go.etcd.io/bbolt/errors"

	"torrente/identity"
	"torrente/payment"
	"torrente/payment/contract"
)

// The files of a ledger's folder. Only the first cannot be made again.
const (
	LogFile   = "blocks.log"
	stateFile = "state.db"
	lockFile  = "lock"
)

// Config holds what an embedded ledger needs of its surroundings.
type Config struct {
	// Now is the ledger's clock; nil: time.Now.
	Now func() time.Time
	// Log is told what was repaired at the start; nil: nobody is.
	Log *slog.Logger
	// open is how tests come between the log and the disk.
	open func(path string) (file, int64, error)
	// flushAt is how tests have the rows written down more often.
	flushAt int
}

// Embedded is a ledger in a folder of this machine.
type Embedded struct {
	id      payment.LedgerID
	genesis []byte
	config  Config
	lock    *flock.Flock
	log     *blockLog
	rows    *rows
	trust   atomic.Pointer[identity.Trust] // replaced whole, never changed

	requests chan *request // nobody waits in it for long: the committer drains it
	stop     chan struct{} // closed by Close
	stopped  chan struct{} // closed by the committer when it has ended
	closing  sync.Once
	closed   error

	mu     sync.Mutex // guards the following
	last   Status
	change chan struct{} // closed and replaced when last changes
	broken error         // why nothing is taken any more
}

// Status is where a ledger has got to.
type Status struct {
	Height uint64    `json:"height"`
	Hash   string    `json:"hash"` // of the last block, in hex; of the genesis document at height 0
	Time   time.Time `json:"time"` // the ledger's clock now
}

var _ Ledger = (*Embedded)(nil)

// Create begins a ledger in dir, which is made if need be, from a genesis
// document. Errors: contract.ErrGenesis, ErrExists.
func Create(dir string, genesis []byte) error {
	if _, err := contract.ParseGenesis(genesis); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	path := filepath.Join(dir, LogFile)
	err := createLog(path, genesis)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s: %w", dir, ErrExists)
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("begin a ledger in %s: %w", dir, err)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Open opens the ledger in dir. What a crash left of a last block that nobody
// was promised is cut off and reported; the derived state is brought up to the
// log. Errors: ErrNone, ErrInUse, ErrDamaged. The caller must Close it.
func Open(dir string, config Config) (*Embedded, error) {
	if config.Now == nil {
		config.Now = time.Now
	}
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	if config.open == nil {
		config.open = openFile
	}
	if _, err := os.Stat(filepath.Join(dir, LogFile)); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", dir, ErrNone)
	}
	e := &Embedded{
		config: config, requests: make(chan *request, maxBlockTxs), change: make(chan struct{}),
		stop: make(chan struct{}), stopped: make(chan struct{}),
	}
	e.lock = flock.New(filepath.Join(dir, lockFile))
	if got, err := e.lock.TryLock(); err != nil || !got {
		return nil, errors.Join(fmt.Errorf("%s: %w", dir, ErrInUse), err)
	}
	if err := e.load(dir); err != nil {
		return nil, fmt.Errorf("%s: %w", dir, errors.Join(err, e.release()))
	}
	go e.commitAll()
	return e, nil
}

// openFile opens the log for reading and writing.
func openFile(path string) (file, int64, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

// load reads the log and brings the rows up to it; rows that do not fit are
// made anew, once.
func (e *Embedded) load(dir string) error {
	f, size, err := e.config.open(filepath.Join(dir, LogFile))
	if err != nil {
		return err
	}
	e.log = &blockLog{f: f}
	path := filepath.Join(dir, stateFile)
	err = e.replay(f, size, path)
	if errors.Is(err, errRows) {
		e.config.Log.Warn("the ledger's state is made anew from its log", "reason", err)
		if err := errors.Join(e.rows.closeIfOpen(), removeRows(path)); err != nil {
			return err
		}
		err = e.replay(f, size, path)
	}
	return err
}

func (e *Embedded) replay(f file, size int64, path string) error {
	log, genesis, err := newLogReader(f, size)
	if err != nil {
		return err
	}
	e.genesis, e.id = genesis, contract.GenesisID(genesis)
	if e.rows, err = openState(path, genesis); err != nil {
		return err
	}
	if e.config.flushAt > 0 {
		e.rows.flushAt = e.config.flushAt
	}
	p := &replayer{rows: e.rows, log: log, ledger: e.id}
	err = p.run()
	if errors.Is(err, errTorn) {
		e.config.Log.Warn("cut off a block that a crash left unfinished; nobody was promised it",
			"height", p.last.height+1, "bytes", size-log.at)
		err = e.log.cut(log.at)
	}
	if err != nil {
		return err
	}
	e.log.end = log.at
	e.trust.Store(p.trust)
	e.last = Status{Height: p.last.height, Hash: fmt.Sprintf("%x", p.last.hash)}
	return nil
}

// openState opens the derived state of this genesis document, a new one if
// there is none. The error is errRows if it must be made anew.
func openState(path string, genesis []byte) (*rows, error) {
	r, err := openRows(path)
	if err != nil {
		return nil, err
	}
	var t tip
	var found bool
	err = r.read(func(v *snapshot) (err error) {
		t, found, err = v.tip()
		return err
	})
	switch {
	case err != nil:
		return r, err
	case !found:
		return r, r.begin(genesis)
	case t.ledger != contract.GenesisID(genesis):
		return r, fmt.Errorf("%w (it is of another ledger)", errRows)
	}
	return r, nil
}

func (r *rows) closeIfOpen() error {
	if r == nil {
		return nil
	}
	return r.close()
}

// release lets go of all files.
func (e *Embedded) release() error {
	err := e.rows.closeIfOpen()
	if e.log != nil {
		err = errors.Join(err, e.log.f.Close())
	}
	return errors.Join(err, e.lock.Unlock())
}

// Close ends the ledger: what was taken is answered first, what comes later is
// refused with ErrClosed, streams of events end.
func (e *Embedded) Close() error {
	e.closing.Do(func() {
		close(e.stop)
		<-e.stopped
		if e.failure() == nil {
			e.closed = e.rows.flush()
		}
		e.closed = errors.Join(e.closed, e.release())
	})
	return e.closed
}

// ID returns SHA-256 of the genesis document.
func (e *Embedded) ID() payment.LedgerID { return e.id }

// Genesis returns the genesis document, which the caller must not change.
func (e *Embedded) Genesis() []byte { return e.genesis }

// Trust returns whose certificates are good for a transaction now. It changes
// by transactions: ask again after an event EventRoots. Revoked keys are not in
// it, because what revoked accounts earned stays theirs to redeem.
func (e *Embedded) Trust() *identity.Trust { return e.trust.Load() }

// Status returns the last block's height and hash, and the ledger's clock.
func (e *Embedded) Status() Status {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.last
	s.Time = e.config.Now()
	return s
}

// Query reads one state, after all blocks so far.
func (e *Embedded) Query(ctx context.Context, q contract.Query) (a contract.Answer, err error) {
	if err := ctx.Err(); err != nil {
		return a, err
	}
	err = e.read(func(v *snapshot) (err error) {
		if a, err = contract.Ask(contractReader{v}, q); err != nil || a.Ledger == nil {
			return err
		}
		last, _, err := v.tip()
		a.Ledger.Height = last.height
		return err
	})
	a.Time = uint64(e.config.Now().Unix())
	return a, err
}

// Audit adds up all coins, as contract.Audit does. It reads every row.
func (e *Embedded) Audit() (b contract.Books, err error) {
	err = e.read(func(v *snapshot) (err error) {
		b, err = contract.Audit(contractReader{v})
		return err
	})
	return b, err
}

// read looks at the rows unless the ledger is closed.
func (e *Embedded) read(look func(v *snapshot) error) error {
	select {
	case <-e.stop:
		return ErrClosed
	default:
	}
	err := e.rows.read(look)
	if errors.Is(err, berrors.ErrDatabaseNotOpen) {
		return ErrClosed // in this very moment
	}
	return err
}

// Events yields every block from height on: those that are there, then each
// when it is committed.
func (e *Embedded) Events(ctx context.Context, height uint64) iter.Seq2[Block, error] {
	return func(yield func(Block, error) bool) {
		for next := max(height, 1); ; {
			e.mu.Lock()
			last, change := e.last.Height, e.change
			e.mu.Unlock()
			for ; next <= last; next++ {
				b, err := e.block(ctx, next)
				if !yield(b, err) || err != nil {
					return
				}
			}
			select {
			case <-change:
			case <-ctx.Done():
				yield(Block{}, ctx.Err())
				return
			case <-e.stop:
				yield(Block{}, ErrClosed)
				return
			}
		}
	}
}

func (e *Embedded) block(ctx context.Context, height uint64) (b Block, err error) {
	if err := ctx.Err(); err != nil {
		return b, err
	}
	err = e.read(func(v *snapshot) (err error) {
		b, err = v.events(height)
		return err
	})
	return b, err
}
