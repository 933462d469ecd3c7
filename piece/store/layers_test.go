package store

import (
	"crypto/sha256"
	"maps"
	"path/filepath"
	"slices"
	"testing"

	"torrente/metainfo"
)

// Layers that were kept come back if they are proven, else not.
func TestLayersAreKept(t *testing.T) {
	f := newFixture(t, shapes[2].o)
	path := filepath.Join(t.TempDir(), "layers")
	same := func(a, b []byte) bool { return slices.Equal(a, b) }
	if err := SaveLayers(path, f.torrent.Layers); err != nil {
		t.Fatal(err)
	}
	if got, err := LoadLayers(path, f.torrent.Info); err != nil || !maps.EqualFunc(got, f.torrent.Layers, same) {
		t.Errorf("%d of %d layers, %v", len(got), len(f.torrent.Layers), err)
	}
	lies := maps.Clone(f.torrent.Layers)
	for root, layer := range lies {
		lies[root] = flip(layer, 0)
	}
	if err := SaveLayers(path, lies); err != nil {
		t.Fatal(err)
	}
	if got, err := LoadLayers(path, f.torrent.Info); err != nil || len(got) > 0 {
		t.Errorf("%d false layers, %v", len(got), err)
	}
	if _, err := LoadLayers(path+"not", f.torrent.Info); err == nil {
		t.Error("a file that is not there is read")
	}
}

func FuzzParseLayers(f *testing.F) {
	const pieceLength = 16 << 10
	layer := make([]byte, 3*sha256.Size)
	root := metainfo.Root(layer, metainfo.PadHash(0))
	f.Add(append(root[:], layer...))
	f.Add(append(root[:], layer[1:]...))
	f.Add([]byte{})
	sizes := map[[32]byte]int{root: len(layer), {}: 2 * sha256.Size}
	f.Fuzz(func(t *testing.T, b []byte) {
		for root, got := range parseLayers(b, sizes, pieceLength) {
			if len(got) != sizes[root] || metainfo.VerifyLayer(root, pieceLength, got) != nil {
				t.Errorf("a layer that proves nothing: %x", got)
			}
		}
	})
}
