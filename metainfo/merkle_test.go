package metainfo

import (
	"crypto/sha256"
	"encoding/hex"
	"math/bits"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

// reference builds the whole tree as BEP 52 describes it, all layers, zeros and
// all: layers[0] are the leaves.
func reference(leaves [][32]byte, width int) (layers [][][32]byte) {
	row := make([][32]byte, width)
	copy(row, leaves)
	for {
		layers = append(layers, row)
		if len(row) == 1 {
			return layers
		}
		next := make([][32]byte, len(row)/2)
		for i := range next {
			next[i] = sha256.Sum256(append(row[2*i][:], row[2*i+1][:]...))
		}
		row = next
	}
}

func randomHashes(seed uint64, n int) [][32]byte {
	r := rand.New(rand.NewPCG(seed, 1))
	out := make([][32]byte, n)
	for i := range out {
		for j := range out[i] {
			out[i][j] = byte(r.Uint32())
		}
	}
	return out
}

func flat(hashes [][32]byte) (out []byte) {
	for _, h := range hashes {
		out = append(out, h[:]...)
	}
	return out
}

func powerOfTwo(n int) int { return 1 << bits.Len64(uint64(n-1)) }

func TestRootAgreesWithTheWholeTree(t *testing.T) {
	for n := 1; n <= 70; n++ {
		leaves := randomHashes(uint64(n), n)
		layers := reference(leaves, powerOfTwo(n))
		want := layers[len(layers)-1][0]
		if got := Root(flat(leaves), [32]byte{}); got != want {
			t.Errorf("%d leaves: %x, want %x", n, got, want)
		}
		if got := MerkleRoot(leaves, powerOfTwo(n)); got != want {
			t.Errorf("%d leaves by MerkleRoot: %x, want %x", n, got, want)
		}
		layers = reference(leaves, 128)
		if got := MerkleRoot(leaves, 128); got != layers[7][0] {
			t.Errorf("%d leaves in 128: %x, want %x", n, got, layers[7][0])
		}
	}
	if Root(nil, [32]byte{1}) != ([32]byte{}) {
		t.Error("the root of nothing is not zero")
	}
}

func TestRootOverAPieceLayer(t *testing.T) {
	// A piece layer and its pad lead to the same root as all the leaves.
	for _, blocks := range []int{5, 8, 9, 31, 32, 33, 100} {
		leaves := randomHashes(uint64(blocks), blocks)
		for layer := range 4 {
			var pieces []byte
			for at := 0; at < blocks; at += 1 << layer {
				h := MerkleRoot(leaves[at:min(at+1<<layer, blocks)], 1<<layer)
				pieces = append(pieces, h[:]...)
			}
			if len(pieces) <= 32 {
				continue
			}
			if Root(pieces, PadHash(layer)) != Root(flat(leaves), [32]byte{}) {
				t.Errorf("%d blocks, layer %d: another root", blocks, layer)
			}
		}
	}
}

func TestPadHashes(t *testing.T) {
	// The first is SHA-256 of 64 zero bytes.
	for height, want := range map[int]string{
		0: "0000000000000000000000000000000000000000000000000000000000000000",
		1: "f5a5fd42d16a20302798ef6ed309979b43003d2320d9f0e8ea9831a92759fb4b",
		2: "db56114e00fdd4c1f85c892bf35ac9a89289aaecb1ebd0a96cde606a748b5d71",
	} {
		if got := PadHash(height); hex.EncodeToString(got[:]) != want {
			t.Errorf("height %d: %x", height, got)
		}
	}
}

func TestLayerOf(t *testing.T) {
	for length, want := range map[int64]int{16 << 10: 0, 32 << 10: 1, 128 << 10: 3, 16 << 20: 10} {
		if got := LayerOf(length); got != want {
			t.Errorf("%d: layer %d, want %d", length, got, want)
		}
	}
}

func TestRootBelowTheTreePanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a root that leaves hashes out was computed")
		}
	}()
	var tree Tree
	for range 3 {
		tree.Add([32]byte{1})
	}
	tree.Root(1, [32]byte{})
}

