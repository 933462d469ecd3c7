package store

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// readVector fills bufs, one behind the other, with what is in a file from off
// on: with one system call, if the file is one of the system's.
func readVector(f file, bufs [][]byte, off int64) error {
	if real, ok := f.(*os.File); ok && len(bufs) > 1 {
		return vector(real, false, bufs, off)
	}
	for _, b := range bufs {
		if _, err := f.ReadAt(b, off); err != nil {
			return short(err)
		}
		off += int64(len(b))
	}
	return nil
}

// writeVector writes bufs, one behind the other, from off on.
func writeVector(f file, bufs [][]byte, off int64) error {
	if real, ok := f.(*os.File); ok && len(bufs) > 1 {
		return vector(real, true, bufs, off)
	}
	for _, b := range bufs {
		if _, err := f.WriteAt(b, off); err != nil {
			return err
		}
		off += int64(len(b))
	}
	return nil
}

// vector calls preadv or pwritev until all is done.
func vector(f *os.File, write bool, bufs [][]byte, off int64) error {
	for len(bufs) > 0 {
		var n int
		var err error
		if write {
			n, err = unix.Pwritev(int(f.Fd()), bufs, off)
		} else {
			n, err = unix.Preadv(int(f.Fd()), bufs, off)
		}
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return &os.PathError{Op: "transfer", Path: f.Name(), Err: err}
		case n == 0:
			return io.ErrUnexpectedEOF
		}
		off += int64(n)
		_, bufs = cutVector(bufs, int64(n))
	}
	return nil
}

// cutVector cuts the first n bytes off bufs.
func cutVector(bufs [][]byte, n int64) (head, rest [][]byte) {
	for i, b := range bufs {
		switch {
		case n == 0:
			return bufs[:i:i], bufs[i:]
		case n < int64(len(b)): // in the middle of b, which the caller still has whole
			rest = append([][]byte{b[n:]}, bufs[i+1:]...)
			return append(bufs[:i:i], b[:n]), rest
		}
		n -= int64(len(b))
	}
	return bufs, nil
}

// short is the error for a file that ends too early.
func short(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
