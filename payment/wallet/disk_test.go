package wallet

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// disk stands between logs and their files. It knows what a loss of power would
// leave of them, and can fail.
type disk struct {
	mu      sync.Mutex
	durable map[string][]byte // by name, as of the last sync
	syncs   int
	// before and after are called around each change, if they are set; an error
	// of before keeps the change from happening.
	before, after func(op string) error
}

func newDisk() *disk { return &disk{durable: map[string][]byte{}} }

// open is a Config.openFile. What the file holds is taken to be durable.
func (d *disk) open(path string) (file, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	now, err := os.ReadFile(path)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.durable[filepath.Base(path)] = now
	return &diskFile{f, d, path}, err
}

// lose returns what of a file is left after a loss of power: what was synced,
// and unsynced bytes as far as keep says.
func (d *disk) lose(t testing.TB, path string, keep func(unsynced int) int) []byte {
	t.Helper()
	now := must[[]byte](t)(os.ReadFile(path))
	d.mu.Lock()
	defer d.mu.Unlock()
	was := d.durable[filepath.Base(path)]
	if !bytes.HasPrefix(now, was) {
		return was // a cut that was not synced
	}
	return now[:len(was)+keep(len(now)-len(was))]
}

func (d *disk) synced() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.syncs
}

// around runs a change between before and after.
func (d *disk) around(op string, change func() error) error {
	if d.before != nil {
		if err := d.before(op); err != nil {
			return err
		}
	}
	err := change()
	if err == nil && d.after != nil {
		err = d.after(op)
	}
	return err
}

type diskFile struct {
	*os.File
	d    *disk
	path string
}

func (f *diskFile) WriteAt(b []byte, at int64) (n int, err error) {
	err = f.d.around("write", func() error {
		n, err = f.File.WriteAt(b, at)
		return err
	})
	return n, err
}

func (f *diskFile) Truncate(size int64) error {
	return f.d.around("truncate", func() error { return f.File.Truncate(size) })
}

// Sync costs nothing, so that tests may do it often.
func (f *diskFile) Sync() error {
	return f.d.around("sync", func() error {
		now, err := os.ReadFile(f.path)
		f.d.mu.Lock()
		defer f.d.mu.Unlock()
		f.d.durable[filepath.Base(f.path)] = now
		f.d.syncs++
		return err
	})
}

// bytesFile is a log that is only read.
type bytesFile struct{ *bytes.Reader }

var errReadOnly = errors.New("only read")

func (bytesFile) WriteAt([]byte, int64) (int, error) { return 0, errReadOnly }
func (bytesFile) Truncate(int64) error               { return errReadOnly }
func (bytesFile) Sync() error                        { return errReadOnly }
func (bytesFile) Close() error                       { return nil }
func (bytesFile) Stat() (os.FileInfo, error)         { return nil, io.EOF }
