package wallet

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	bolt "go.etcd.io/bbolt"

	"torrente/internal/failpoint"
	"torrente/payment"
)

// Adopt keeps durably that there are chains of this account which the wallet
// did not know, because it is an older copy, or because the key is in use
// elsewhere. They count as ended at Final: nothing is paid or owed on them, and
// whether their links can be made is not asked. One that is held already stays
// as it is. Of the openings Commitment, Cap and Final are used. The errors are
// ErrForeign, ErrRange, payment.ErrCommitment, and those of the disk; after one
// nothing is kept.
func (w *Wallet) Adopt(openings []Opening) error {
	return w.durably(func() error {
		fresh := map[payment.CommitmentID]Opening{}
		for i := range openings {
			o := &openings[i]
			if err := w.checkOpening(o); err != nil {
				return err
			}
			if max(o.Cap, o.Final) > o.Commitment.Links {
				return ErrRange
			}
			id := o.Commitment.ID()
			if _, held := w.Opening(id); !held {
				fresh[id] = Opening{Commitment: o.Commitment, Cap: o.Cap, Ended: true, Final: o.Final}
			}
		}
		failpoint.Hit("wallet.adopt.write")
		err := w.update(func(tx *bolt.Tx) error {
			for id, o := range fresh {
				if err := put(tx, openingBucket, id[:], o.append(nil)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		w.bought.mu.Lock()
		defer w.bought.mu.Unlock()
		for id, o := range fresh {
			w.bought.openings[id] = newOpening(id, o)
		}
		return nil
	})
}

// SetAside moves the files of a wallet that cannot be opened into another
// folder on the same disk, which it makes, so that the next Open makes a new
// wallet. The wallet must not be open. After an error it can be called again.
func SetAside(dir, to string) error {
	if err := os.MkdirAll(to, 0o700); err != nil {
		return fmt.Errorf("set the wallet aside: %w", err)
	}
	for _, name := range [...]string{linksName, owedName, dbName} {
		err := os.Rename(filepath.Join(dir, name), filepath.Join(to, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("set the wallet aside: %w", err)
		}
	}
	return errors.Join(syncFolder(to), syncFolder(dir))
}
