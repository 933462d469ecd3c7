// Package vectors keeps, for tests, the vectors of docs/ledger.md: files that
// another implementation can run, and the keys that they were made with.
package vectors

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/json"
	"flag"
	"math/big"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the vectors in testdata")

// Check compares v, as JSON, with a file of testdata, or rewrites it.
func Check(t testing.TB, name string, v any) {
	t.Helper()
	got, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s:\ngot  %s\nwant %s", name, got, want)
	}
}

// Key returns the same key for the same name, in every run.
func Key(t testing.TB, name string) *ecdsa.PrivateKey {
	t.Helper()
	d := sha256.Sum256([]byte("test key " + name))
	n := new(big.Int).SetBytes(d[:])
	n.Mod(n, elliptic.P256().Params().N)
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), n.FillBytes(make([]byte, 32)))
	if err != nil {
		t.Fatal(err)
	}
	return key
}
