package wallet

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"

	"torrente/payment"
)

// The files of a wallet.
const (
	dbName    = "wallet.db"
	linksName = "links.log"
	owedName  = "owed.log"
)

const (
	// DefaultSyncEvery is how long a link may wait for its fsync.
	DefaultSyncEvery = 100 * time.Millisecond
	// foldBytes is the size at which a log is folded into wallet.db.
	foldBytes = 8 << 20
	// foldRetryBytes is how much a log grows before a fold that could not be
	// done is tried again.
	foldRetryBytes = 1 << 20
)

var (
	// ErrAccount means that the wallet is of another account or ledger.
	ErrAccount = errors.New("the wallet is another account's: use the home folder of that identity, or a new one with --home")
	// ErrKey means that the wallet's secret does not open with the key given.
	ErrKey = errors.New("the wallet was sealed with another key: use the key file that it was made with")
	// ErrDamaged means that a file is not as this package left it.
	ErrDamaged = errors.New("the wallet is damaged: keep a copy of the folder, then restore wallet.db, links.log and owed.log together from a backup, or run wallet recover")
	// ErrUnknown means a commitment that the wallet does not hold.
	ErrUnknown = errors.New("the wallet has no such commitment")
	// ErrFinal means that a commitment was closed, or has ended: it counts
	// nothing more.
	ErrFinal = errors.New("the commitment is closed")
	// ErrForeign means a commitment that this wallet's account has no part in.
	ErrForeign = errors.New("the commitment is not between this account and another, on this ledger")
	// ErrRange means an index, cap or final index that the chain does not have.
	ErrRange = errors.New("the index is outside of the chain")
	// ErrRequest means that a request id was used for other bytes before.
	ErrRequest = errors.New("the request id was used for another transaction")
	// ErrBroken means that a disk did not do what it said: nothing more is
	// written, since nobody knows what is on it.
	ErrBroken = errors.New("the wallet could not be written: check the disk, then start again")
)

// Config says whose wallet it is.
type Config struct {
	Account payment.Account
	Ledger  payment.LedgerID
	// Key opens the wallet's secret: see DeriveKey.
	Key [32]byte
	// SyncEvery is how long a link may wait for its fsync. Zero means
	// DefaultSyncEvery.
	SyncEvery time.Duration
	// SkipDamaged leaves out records of the logs that are damaged, or that
	// wallet.db knows nothing of, instead of refusing to open. Recovered tells
	// how many.
	SkipDamaged bool
	// Log is told what fails while nobody waits for it: a sync, a fold. Nil
	// means nobody is.
	Log *slog.Logger

	foldAt   int64 // 0: foldBytes
	openFile func(path string) (file, error)
}

// Wallet is an open wallet. Its methods may be called at the same time. What
// they return is the caller's own.
type Wallet struct {
	config    Config
	db        *bolt.DB
	secret    [secretBytes]byte
	recovered Recovery

	closing    sync.Once
	stop, done chan struct{} // of the keeper
	wrote      chan struct{} // the first link after a sync
	full       chan struct{} // a log reached its limit

	// write is held by whoever changes wallet.db, while it does: it keeps rows
	// and memory in step. Link and Owed do not take it. It comes before the
	// locks of bought and sold.
	write sync.Mutex
	shut  bool // guarded by write

	bought bought
	sold   sold
}

// Open opens the wallet in dir, or makes one if there is none. The folder must
// exist. The errors are ErrAccount, ErrKey, ErrDamaged, and those of the disk.
func Open(dir string, config Config) (*Wallet, error) {
	w, err := open(dir, config.withDefaults())
	if err != nil {
		return nil, fmt.Errorf("open the wallet in %s: %w", dir, err)
	}
	go w.keep()
	return w, nil
}

func (c Config) withDefaults() Config {
	if c.SyncEvery <= 0 {
		c.SyncEvery = DefaultSyncEvery
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.foldAt == 0 {
		c.foldAt = foldBytes
	}
	if c.openFile == nil {
		c.openFile = openFile
	}
	return c
}

func open(dir string, config Config) (_ *Wallet, err error) {
	if err := create(dir, config); err != nil {
		return nil, err
	}
	w := &Wallet{
		config: config,
		stop:   make(chan struct{}), done: make(chan struct{}),
		wrote: make(chan struct{}, 1), full: make(chan struct{}, 1),
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.closeFiles())
		}
	}()
	if w.db, err = openDB(filepath.Join(dir, dbName)); err != nil {
		return nil, err
	}
	if err := w.load(); err != nil {
		return nil, err
	}
	if err := w.openLogs(dir); err != nil {
		return nil, err
	}
	return w, w.fold(0) // what the logs held, so that they start empty
}

// Recovered returns what Open found in the logs, and what it could not use.
func (w *Wallet) Recovered() Recovery { return w.recovered }

// Close folds the logs and closes the files. After an error nothing is lost:
// the logs are read when the wallet is opened again. Calls that come later
// return os.ErrClosed, and Close nil.
func (w *Wallet) Close() error {
	var err error
	w.closing.Do(func() {
		close(w.stop)
		<-w.done // before the lock, which the keeper may wait for
		w.write.Lock()
		defer w.write.Unlock()
		w.shut = true
		w.sold.shut()
		w.bought.shut()
		err = errors.Join(w.fold(0), w.closeFiles())
	})
	return err
}

// closeFiles closes those that are open.
func (w *Wallet) closeFiles() error {
	var err error
	for _, l := range [...]*appendLog{&w.sold.log, &w.bought.log} {
		if l.f != nil {
			err = errors.Join(err, l.f.Close())
		}
	}
	if w.db != nil {
		err = errors.Join(err, w.db.Close())
	}
	return err
}

// durably runs a change of wallet.db, one at a time, while the wallet is open.
func (w *Wallet) durably(change func() error) error {
	w.write.Lock()
	defer w.write.Unlock()
	if w.shut {
		return fmt.Errorf("the wallet: %w", os.ErrClosed)
	}
	return change()
}
