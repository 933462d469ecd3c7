package wallet

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	bolt "go.etcd.io/bbolt"
)

// newDBName is wallet.db while it is made.
const newDBName = dbName + ".new"

// create makes a wallet in a folder that has none. wallet.db gets its name
// last, so a crash on the way leaves what the next create makes again.
func create(dir string, config Config) error {
	if _, err := os.Lstat(filepath.Join(dir, dbName)); !errors.Is(err, fs.ErrNotExist) {
		return err // nil: there is one
	}
	for _, name := range [...]string{linksName, owedName} {
		info, err := os.Lstat(filepath.Join(dir, name))
		if err == nil && info.Size() > headerBytes {
			return fmt.Errorf("%s holds records but %s is missing: %w", name, dbName, ErrDamaged)
		}
		if err := createLog(filepath.Join(dir, name), name, &config); err != nil {
			return err
		}
	}
	if err := createDB(filepath.Join(dir, newDBName), &config); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(dir, newDBName), filepath.Join(dir, dbName)); err != nil {
		return err
	}
	return syncFolder(dir)
}

func createLog(path, name string, config *Config) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.Write(logHeader(name, config)); err != nil {
		return err
	}
	return f.Sync()
}

func createDB(path string, config *Config) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	box, err := newSecret(config)
	if err != nil {
		return err
	}
	db, err := openDB(path)
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bolt.Tx) error {
		for _, name := range buckets {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		owner := append(config.Account[:], config.Ledger[:]...)
		return errors.Join(put(tx, metaBucket, metaOwner, owner), put(tx, metaBucket, metaSecret, box))
	})
	return errors.Join(err, db.Close())
}

// syncFolder makes new names in a folder durable.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
