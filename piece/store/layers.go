package store

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"

	"github.com/google/renameio/v2"

	"torrente/metainfo"
)

// A file of piece layers that were learned from peers (BEP 52) has, for each:
//
//	pieces root 32 | hashes, 32 for each piece of a file with that root
//
// Nothing in it is believed: each layer is proven by its root again.

// SaveLayers writes layers, by pieces root, to path, atomically.
func SaveLayers(path string, layers map[[32]byte][]byte) error {
	var b []byte
	for _, root := range slices.SortedFunc(maps.Keys(layers), func(a, b [32]byte) int { return slices.Compare(a[:], b[:]) }) {
		b = append(append(b, root[:]...), layers[root]...)
	}
	if err := renameio.WriteFile(path, b, 0o600); err != nil {
		return fmt.Errorf("keep the piece layers: %w", err)
	}
	return nil
}

// LoadLayers reads the layers of a torrent that SaveLayers wrote. What is not
// of the torrent, or not proven, is left out with all behind it.
func LoadLayers(path string, info *metainfo.Info) (map[[32]byte][]byte, error) {
	sizes, most := map[[32]byte]int{}, 0
	for _, f := range info.Files {
		if n := (f.Length + info.PieceLength - 1) / info.PieceLength; !f.Pad && n > 1 && sizes[f.Root] == 0 {
			sizes[f.Root] = int(n) * sha256.Size
			most += 32 + sizes[f.Root]
		}
	}
	b, err := readAtMost(path, most)
	if err != nil {
		return nil, err
	}
	return parseLayers(b, sizes, info.PieceLength), nil
}

func parseLayers(b []byte, sizes map[[32]byte]int, pieceLength int64) map[[32]byte][]byte {
	layers := map[[32]byte][]byte{}
	for len(b) > 32 {
		root := [32]byte(b)
		n := sizes[root]
		if b = b[32:]; n == 0 || n > len(b) || metainfo.VerifyLayer(root, pieceLength, b[:n]) != nil {
			break
		}
		layers[root], b = b[:n:n], b[n:]
	}
	return layers
}
