package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"

	"torrente/internal/failpoint"
	"torrente/payment/contract"
)

// The rows of the derived state, by the first byte of their key.
const (
	rowContract = "s/" // + a key of payment/contract
	rowReceipt  = "t/" // + transaction id 32: height u64 | result
	rowEvents   = "e/" // + height u64: a Block as JSON
	rowTip      = "m/" // height u64 | hash 32 | ledger id 32 of the last block applied
)

// flushAt is after how many changed rows they go to the disk.
const flushAt = 16384

var rowBucket = []byte("rows")

// errRows means that the derived state is unusable and is made again.
var errRows = errors.New("the derived state is damaged: start the ledger again, which makes it anew from the log")

// rows is the derived state: a bbolt file, and before it what changed since it
// was last written. The file lags behind the log by up to flushAt rows and is
// always one that bbolt has synced, so a crash leaves it whole; what it lacks
// is executed again. Each value carries a CRC-32C of key and value, and the
// file as a whole has one beside it.
type rows struct {
	db      *bolt.DB
	path    string
	flushAt int // changed rows

	mu sync.RWMutex // guards the following
	// pending is newer than flushing, flushing newer than the file. A nil
	// value is a deleted row. Neither map is changed but under the lock, and
	// flushing not at all.
	pending, flushing map[string][]byte
}

// openRows opens the file at path, or makes it. The error is errRows if the
// file is not as the last flush left it. bbolt must not see such a file: it
// trusts what its pages say and crashes the process.
func openRows(path string) (*rows, error) {
	if err := checkSum(path); err != nil {
		return nil, err
	}
	// The list of free pages is written with each flush. Without it the file is
	// as safe, but bbolt walks all pages to find the list when it opens the file,
	// in a goroutine of its own, whose panic nobody can recover: with a million
	// rows that took 220 ms in place of 9, and a flush (580 ms) was no faster.
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second, FreelistType: bolt.FreelistMapType})
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", errRows, err)
	}
	return &rows{db: db, path: path, flushAt: flushAt, pending: map[string][]byte{}}, nil
}

func (r *rows) close() error { return r.db.Close() }

// apply makes changed rows visible, all at once.
func (r *rows) apply(changed map[string][]byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for k, v := range changed {
		r.pending[k] = v
	}
}

// flushIfFull writes to the disk when enough has changed. The committer alone
// calls it.
func (r *rows) flushIfFull() error {
	r.mu.RLock()
	full := len(r.pending) >= r.flushAt
	r.mu.RUnlock()
	if !full {
		return nil
	}
	return r.flush()
}

// flush writes what changed to the disk. Readers go on meanwhile.
func (r *rows) flush() error {
	r.mu.Lock()
	r.flushing, r.pending = r.pending, map[string][]byte{}
	changed := r.flushing
	r.mu.Unlock()
	failpoint.Hit("ledger.rows.write")
	err := r.db.Update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(rowBucket)
		if err != nil {
			return err
		}
		for k, v := range changed {
			if err := writeRow(b, k, v); err != nil {
				return err
			}
		}
		return nil
	})
	failpoint.Hit("ledger.rows.written")
	if err == nil {
		err = writeSum(r.path)
	}
	failpoint.Hit("ledger.rows.summed")
	if err != nil {
		return fmt.Errorf("%w (%w)", ErrBroken, err)
	}
	r.mu.Lock()
	r.flushing = nil
	r.mu.Unlock()
	return nil
}

func writeRow(b *bolt.Bucket, key string, value []byte) error {
	if value == nil {
		return b.Delete([]byte(key))
	}
	return b.Put([]byte(key), seal(key, value))
}

// seal appends the checksum.
func seal(key string, value []byte) []byte {
	sum := checksum(append([]byte(key), value...))
	return binary.BigEndian.AppendUint32(append(make([]byte, 0, len(value)+4), value...), sum)
}

func unseal(key string, sealed []byte) ([]byte, error) {
	n := len(sealed) - 4
	if n < 0 || checksum(append([]byte(key), sealed[:n]...)) != binary.BigEndian.Uint32(sealed[n:]) {
		return nil, fmt.Errorf("%w (row %.80q)", errRows, key)
	}
	return append(make([]byte, 0, n), sealed[:n]...), nil
}

// read gives one look at the rows, which no commit changes meanwhile.
func (r *rows) read(look func(v *snapshot) error) error {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.db.View(func(tx *bolt.Tx) error {
		return look(&snapshot{[]map[string][]byte{r.pending, r.flushing}, tx.Bucket(rowBucket)})
	})
}

// snapshot reads rows as they are at one moment.
type snapshot struct {
	changed []map[string][]byte // the newest first
	bucket  *bolt.Bucket
}

func (s *snapshot) get(key string) ([]byte, error) {
	for _, layer := range s.changed {
		if value, ok := layer[key]; ok {
			return value, nil
		}
	}
	if s.bucket == nil {
		return nil, nil // nothing was ever written
	}
	sealed := s.bucket.Get([]byte(key))
	if sealed == nil {
		return nil, nil
	}
	return unseal(key, sealed)
}

// contractReader shows the contract its rows.
type contractReader struct{ *snapshot }

var _ contract.Reader = contractReader{}

// Get returns nil for a row that does not exist.
func (c contractReader) Get(key string) ([]byte, error) { return c.get(rowContract + key) }

// GetMany returns the values of keys.
func (c contractReader) GetMany(keys []string) ([][]byte, error) {
	values := make([][]byte, len(keys))
	for i, k := range keys {
		var err error
		if values[i], err = c.Get(k); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// Range returns rows in the order of their keys.
func (c contractReader) Range(prefix, after string, limit int) ([]contract.Row, error) {
	if after != "" {
		after = rowContract + after
	}
	found, err := c.scan(rowContract+prefix, after, limit)
	for i := range found {
		found[i].Key = found[i].Key[len(rowContract):]
	}
	return found, err
}
