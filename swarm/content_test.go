package swarm

import (
	"crypto/sha1"
	"math/rand/v2"
	"testing"

	"torrente/metainfo"
	"torrente/piece"
)

// makeContent makes a torrent of files with the given lengths and its data.
func makeContent(t testing.TB, pieceLength int64, v1, v2 bool, lengths ...int64) *content {
	t.Helper()
	return makePriced(t, nil, pieceLength, v1, v2, lengths...)
}

func makePriced(t testing.TB, pay *metainfo.Pay, pieceLength int64, v1, v2 bool, lengths ...int64) *content {
	t.Helper()
	var files []metainfo.File
	for i, n := range lengths {
		files = append(files, metainfo.File{Path: []string{"data", string(rune('a' + i))}, Length: n})
	}
	p, err := metainfo.NewPlan("data", files, metainfo.Options{V1: v1, V2: v2, PieceLength: pieceLength, Pay: pay})
	if err != nil {
		t.Fatal(err)
	}
	c := &content{data: make([]byte, p.Length)}
	h := metainfo.Hashes{Layers: map[[32]byte][]byte{}, Roots: make([][32]byte, len(p.Files))}
	rnd := rand.New(rand.NewPCG(1, 2))
	for i, f := range p.Files {
		if f.Pad || f.Length == 0 {
			continue
		}
		data := c.data[f.Offset : f.Offset+f.Length]
		for j := range data {
			data[j] = byte(rnd.Uint32())
		}
		if v2 {
			h.Roots[i] = treeOf(data, pieceLength, h.Layers)
		}
	}
	if v1 {
		for at := int64(0); at < p.Length; at += pieceLength {
			sum := sha1.Sum(c.data[at:min(at+pieceLength, p.Length)])
			h.Pieces = append(h.Pieces, sum[:]...)
		}
	}
	info, err := p.Info(h)
	if err != nil {
		t.Fatal(err)
	}
	c.torrent = &metainfo.Torrent{Info: info, Layers: h.Layers}
	return c
}

// treeOf is the root of a file's hash tree; a layer is added if it needs one.
func treeOf(data []byte, pieceLength int64, layers map[[32]byte][]byte) [32]byte {
	leaves := leavesOf(data)
	root := metainfo.Root(leaves, [32]byte{})
	if int64(len(data)) <= pieceLength {
		return root
	}
	var layer []byte
	row := int(pieceLength/piece.BlockSize) * 32
	for at := 0; at < len(leaves); at += row {
		var t metainfo.Tree
		for k := at; k < min(at+row, len(leaves)); k += 32 {
			t.Add([32]byte(leaves[k:]))
		}
		h := t.Root(metainfo.LayerOf(pieceLength), [32]byte{})
		layer = append(layer, h[:]...)
	}
	layers[root] = layer
	return root
}

// makeBenchContent is a torrent of 16 Mi blocks without data.
func makeBenchContent(b *testing.B) *content {
	info := &metainfo.Info{
		Raw: []byte("de"), Name: "bench", PieceLength: 16 << 20, HasV1: true, Length: 256 << 30,
		Files: []metainfo.File{{Path: []string{"bench"}, Length: 256 << 30}},
	}
	return &content{torrent: &metainfo.Torrent{Info: info}}
}