// treeFile is a made-up file: its leaves, and every layer without padding.
type treeFile struct {
	length int64
	root   [32]byte
	layers [][]byte
}

func newTreeFile(blocks int, tail int64) treeFile {
	leaves := randomHashes(uint64(blocks), blocks)
	f := treeFile{length: int64(blocks-1)*BlockLength + tail}
	all := reference(leaves, powerOfTwo(blocks))
	for base, row := range all {
		_, size := treeOf(f.length, base)
		f.layers = append(f.layers, flat(row[:size]))
	}
	f.root = all[len(all)-1][0]
	return f
}

// drawRange draws a range whose proof reaches the root.
func drawRange(t *rapid.T, f treeFile) Range {
	height := len(f.layers) - 1
	r := Range{Base: rapid.IntRange(0, height-1).Draw(t, "base")}
	size := len(f.layers[r.Base]) / 32
	width := rapid.IntRange(0, height-r.Base).Draw(t, "width")
	r.Index = rapid.IntRange(0, (size-1)>>width).Draw(t, "index") << width
	r.Length = 1 << width
	if r.Index+r.Length > size && rapid.Bool().Draw(t, "cut at the end") {
		r.Length = size - r.Index
	}
	r.ProofLayers = height - r.Base - 1
	return r
}

func TestProofsProve(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := newTreeFile(rapid.IntRange(2, 200).Draw(t, "blocks"), rapid.Int64Range(1, BlockLength).Draw(t, "tail"))
		r := drawRange(t, f)
		hashes, err := Prove(f.layers[r.Base], f.length, r)
		if err != nil {
			t.Fatalf("%+v: %v", r, err)
		}
		if err := VerifyProof(f.root, f.length, r, hashes); err != nil {
			t.Fatalf("%+v: %v", r, err)
		}
		bit := rapid.IntRange(0, 8*len(hashes)-1).Draw(t, "flipped bit")
		hashes[bit/8] ^= 1 << (bit % 8)
		if VerifyProof(f.root, f.length, r, hashes) == nil {
			t.Fatalf("%+v: bit %d may be flipped", r, bit)
		}
		hashes[bit/8] ^= 1 << (bit % 8)
		if VerifyProof(f.root, f.length, r, hashes[:len(hashes)-1]) == nil || VerifyProof(f.root, f.length, r, append(hashes, 0)) == nil {
			t.Fatalf("%+v: another length passes", r)
		}
		other := r
		if other.Index ^= 1 << r.width(); other.Check(f.length) == nil && VerifyProof(f.root, f.length, other, hashes) == nil {
			t.Fatalf("%+v: the hashes pass at %d too", r, other.Index)
		}
	})
}

// The number of uncles for a range of 512 piece hashes and for the leaves of a
// piece, as libtorrent counts them.
func TestUncles(t *testing.T) {
	for _, c := range []struct {
		r    Range
		want int
	}{
		{Range{Length: 2, ProofLayers: 0}, 0},
		{Range{Length: 2, ProofLayers: 1}, 1},
		{Range{Length: 4, ProofLayers: 1}, 0},
		{Range{Length: 4, ProofLayers: 2}, 1},
		{Range{Length: 512, ProofLayers: 8}, 0},
		{Range{Length: 512, ProofLayers: 12}, 4},
		{Range{Length: 1, ProofLayers: 3}, 4},
		{Range{Length: 3, ProofLayers: 2}, 1},
	} {
		if got := c.r.Uncles(); got != c.want {
			t.Errorf("%+v: %d uncles, want %d", c.r, got, c.want)
		}
	}
}

