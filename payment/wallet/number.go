package wallet

import (
	"bytes"
	"encoding/binary"

	bolt "go.etcd.io/bbolt"

	"torrente/internal/failpoint"
	"torrente/payment"
)

// Limit returns the most coins that this wallet may freeze for one torrent
// without asking anybody: 0 until SetLimit.
func (w *Wallet) Limit() (payment.Amount, error) {
	limit, err := w.number(metaLimit)
	return payment.Amount(limit), err
}

// SetLimit changes Limit, durably.
func (w *Wallet) SetLimit(coins payment.Amount) error {
	return w.setNumber(metaLimit, uint64(coins))
}

// Height returns the first block of the ledger that may hold events which this
// wallet knows nothing of: 0 until SetHeight.
func (w *Wallet) Height() (uint64, error) { return w.number(metaHeight) }

// SetHeight changes Height, durably. All that the blocks before it mean to the
// wallet must have been kept by then; they are not looked at again.
func (w *Wallet) SetHeight(height uint64) error {
	failpoint.Hit("wallet.height.write")
	defer failpoint.Hit("wallet.height.written")
	return w.setNumber(metaHeight, height)
}

// number reads a number of the meta bucket: 0 if it was never set.
func (w *Wallet) number(key []byte) (n uint64, err error) {
	err = w.each(metaBucket, func(k, v []byte) error {
		if !bytes.Equal(k, key) {
			return nil
		}
		if len(v) != 8 {
			return damagedRow(metaBucket, k)
		}
		n = binary.BigEndian.Uint64(v)
		return nil
	})
	return n, err
}

func (w *Wallet) setNumber(key []byte, n uint64) error {
	return w.durably(func() error {
		return w.update(func(tx *bolt.Tx) error {
			return put(tx, metaBucket, key, binary.BigEndian.AppendUint64(nil, n))
		})
	})
}
