package wallet

import (
	"bytes"

	bolt "go.etcd.io/bbolt"

	"torrente/internal/failpoint"
	"torrente/payment"
)

// SaveBooks keeps books durably, as payment.Book.Append writes them, all of
// them or none. An empty one is forgotten.
func (w *Wallet) SaveBooks(books map[payment.Account][]byte) error {
	return w.durably(func() error {
		failpoint.Hit("wallet.books.write")
		return w.update(func(tx *bolt.Tx) error {
			for account, book := range books {
				if err := putBook(tx, account, book); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

func putBook(tx *bolt.Tx, account payment.Account, book []byte) error {
	if len(book) == 0 {
		return remove(tx, bookBucket, account[:])
	}
	return put(tx, bookBucket, account[:], book)
}

// SaveBook is SaveBooks for one account.
func (w *Wallet) SaveBook(account payment.Account, book []byte) error {
	return w.SaveBooks(map[payment.Account][]byte{account: book})
}

// Books returns all books that were saved.
func (w *Wallet) Books() (map[payment.Account][]byte, error) {
	books := map[payment.Account][]byte{}
	err := w.each(bookBucket, func(k, v []byte) error {
		books[payment.Account(k)] = bytes.Clone(v)
		return nil
	})
	return books, err
}
