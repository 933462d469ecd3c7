package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"torrente/internal/failpoint"
	"torrente/metainfo"
)

// maxOpen is how many files of a torrent are held open at once.
const maxOpen = 256

// ErrNotRegular says that something else stands where a file should: a pipe
// or a device would block or do harm when opened as data.
var ErrNotRegular = errors.New("not a regular file")

// files are a torrent's files below one folder, opened when first needed.
type files struct {
	root     *os.Root
	list     []metainfo.File
	writable bool
	through  func(*os.File) (file, error) // how tests come between the files and the disk

	mu sync.Mutex // guards the following
	// open holds the handles; a handle in use (users > 0) is never closed.
	open  map[int]*handle
	clock uint64 // counts uses, for closing the least recently used
	// dirty are the files written since the last sync, open or not.
	dirty map[int]bool
	// seen is how each file looked when we last looked or wrote: by it a change
	// that somebody else made is noticed.
	seen map[int]look
}

// look is a file's size in bytes, -1 if absent, and time of change in ns.
type look struct{ size, modified int64 }

// file is what is needed of an *os.File.
type file interface {
	io.ReaderAt
	io.WriterAt
	Sync() error
	Close() error
	Fd() uintptr
}

type handle struct {
	file     file
	writable bool
	users    int
	used     uint64
}

func openFiles(dir string, list []metainfo.File, writable bool) (*files, error) {
	if writable {
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return nil, err
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &files{root: root, list: list, writable: writable, open: map[int]*handle{}, dirty: map[int]bool{}, seen: map[int]look{}}, nil
}

func (f *files) name(i int) string { return filepath.Join(f.list[i].Path...) }

// acquire returns an open file; release must follow. Reading does not create.
func (f *files) acquire(i int, write bool) (*handle, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.clock++
	if write {
		f.dirty[i] = true
	}
	if h := f.open[i]; h != nil && (h.writable || !write) {
		h.users++
		h.used = f.clock
		return h, nil
	}
	h, err := f.openOne(i, write)
	if err != nil {
		return nil, err
	}
	h.users, h.used = 1, f.clock
	if old := f.open[i]; old != nil { // readers keep their handle until they let go of it
		f.retire(i, old)
	}
	f.open[i] = h
	f.evict()
	return h, nil
}

func (f *files) release(h *handle) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if h.users--; h.users == 0 && h.used == 0 {
		h.file.Close()
	}
}

// openOne opens or creates one file. O_NONBLOCK keeps a pipe from blocking the
// open, before fstat refuses it; os.Root refuses what lies outside.
func (f *files) openOne(i int, write bool) (*handle, error) {
	name, flag := f.name(i), os.O_RDONLY|syscall.O_NONBLOCK
	if write {
		flag = os.O_RDWR | os.O_CREATE | syscall.O_NONBLOCK
		if err := f.root.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			return nil, err
		}
	}
	mode := fs.FileMode(0o666)
	if f.list[i].Executable {
		mode = 0o777
	}
	opened, err := f.root.OpenFile(name, flag, mode)
	if err != nil {
		return nil, err
	}
	st, err := opened.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%s: %w", filepath.Join(f.root.Name(), name), ErrNotRegular)
	}
	if err != nil {
		opened.Close()
		return nil, err
	}
	h := &handle{file: opened, writable: write}
	if f.through != nil {
		h.file, err = f.through(opened)
	}
	return h, err
}

// evict closes the least recently used files that nobody holds.
func (f *files) evict() {
	for len(f.open) > maxOpen {
		oldest := -1
		for i, h := range f.open {
			if h.users == 0 && (oldest < 0 || h.used < f.open[oldest].used) {
				oldest = i
			}
		}
		if oldest < 0 {
			return
		}
		f.retire(oldest, f.open[oldest])
	}
}

// retire takes a handle out; it is closed now or by its last user.
func (f *files) retire(i int, h *handle) {
	delete(f.open, i)
	if h.used = 0; h.users == 0 {
		h.file.Close()
	}
}

// close closes every file. Nothing may be in use.
func (f *files) close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, h := range f.open {
		f.retire(i, h)
	}
	return f.root.Close()
}

// sync forces what was written to the disk. What was closed since is opened
// again: the system keeps its data, and an error of writing it, for that.
func (f *files) sync() error {
	f.mu.Lock()
	dirty := slices.Sorted(maps.Keys(f.dirty))
	f.mu.Unlock()
	for _, i := range dirty {
		if err := f.syncOne(i); err != nil {
			return err
		}
	}
	return nil
}

// syncOne forces one file to the disk. One that is gone has nothing to lose.
func (f *files) syncOne(i int) error {
	f.mark(i, false) // before: what is written meanwhile makes it dirty again
	h, err := f.acquire(i, false)
	if err == nil {
		failpoint.Hit("store.data.sync")
		err = h.file.Sync()
		f.release(h)
	}
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	f.mark(i, true)
	return err
}

func (f *files) mark(i int, dirty bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if dirty {
		f.dirty[i] = true
	} else {
		delete(f.dirty, i)
	}
}

// wrote looks at a file after a write of ours. It costs no allocation.
func (f *files) wrote(i int, h *handle) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(h.file.Fd()), &st); err != nil {
		return err
	}
	now := look{st.Size, st.Mtim.Nano()}
	f.mu.Lock()
	defer f.mu.Unlock()
	if was := f.seen[i]; now.modified >= was.modified { // another writer may have looked later
		now.size = max(now.size, was.size)
		f.seen[i] = now
	}
	return nil
}
