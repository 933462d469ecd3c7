package store

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"sort"

	"torrente/metainfo"
	"torrente/piece"
)

// zeros is what padding reads as.
var zeros [piece.BlockSize]byte

// matchV1 compares the SHA-1 of a piece, padding included; true if there is no
// v1 part. The draft's hash has seen all blocks.
func (s *Store) matchV1(index int, d *draft) bool {
	if d.sha == nil {
		return true
	}
	for pad := s.layout.Span(index) - s.layout.Size(index); pad > 0; pad -= piece.BlockSize {
		d.sha.Write(zeros[:min(pad, piece.BlockSize)])
	}
	var sum [sha1.Size]byte
	return bytes.Equal(d.sha.Sum(sum[:0]), s.info.Pieces[index*sha1.Size:][:sha1.Size])
}

// matchV2 compares the merkle root of a piece; true if there is no v2 part, or
// if the v1 part alone can be checked, since the layers are unknown.
func (s *Store) matchV2(index int, d *draft) bool {
	if d.leaves == nil || d.proven == len(d.written) {
		return true // block by block, in the second case
	}
	if _, _, known := s.pieceHash(index); !known {
		return s.info.HasV1
	}
	return s.rowMatches(index, d.leaves)
}

// rowMatches reports whether the leaves of a piece lead to its v2 hash.
func (s *Store) rowMatches(index int, leaves []byte) bool {
	want, height, known := s.pieceHash(index)
	if !known {
		return false
	}
	var t metainfo.Tree
	for ; len(leaves) > 0; leaves = leaves[sha256.Size:] {
		t.Add([32]byte(leaves))
	}
	return t.Root(max(height, t.Height()), [32]byte{}) == want
}

// pieceHash is the v2 hash of a piece and the height of the tree below it.
// known is false while the layer is missing. A file of one piece has no layer:
// its root is over its own blocks (BEP 52).
func (s *Store) pieceHash(index int) (hash [32]byte, height int, known bool) {
	f, k := s.fileOf(index)
	if f.Length <= s.info.PieceLength {
		return f.Root, 0, true
	}
	layer := s.layer(f.Root)
	if len(layer) < (k+1)*sha256.Size {
		return hash, 0, false
	}
	return [32]byte(layer[k*sha256.Size:]), metainfo.LayerOf(s.info.PieceLength), true
}

// fileOf finds the file to which a piece of a v2 torrent belongs, and which of
// the file's pieces it is.
func (s *Store) fileOf(index int) (f *metainfo.File, k int) {
	at := s.layout.Start(index)
	list := s.info.Files
	i := sort.Search(len(list), func(i int) bool { return list[i].Offset+list[i].Length > at })
	return &list[i], int((at - list[i].Offset) / s.info.PieceLength)
}

// Check reads a whole piece from disk and reports whether it is right. A piece
// with a missing file, or one that ends early, is not; other errors of the
// disk are returned.
func (s *Store) Check(index int) (bool, error) {
	in := s.NewIntake(NewRoom(0), func([]byte) {})
	d := in.draft(uint32(index))
	if err := in.readBack(index, d); err != nil {
		if isAbsent(err) {
			return false, nil
		}
		return false, err
	}
	good := s.matchV1(index, d) && s.matchV2(index, d)
	if good && d.leaves != nil {
		s.putLeaves(index, d.leaves)
	}
	return good, nil
}
