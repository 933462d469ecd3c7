package metainfo

import (
	"bytes"
	"errors"
	"fmt"

	"torrente/bencode"
)

// layers takes the piece layers that the torrent's files need, and leaves the
// rest. Files with the same root share a layer, which is hashed once: a torrent
// cannot make us hash more than its own size.
func layers(i *Info, v bencode.Value) (map[[32]byte][]byte, error) {
	d, err := v.Dict()
	if err != nil && !errors.Is(err, bencode.ErrMissing) {
		return nil, err
	}
	out := map[[32]byte][]byte{}
	for _, f := range i.Files {
		if f.Pad || f.Length <= i.PieceLength {
			continue
		}
		layer, known := out[f.Root]
		if !known {
			if layer, err = d.Bytes(string(f.Root[:])); err != nil {
				return nil, fmt.Errorf("that of %s %w", quoted(f.Path), errors.Unwrap(err))
			}
		}
		if n := pieces(f.Length, i.PieceLength); int64(len(layer)) != n*hashLength {
			return nil, fmt.Errorf("that of %s has %d bytes, for %d pieces it must have %d", quoted(f.Path), len(layer), n, n*hashLength)
		}
		if known {
			continue
		}
		if VerifyLayer(f.Root, i.PieceLength, layer) != nil {
			return nil, fmt.Errorf("that of %s does not lead to its pieces root", quoted(f.Path))
		}
		out[f.Root] = bytes.Clone(layer)
	}
	return out, nil
}

// VerifyLayer checks a whole piece layer, of a file longer than a piece,
// against the file's pieces root.
func VerifyLayer(root [32]byte, pieceLength int64, layer []byte) error {
	if len(layer)%hashLength != 0 || Root(layer, PadHash(LayerOf(pieceLength))) != root {
		return errors.New("the piece layer does not lead to the file's root")
	}
	return nil
}
