package federation

import (
	"testing"

	"go.etcd.io/bbolt"
)

// count returns how many rows a bucket has.
func (r *registry) count(t testing.TB, bucket []byte) (n int) {
	t.Helper()
	err := r.db.View(func(tx *bbolt.Tx) error {
		n = tx.Bucket(bucket).Stats().KeyN
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
