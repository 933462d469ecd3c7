package wallet

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"torrente/internal/crashfs"
)

// on has a wallet's logs on a disk that can fail.
func on(d *crashfs.Disk, config Config) Config {
	config.openFile = func(path string) (file, error) {
		f, err := d.Open(path)
		if err != nil {
			return nil, err
		}
		return f, nil
	}
	return config
}

// lost copies a wallet's folder as a loss of power would leave it. wallet.db
// stays: bbolt has synced it at the end of its last Update.
func lost(t testing.TB, d *crashfs.Disk, dir string, choose func(n int) int) string {
	t.Helper()
	to := crashed(t, dir)
	for path, left := range d.Lose(choose) {
		ok(t, os.WriteFile(filepath.Join(to, filepath.Base(path)), left.Data, 0o600))
	}
	return to
}

// bytesFile is a log that is only read.
type bytesFile struct{ *bytes.Reader }

var errReadOnly = errors.New("only read")

func (bytesFile) WriteAt([]byte, int64) (int, error) { return 0, errReadOnly }
func (bytesFile) Truncate(int64) error               { return errReadOnly }
func (bytesFile) Sync() error                        { return errReadOnly }
func (bytesFile) Close() error                       { return nil }
func (bytesFile) Stat() (os.FileInfo, error)         { return nil, io.EOF }
