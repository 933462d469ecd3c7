package crashfs

import (
	"errors"
	"io"
	"maps"
	"os"
	"slices"
)

// File is an open file of a Disk. Several may be open of one path.
type File struct {
	*os.File
	disk    *Disk
	history *history
}

// WriteAt writes, as os.File does.
func (f *File) WriteAt(b []byte, at int64) (n int, err error) {
	err = f.disk.around(Op{Write, f.Name()}, func() error {
		n, err = f.File.WriteAt(b, at)
		f.history.wrote(slices.Clone(b[:n]), at, modified(f.File))
		return err
	})
	return n, err
}

// Truncate changes the length, as os.File does.
func (f *File) Truncate(size int64) error {
	return f.disk.around(Op{Truncate, f.Name()}, func() error {
		err := f.File.Truncate(size)
		if err == nil {
			f.history.cut(size, modified(f.File))
		}
		return err
	})
}

// Sync makes the file durable as it is now. The real file is not synced: it
// outlives the test only if the machine does.
func (f *File) Sync() error {
	return f.disk.around(Op{Sync, f.Name()}, func() error { return f.history.sync(f.File) })
}

// ReadAt reads while the power is on.
func (f *File) ReadAt(b []byte, at int64) (int, error) {
	if f.disk.powerless() {
		return 0, ErrPower
	}
	return f.File.ReadAt(b, at)
}

// The ways to write a file that Disk does not follow.
var errNotFollowed = errors.New("crashfs files are written by WriteAt")

// Write is refused.
func (f *File) Write([]byte) (int, error) { return 0, errNotFollowed }

// WriteString is refused.
func (f *File) WriteString(string) (int, error) { return 0, errNotFollowed }

// ReadFrom is refused.
func (f *File) ReadFrom(io.Reader) (int64, error) { return 0, errNotFollowed }

func modified(f *os.File) int64 {
	info, err := f.Stat()
	if err != nil {
		return 0
	}
	return info.ModTime().UnixNano()
}

// paths are those of all files, in order.
func (d *Disk) paths() []string { return slices.Sorted(maps.Keys(d.files)) }
