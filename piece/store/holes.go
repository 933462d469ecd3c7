package store

import (
	"errors"

	"golang.org/x/sys/unix"

	"torrente/piece"
)

// HasData reports whether anything of a piece was ever written: holes of a
// sparse file need no check. Where the file system cannot tell, it says yes.
func (s *Store) HasData(index int) bool {
	b := piece.Block{Piece: uint32(index), Length: uint32(s.layout.Size(index))}
	found := false
	err := s.each(b, func(i int, off, n int64) error {
		if s.info.Files[i].Pad || found {
			return nil
		}
		h, err := s.files.acquire(i, false)
		if err != nil {
			return err
		}
		defer s.files.release(h)
		// The position is of no use to anybody: all reads and writes name theirs.
		at, err := unix.Seek(int(h.file.Fd()), off, unix.SEEK_DATA)
		found = err == nil && at < off+n || err != nil && !errors.Is(err, unix.ENXIO)
		return nil
	})
	return found || err != nil && !isAbsent(err)
}
