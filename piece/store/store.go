package store

import (
	"errors"
	"fmt"
	"os"
	"sort"
	"sync"
	"syscall"

	"torrente/internal/failpoint"
	"torrente/metainfo"
	"torrente/piece"
)

// ErrNoSpace says that the disk is full. The torrent stops; nothing that was
// verified is lost.
var ErrNoSpace = errors.New("the disk is full")

// Store holds the data of one torrent. Its methods may be called at the same
// time; two writes of the same block may not.
type Store struct {
	info   *metainfo.Info
	layout *piece.Layout
	files  *files
	leaves leafFile
	boot   [32]byte // see bootID

	mu     sync.RWMutex        // guards the following
	layers map[[32]byte][]byte // piece layers by pieces root: added as they are learned
}

// Open opens or creates the files of a torrent below dir. layers are the piece
// layers of the torrent file, checked by metainfo; nil if unknown. A store that
// is not writable creates nothing and fails if dir does not exist.
func Open(dir string, info *metainfo.Info, layers map[[32]byte][]byte, writable bool) (*Store, error) {
	f, err := openFiles(dir, info.Files, writable)
	if err != nil {
		return nil, fmt.Errorf("open the folder of %q: %w", info.Name, err)
	}
	s := &Store{info: info, layout: piece.NewLayout(info), files: f, boot: bootID(), layers: map[[32]byte][]byte{}}
	for root, layer := range layers {
		s.layers[root] = layer
	}
	if writable {
		if err := s.createEmpty(); err != nil {
			f.close()
			return nil, err
		}
	}
	return s, nil
}

// createEmpty makes the files without data: no block will ever create them.
func (s *Store) createEmpty() error {
	for i, f := range s.info.Files {
		if f.Pad || f.Length > 0 {
			continue
		}
		h, err := s.files.acquire(i, true)
		if err != nil {
			return s.explain("create", err)
		}
		s.files.release(h)
	}
	return nil
}

// Layout is the torrent's layout.
func (s *Store) Layout() *piece.Layout { return s.layout }

// AddLayer adds a piece layer that was learned from peers and proven.
func (s *Store) AddLayer(root [32]byte, layer []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.layers[root] = layer
}

// Close closes the files.
func (s *Store) Close() error {
	s.leaves.close()
	return s.files.close()
}

// Sync forces the data to the disk.
func (s *Store) Sync() error { return s.files.sync() }

// Read fills dst with the data of b, padding as zeros. len(dst) must be
// b.Length. A file that is missing or too short is an error.
func (s *Store) Read(b piece.Block, dst []byte) error { return s.ReadRun(b, [][]byte{dst}) }

// ReadRun fills dst with the data of the blocks that follow each other in a
// piece from first on, one buffer for each, as long as the block.
func (s *Store) ReadRun(first piece.Block, dst [][]byte) error {
	first.Length = length(dst)
	return s.each(first, func(i int, off, n int64) (err error) {
		var part [][]byte
		part, dst = cutVector(dst, n)
		if i < 0 || s.info.Files[i].Pad {
			for _, b := range part {
				clear(b)
			}
			return nil
		}
		h, err := s.files.acquire(i, false)
		if err != nil {
			return err
		}
		defer s.files.release(h)
		return readVector(h.file, part, off)
	})
}

// Write stores the data of b. Padding is left out.
func (s *Store) Write(b piece.Block, data []byte) error { return s.WriteRun(b, [][]byte{data}) }

// WriteRun stores the data of the blocks that follow each other in a piece from
// first on, one buffer for each.
func (s *Store) WriteRun(first piece.Block, data [][]byte) error {
	first.Length = length(data)
	return s.each(first, func(i int, off, n int64) error {
		var part [][]byte
		part, data = cutVector(data, n)
		if i < 0 || s.info.Files[i].Pad {
			return nil
		}
		h, err := s.files.acquire(i, true)
		if err != nil {
			return err
		}
		defer s.files.release(h)
		failpoint.Hit("store.block.write")
		if err = writeVector(h.file, part, off); err != nil {
			return err
		}
		failpoint.Hit("store.block.written")
		return s.files.wrote(i, h)
	})
}

// length is that of all buffers together; a piece has no more.
func length(bufs [][]byte) (n uint32) {
	for _, b := range bufs {
		n += uint32(len(b))
	}
	return n
}

// each calls f for the part of every file that b covers: n bytes from off. A
// gap between files (v2 alignment) is file -1.
func (s *Store) each(b piece.Block, f func(file int, off, n int64) error) error {
	at := s.layout.Start(int(b.Piece)) + int64(b.Begin)
	end := at + int64(b.Length)
	list := s.info.Files
	i := sort.Search(len(list), func(i int) bool { return list[i].Offset+list[i].Length > at })
	for at < end {
		file, off, n := -1, int64(0), end-at
		switch {
		case i < len(list) && at < list[i].Offset:
			n = min(n, list[i].Offset-at)
		case i < len(list):
			file, off = i, at-list[i].Offset
			n = min(n, list[i].Length-off)
			i++
		}
		if n > 0 {
			if err := f(file, off, n); err != nil {
				return s.explain(s.info.Name, err)
			}
		}
		at += n
	}
	return nil
}

// explain turns an error of the system into a sentence for the user.
func (s *Store) explain(what string, err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%s: %w: free some space in %s and start again", what, ErrNoSpace, s.files.root.Name())
	}
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s: a file of the torrent is missing: %w", what, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}
