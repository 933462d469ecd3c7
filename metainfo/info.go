package metainfo

import (
	"crypto/sha1"
	"crypto/sha256"
)

// BlockLength is the length in bytes of a block: the leaf of a v2 hash tree
// (BEP 52), the usual request (BEP 3) and the unit of payment.
const BlockLength = 16 << 10

// Info is a parsed info dictionary (BEP 3, BEP 52). What ParseInfo returned is
// consistent: its fields obey the rules written beside them, so nobody checks
// them again. It is not changed afterwards.
type Info struct {
	Raw         []byte // the dictionary's bytes as they came: every hash is over them
	Name        string
	PieceLength int64 // bytes; a power of two >= 16384 when HasV2
	Private     bool
	HasV1       bool
	HasV2       bool   // with HasV1: a hybrid
	Pieces      []byte // v1: SHA-1 hashes, 20 bytes each; nil in a v2-only torrent
	Files       []File // in the torrent's order; pads of the v1 part included
	Length      int64  // of the piece space, pads and v2 alignment gaps included: end of the last file
	Pay         *Pay   // nil: free

	// Of Raw, which may have megabytes; nil if it was not parsed.
	hashes *infoHashes
}

type infoHashes struct {
	v1 [20]byte
	v2 [32]byte
}

// File is one file of a torrent, and its place in the piece space.
type File struct {
	Path       []string // below the download folder, Info.Name first in a torrent of several files; nil for pads
	Offset     int64    // bytes into the piece space; a multiple of PieceLength when HasV2 and the file is not empty
	Length     int64    // bytes
	Pad        bool     // zeros that align the next file (BEP 47): never on disk, never requested
	Executable bool
	Root       [32]byte // v2 pieces root; zero for empty files, pads and v1
}

// Pay marks a torrent as sold: the ledger on which its data is paid, and the
// federation that runs it. It lies in the info dictionary under "pay", so it is
// under every info-hash and arrives with the metadata (BEP 9).
type Pay struct {
	Ledger     [8]byte // first bytes of SHA-256 of the ledger's genesis
	Federation string  // https URL; used only if the user enrolled there
}

// HashV1 is the v1 info-hash: SHA-1 of the raw dictionary (BEP 3). It means
// something only if HasV1.
func (i *Info) HashV1() [20]byte {
	if i.hashes != nil {
		return i.hashes.v1
	}
	return sha1.Sum(i.Raw)
}

// HashV2 is the v2 info-hash: SHA-256 of the raw dictionary (BEP 52). It means
// something only if HasV2.
func (i *Info) HashV2() [32]byte {
	if i.hashes != nil {
		return i.hashes.v2
	}
	return sha256.Sum256(i.Raw)
}

// ID is the torrent id: SHA-256 of the raw dictionary for v1, v2 and hybrid
// alike. The ledger and this program know a torrent by it.
func (i *Info) ID() [32]byte { return i.HashV2() }

// NumPieces is the number of pieces of the piece space, a short last one included.
func (i *Info) NumPieces() int {
	return int(pieces(i.Length, i.PieceLength))
}

// Units is the number of payment units, each a block of 16 KiB or what is left
// of one at an end: the blocks of every file, pads and empty files none. In a
// v1-only torrent, whose pieces may span files, it is the blocks of every piece.
func (i *Info) Units() uint64 {
	if i.HasV2 {
		var n int64
		for _, f := range i.Files {
			if !f.Pad {
				n += pieces(f.Length, BlockLength)
			}
		}
		return uint64(n)
	}
	if i.Length == 0 {
		return 0
	}
	whole := i.Length / i.PieceLength
	return uint64(whole*pieces(i.PieceLength, BlockLength) + pieces(i.Length%i.PieceLength, BlockLength))
}

// pieces is length / size, rounded up. Both are positive and far below 2^62.
func pieces(length, size int64) int64 { return (length + size - 1) / size }
