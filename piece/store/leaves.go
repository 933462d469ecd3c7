package store

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"sync"

	"torrente/metainfo"
	"torrente/piece"
)

// leafFile keeps the leaf hashes of a v2 torrent's pieces on disk: 32 bytes a
// block, at the place of the block in the piece space; zeros where unknown. It
// only saves hashing: a row that does not lead to its piece's hash is made
// anew from the data. That is found out once in a run, when a row is written or
// read first.
type leafFile struct {
	mu    sync.Mutex // guards the following
	file  *os.File   // nil: not kept
	known *piece.Bitfield
}

// KeepLeaves makes the store keep leaf hashes in the file at path, so that hash
// requests (BEP 52) cost no reading of data.
func (s *Store) KeepLeaves(path string) error {
	if !s.info.HasV2 {
		return nil
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("keep the leaf hashes of %q: %w", s.info.Name, err)
	}
	s.leaves.mu.Lock()
	defer s.leaves.mu.Unlock()
	if s.leaves.file != nil {
		s.leaves.file.Close()
	}
	s.leaves.file, s.leaves.known = f, piece.NewBitfield(s.layout.Pieces())
	return nil
}

func (l *leafFile) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		l.file.Close()
		l.file = nil
	}
}

// row is the file, and whether the row of a piece is known to be right there.
func (l *leafFile) row(index int) (f *os.File, known bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.file, l.file != nil && l.known.Has(index)
}

// right notes that the row of a piece is in the file.
func (l *leafFile) right(index int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.known != nil {
		l.known.Set(index)
	}
}

// leafOffset is where the row of a piece begins in the leaf file.
func (s *Store) leafOffset(index int) int64 {
	return s.layout.Start(index) / piece.BlockSize * sha256.Size
}

// putLeaves keeps the row of a verified piece. The file only saves work, so
// that an error is no more than a miss later.
func (s *Store) putLeaves(index int, row []byte) {
	f, _ := s.leaves.row(index)
	if f == nil {
		return
	}
	if _, err := f.WriteAt(row, s.leafOffset(index)); err == nil {
		s.leaves.right(index)
	}
}

// ErrChanged says that verified data is not on disk any more.
var ErrChanged = errors.New("the data has changed on disk")

// Leaves are the leaf hashes of a verified piece, one for each of its blocks,
// from the leaf file or else from the data.
func (s *Store) Leaves(index int) ([]byte, error) {
	row := make([]byte, s.layout.Blocks(index)*sha256.Size)
	if f, known := s.leaves.row(index); f != nil {
		if _, err := f.ReadAt(row, s.leafOffset(index)); err == nil && (known || s.rowMatches(index, row)) {
			s.leaves.right(index)
			return row, nil
		}
	}
	if err := s.hashLeaves(index, row); err != nil {
		return nil, err
	}
	if !s.rowMatches(index, row) {
		return nil, fmt.Errorf("piece %d of %q: %w", index, s.info.Name, ErrChanged)
	}
	s.putLeaves(index, row)
	return row, nil
}

func (s *Store) hashLeaves(index int, row []byte) error {
	buf := make([]byte, piece.BlockSize)
	for k := range s.layout.Blocks(index) {
		b := s.layout.Block(index, k)
		if err := s.Read(b, buf[:b.Length]); err != nil {
			return err
		}
		sum := sha256.Sum256(buf[:b.Length])
		copy(row[k*sha256.Size:], sum[:])
	}
	return nil
}

// errNoSuchRow refuses a hash request that this torrent cannot answer.
var errNoSuchRow = errors.New("no such row of hashes")

// Hashes answers a hash request (BEP 52): the row and its uncles. Rows of the
// leaves, within one piece, and of the piece layer can be had.
func (s *Store) Hashes(root [32]byte, r metainfo.Range) ([]byte, error) {
	f := s.fileByRoot(root)
	if f == nil {
		return nil, errNoSuchRow
	}
	height := metainfo.LayerOf(s.info.PieceLength)
	switch {
	case f.Length <= s.info.PieceLength:
		return s.smallFile(f, r)
	case r.Base == height:
		return metainfo.Prove(s.layer(root), f.Length, r)
	case r.Base == 0:
		return s.leafRow(f, r, height)
	}
	return nil, errNoSuchRow
}

func (s *Store) fileByRoot(root [32]byte) *metainfo.File {
	for i := range s.info.Files {
		if f := &s.info.Files[i]; f.Root == root && f.Length > 0 && !f.Pad {
			return f
		}
	}
	return nil
}

func (s *Store) layer(root [32]byte) []byte {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.layers[root]
}

// smallFile answers for a file of one piece: its leaves are all that it has.
func (s *Store) smallFile(f *metainfo.File, r metainfo.Range) ([]byte, error) {
	if r.Base != 0 {
		return nil, errNoSuchRow
	}
	row, err := s.Leaves(int(f.Offset / s.info.PieceLength))
	if err != nil {
		return nil, err
	}
	return metainfo.Prove(row, f.Length, r)
}

// leafRow answers for leaves within one piece of a longer file: the proof goes
// up in the piece's own tree, then on from the piece layer.
func (s *Store) leafRow(f *metainfo.File, r metainfo.Range, height int) ([]byte, error) {
	if err := r.Check(f.Length); err != nil {
		return nil, err
	}
	k := r.Index >> height
	if r.Length > 1<<height {
		return nil, errNoSuchRow
	}
	row, err := s.Leaves(int(f.Offset/s.info.PieceLength) + k)
	if err != nil {
		return nil, err
	}
	if r.ProofLayers == 0 && len(row) == r.Length*sha256.Size {
		return row, nil // all of a piece, which needs no proof
	}
	whole := make([]byte, sha256.Size<<height) // zeros behind the last block (BEP 52)
	copy(whole, row)
	within := metainfo.Range{Index: r.Index - k<<height, Length: r.Length, ProofLayers: min(r.ProofLayers, height-1)}
	out, err := metainfo.Prove(whole, s.info.PieceLength, within)
	if err != nil || r.ProofLayers < height {
		return out, err
	}
	above, err := metainfo.Prove(s.layer(f.Root), f.Length, metainfo.Range{
		Base: height, Index: k, Length: 1, ProofLayers: r.ProofLayers - height,
	})
	if err != nil {
		return nil, err
	}
	return append(out, above[sha256.Size:]...), nil
}
