package metainfo

import (
	"errors"
	"fmt"
	"math/bits"
)

// MaxHashes is the longest range of hashes that is worth a message: the leaves
// of a piece of 128 MiB.
const MaxHashes = 8192

// Range names hashes of a file's tree, and how far up their proof goes: the
// fields of "hash request" and "hashes" (BEP 52). Length is a power of two, or
// ends at the layer's end; Index is a multiple of it, or of the power of two
// above it.
type Range struct {
	Base        int // height of the layer, 0 for leaves
	Index       int // first hash, counted in that layer
	Length      int // hashes
	ProofLayers int // layers above Base that the proof may take an uncle from
}

// errRange is for ranges that are not in a file's tree.
var errRange = errors.New("no such hashes in the file's tree")

// height of the tree of a file, and the number of hashes in a layer of it
// without those that cover nothing.
func treeOf(fileLength int64, base int) (height int, size int64) {
	blocks := pieces(fileLength, BlockLength)
	height = bits.Len64(uint64(blocks - 1))
	return height, pieces(blocks, 1<<base)
}

// width is the height of the smallest tree that holds the range.
func (r Range) width() int { return bits.Len64(uint64(r.Length - 1)) }

// Uncles is the number of hashes that the proof adds to those asked for. A
// proof layer inside the range's own tree needs none (BEP 52).
func (r Range) Uncles() int { return max(0, r.ProofLayers-r.width()+1) }

// Check refuses a range that is not in the tree of a file of that length.
func (r Range) Check(fileLength int64) error {
	if fileLength <= 0 || r.Base < 0 || r.Base > maxHeight {
		return errRange
	}
	height, size := treeOf(fileLength, r.Base)
	switch {
	case r.Base >= height, r.Length < 1, r.Length > MaxHashes, r.Index < 0, int64(r.Index) >= size:
		return errRange
	case r.ProofLayers < 0 || r.ProofLayers >= height-r.Base:
		return fmt.Errorf("%d proof layers of %d: %w", r.ProofLayers, height-r.Base-1, errRange)
	case r.Index%(1<<r.width()) != 0:
		return fmt.Errorf("index %d is no multiple of length %d: %w", r.Index, r.Length, errRange)
	case r.width() > height-r.Base:
		return errRange
	case r.Length != 1<<r.width() && int64(r.Index)+int64(r.Length) != size:
		return fmt.Errorf("length %d is no power of two: %w", r.Length, errRange)
	}
	return nil
}

// VerifyProof checks the hashes of a "hashes" message, those of the range and
// then the uncles from the lowest up, against a file's root. The range must
// have been what was asked for. An error says that they prove nothing; which of
// them is wrong cannot be known.
func VerifyProof(root [32]byte, fileLength int64, r Range, hashes []byte) error {
	if err := r.Check(fileLength); err != nil {
		return err
	}
	height, _ := treeOf(fileLength, r.Base)
	switch {
	case len(hashes) != (r.Length+r.Uncles())*hashLength:
		return fmt.Errorf("%d bytes of hashes, %d are due", len(hashes), (r.Length+r.Uncles())*hashLength)
	case r.width()+r.Uncles() != height-r.Base:
		return errors.New("the proof does not reach the root")
	}
	own, uncles := hashes[:r.Length*hashLength], hashes[r.Length*hashLength:]
	node := Root(own, PadHash(r.Base))
	for at := r.Index >> r.width(); len(uncles) > 0; at >>= 1 {
		if uncle := [32]byte(uncles); at&1 == 1 {
			node = parent(uncle, node)
		} else {
			node = parent(node, uncle)
		}
		uncles = uncles[hashLength:]
	}
	if node != root {
		return errors.New("the hashes do not lead to the file's root")
	}
	return nil
}

// Prove answers a "hash request": the hashes of the range, and its uncles.
// layer has all hashes of the layer at r.Base, without those that cover
// nothing; where the range goes on behind them it is padded.
func Prove(layer []byte, fileLength int64, r Range) ([]byte, error) {
	if err := r.Check(fileLength); err != nil {
		return nil, err
	}
	if _, size := treeOf(fileLength, r.Base); int64(len(layer)) != size*hashLength {
		return nil, fmt.Errorf("a layer of %d bytes, it has %d", len(layer), size*hashLength)
	}
	out := make([]byte, 0, (r.Length+r.Uncles())*hashLength)
	out = append(out, layer[r.Index*hashLength:min((r.Index+r.Length)*hashLength, len(layer))]...)
	for pad := PadHash(r.Base); len(out) < r.Length*hashLength; {
		out = append(out, pad[:]...)
	}
	at := r.Index >> r.width()
	for i := range r.Uncles() {
		h := node(layer, r.Base, r.width()+i, at^1)
		out = append(out, h[:]...)
		at >>= 1
	}
	return out, nil
}

// node is the index-th hash of the layer that lies up layers above the given one.
func node(layer []byte, base, up, index int) [32]byte {
	from := min(index<<up*hashLength, len(layer))
	to := min((index+1)<<up*hashLength, len(layer))
	if from == to {
		return PadHash(base + up)
	}
	var t Tree
	for part := layer[from:to]; len(part) > 0; part = part[hashLength:] {
		t.Add([32]byte(part))
	}
	return t.Root(up, PadHash(base))
}
