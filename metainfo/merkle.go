package metainfo

import (
	"crypto/sha256"
	"fmt"
	"math/bits"
)

// A file's hash tree (BEP 52) has as leaves the SHA-256 hashes of its blocks of
// 16 KiB, the last of which may be shorter, and zeros up to a power of two.
// A layer is numbered by its height above the leaves.

const hashLength = sha256.Size

// maxHeight is that of the tree of the longest file that is allowed, and more.
const maxHeight = 48

// padHashes are the roots of trees of zero leaves, by height.
var padHashes = func() (h [maxHeight + 1][32]byte) {
	for i := 1; i < len(h); i++ {
		h[i] = parent(h[i-1], h[i-1])
	}
	return h
}()

// PadHash is the root of a tree of 2^height leaves that are all zero: what
// stands behind the end of a layer of that height. Heights go to 48.
func PadHash(height int) [32]byte { return padHashes[height] }

func parent(left, right [32]byte) [32]byte {
	var b [2 * hashLength]byte
	copy(b[:hashLength], left[:])
	copy(b[hashLength:], right[:])
	return sha256.Sum256(b[:])
}

// Tree computes a root from hashes that come one by one, in the memory of one
// branch. The zero Tree is empty and ready.
type Tree struct {
	branch [maxHeight + 1][32]byte // by height: the left brothers that wait
	n      uint64
}

// Add appends a hash to the lowest layer.
func (t *Tree) Add(h [32]byte) {
	i := 0
	for ; t.n>>i&1 == 1; i++ {
		h = parent(t.branch[i], h)
	}
	t.branch[i] = h
	t.n++
}

// Len is the number of hashes added.
func (t *Tree) Len() int { return int(t.n) }

// Height is that of the smallest tree that holds what was added.
func (t *Tree) Height() int {
	if t.n == 0 {
		return 0
	}
	return bits.Len64(t.n - 1)
}

// Root is the root at the given height, at least Height, of what was added and
// of pad behind it as often as it takes.
func (t *Tree) Root(height int, pad [32]byte) [32]byte {
	if height < t.Height() || height > maxHeight {
		panic(fmt.Sprintf("metainfo: root at height %d of %d hashes", height, t.n))
	}
	if t.n == 1<<height {
		return t.branch[height]
	}
	last, whole := pad, pad // at height i: the node where what was added ends, and one of pads alone
	for i := range height {
		if t.n>>i&1 == 1 {
			last = parent(t.branch[i], last)
		} else {
			last = parent(last, whole)
		}
		whole = parent(whole, whole)
	}
	return last
}

// Root is the root over hashes of 32 bytes each, one behind the other, padded
// with pad to a power of two: over all leaves of a file with a zero pad, over
// its piece layer with PadHash of that layer. Of no hashes it is zero.
func Root(hashes []byte, pad [32]byte) [32]byte {
	if len(hashes) == 0 {
		return [32]byte{}
	}
	var t Tree
	for ; len(hashes) > 0; hashes = hashes[hashLength:] {
		t.Add([32]byte(hashes))
	}
	return t.Root(t.Height(), pad)
}

// MerkleRoot is the root over the hashes of a piece's blocks and zero leaves
// behind them, width leaves in all: a power of two, at least len(leaves). In a
// file longer than a piece, width is the blocks of a whole piece.
func MerkleRoot(leaves [][32]byte, width int) [32]byte {
	var t Tree
	for _, h := range leaves {
		t.Add(h)
	}
	return t.Root(bits.Len64(uint64(width-1)), [32]byte{})
}

// LayerOf is the height of the piece layer: of the layer in which a hash covers
// pieceLength bytes, a power of two from 16 KiB on.
func LayerOf(pieceLength int64) int { return bits.Len64(uint64(pieceLength/BlockLength)) - 1 }
