package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A file of any size costs a bounded amount of memory.
func TestReadSmall(t *testing.T) {
	path := filepath.Join(t.TempDir(), "genesis")
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err := readSmall(path); err != nil || string(b) != "x" {
		t.Errorf("%q, %v", b, err)
	}
	if err := os.Truncate(path, maxFoundBytes+1); err != nil {
		t.Fatal(err)
	}
	if _, err := readSmall(path); err == nil || !strings.Contains(err.Error(), path+" is larger than") {
		t.Error(err)
	}
}
