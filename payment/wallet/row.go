package wallet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"runtime/debug"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// The buckets of wallet.db. Each value ends with the CRC-32C of bucket, key and
// value.
var (
	metaBucket       = []byte("meta")
	openingBucket    = []byte("openings")    // commitment id 32: see Opening.append
	owedBucket       = []byte("owed")        // commitment id 32, chunk u32: bits of owed units
	intentionBucket  = []byte("intentions")  // intention id 32: see Intention.append
	submissionBucket = []byte("submissions") // request id 16: order u64, signed transaction
	claimBucket      = []byte("claims")      // commitment id 32: see Claim.append
	bookBucket       = []byte("books")       // account 32: payment.Book
	historyBucket    = []byte("history")     // number u64: Event as JSON

	buckets = [...][]byte{
		metaBucket, openingBucket, owedBucket, intentionBucket, submissionBucket,
		claimBucket, bookBucket, historyBucket,
	}
)

// The rows of the meta bucket.
var (
	metaOwner  = []byte("owner")  // account 32, ledger 32
	metaSecret = []byte("secret") // sealed: see newSecret
	metaLimit  = []byte("limit")  // coins u64
	metaHeight = []byte("height") // u64, see Height
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const sumBytes = 4

func openDB(path string) (db *bolt.DB, err error) {
	err = guarded(func() error {
		// The list of free pages is synced: without it bbolt looks for them in
		// a goroutine of its own, where a damaged page ends the process.
		db, err = bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second, FreelistType: bolt.FreelistMapType})
		return err
	})
	if errors.Is(err, berrors.ErrTimeout) {
		return nil, fmt.Errorf("%s is in use by another process: stop it first", path)
	}
	for _, bad := range []error{berrors.ErrInvalid, berrors.ErrChecksum, berrors.ErrVersionMismatch} {
		if errors.Is(err, bad) {
			return nil, fmt.Errorf("%w (%s: %w)", ErrDamaged, path, err)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return db, nil
}

// guarded runs what reads a file that may be damaged: rows have checksums, but
// bbolt trusts its pages, and then panics or reads beyond the file.
func guarded(run func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w (%s: %v)", ErrDamaged, dbName, p)
		}
	}()
	return run()
}

// update changes wallet.db; when it returns nil the change is on the disk.
func (w *Wallet) update(change func(tx *bolt.Tx) error) error {
	if err := guarded(func() error { return w.db.Update(change) }); err != nil {
		return fmt.Errorf("write %s: %w", dbName, err)
	}
	return nil
}

// shutOr names the error of a wallet that was closed.
func shutOr(err error) error {
	if errors.Is(err, berrors.ErrDatabaseNotOpen) {
		return errShut
	}
	return err
}

// each calls do with the rows of a bucket, in the order of their keys. What do
// gets is valid until it returns.
func (w *Wallet) each(bucket []byte, do func(key, value []byte) error) error {
	return guarded(func() error {
		return shutOr(w.db.View(func(tx *bolt.Tx) error {
			b := tx.Bucket(bucket)
			if b == nil {
				return fmt.Errorf("%w (%s has no %s)", ErrDamaged, dbName, bucket)
			}
			return b.ForEach(func(k, v []byte) error {
				value, ok := unseal(bucket, k, v)
				// A row that is found by walking and not by its key is in the
				// wrong place: a damaged page.
				if !ok || !bytes.Equal(b.Get(k), v) {
					return damagedRow(bucket, k)
				}
				return do(k, value)
			})
		}))
	})
}

func damagedRow(bucket, key []byte) error {
	return fmt.Errorf("%w (%s, row %x of %s)", ErrDamaged, dbName, key, bucket)
}

func put(tx *bolt.Tx, bucket, key, value []byte) error {
	b := tx.Bucket(bucket)
	if b == nil {
		return fmt.Errorf("%w (%s has no %s)", ErrDamaged, dbName, bucket)
	}
	return b.Put(key, seal(bucket, key, value))
}

func remove(tx *bolt.Tx, bucket, key []byte) error {
	b := tx.Bucket(bucket)
	if b == nil {
		return fmt.Errorf("%w (%s has no %s)", ErrDamaged, dbName, bucket)
	}
	return b.Delete(key)
}

func seal(bucket, key, value []byte) []byte {
	out := make([]byte, len(value), len(value)+sumBytes)
	copy(out, value)
	return binary.BigEndian.AppendUint32(out, rowSum(bucket, key, value))
}

func unseal(bucket, key, sealed []byte) ([]byte, bool) {
	n := len(sealed) - sumBytes
	if n < 0 || binary.BigEndian.Uint32(sealed[n:]) != rowSum(bucket, key, sealed[:n]) {
		return nil, false
	}
	return sealed[:n:n], true
}

func rowSum(bucket, key, value []byte) uint32 {
	sum := crc32.Update(0, castagnoli, bucket)
	return crc32.Update(crc32.Update(sum, castagnoli, key), castagnoli, value)
}