func TestRangesThatAreNone(t *testing.T) {
	const length = 100 * BlockLength // 100 leaves, height 7
	for name, r := range map[string]Range{
		"nothing":                     {},
		"negative length":             {Length: -1},
		"negative index":              {Index: -2, Length: 2},
		"negative base":               {Base: -1, Length: 2},
		"negative proof layers":       {Length: 2, ProofLayers: -1},
		"the root":                    {Base: 7, Length: 1},
		"above the root":              {Base: 60, Length: 1},
		"far above the root":          {Base: 1 << 40, Length: 1},
		"behind the end":              {Index: 100, Length: 2},
		"far behind the end":          {Index: 1 << 62, Length: 2},
		"not aligned":                 {Index: 1, Length: 2},
		"too long":                    {Length: 2 * MaxHashes},
		"longer than the layer":       {Length: 256},
		"overflowing":                 {Index: 1 << 62, Length: 1 << 62},
		"no power of two":             {Length: 3},
		"more layers than there are":  {Length: 2, ProofLayers: 7},
		"many more layers":            {Length: 2, ProofLayers: 1 << 62},
		"cut, but not at the end":     {Index: 96, Length: 3},
		"cut behind the end":          {Index: 96, Length: 5},
		"more layers than above base": {Base: 5, Length: 2, ProofLayers: 2},
	} {
		if r.Check(length) == nil {
			t.Errorf("%s: %+v passes", name, r)
		}
		if VerifyProof([32]byte{}, length, r, make([]byte, 64)) == nil {
			t.Errorf("%s: %+v is verified", name, r)
		}
		if _, err := Prove(make([]byte, 3200), length, r); err == nil {
			t.Errorf("%s: %+v is proved", name, r)
		}
	}
	if (Range{Length: 2}).Check(0) == nil || (Range{Length: 2}).Check(-5) == nil {
		t.Error("an empty file has hashes")
	}
	if err := (Range{Index: 96, Length: 4}).Check(length); err != nil {
		t.Error(err)
	}
	if VerifyProof([32]byte{}, length, Range{Length: 2, ProofLayers: 3}, make([]byte, 5*32)) == nil {
		t.Error("a proof that does not reach the root proves")
	}
	if _, err := Prove(make([]byte, 32), length, Range{Length: 2}); err == nil {
		t.Error("a layer of the wrong size is used")
	}
}

func FuzzVerifyProof(f *testing.F) {
	file := newTreeFile(13, 5)
	for _, r := range []Range{{Length: 2, ProofLayers: 3}, {Base: 1, Index: 4, Length: 4, ProofLayers: 2}, {Length: 16, ProofLayers: 3}, {Index: 12, Length: 1, ProofLayers: 3}} {
		hashes, err := Prove(file.layers[r.Base], file.length, r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(file.length, r.Base, r.Index, r.Length, r.ProofLayers, hashes)
	}
	f.Fuzz(func(t *testing.T, length int64, base, index, n, layers int, hashes []byte) {
		r := Range{Base: base, Index: index, Length: n, ProofLayers: layers}
		if length > maxLength {
			return // no such file gets past ParseInfo
		}
		if VerifyProof(file.root, length, r, hashes) != nil || length != file.length {
			return
		}
		// Whoever made this knows the tree: it must be what Prove answers.
		want, err := Prove(file.layers[base], length, r)
		if err != nil || string(want) != string(hashes) {
			t.Fatalf("%+v: %x is verified, Prove gives %x, %v", r, hashes, want, err)
		}
	})
}

func BenchmarkMerkleRoot(b *testing.B) {
	leaves := randomHashes(1, 64) // a piece of 1 MiB
	b.ReportAllocs()
	for b.Loop() {
		MerkleRoot(leaves, 64)
	}
}

func BenchmarkVerifyProof(b *testing.B) {
	file := newTreeFile(4096, 1)
	r := Range{Index: 512, Length: 64, ProofLayers: 11}
	hashes, err := Prove(file.layers[0], file.length, r)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := VerifyProof(file.root, file.length, r, hashes); err != nil {
			b.Fatal(err)
		}
	}
}
