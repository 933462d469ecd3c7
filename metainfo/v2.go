package metainfo

import (
	"errors"
	"fmt"
	"slices"

	"torrente/bencode"
)

// treeWalk reads a file tree (BEP 52) in one pass over its bytes. Each file
// starts at the next multiple of the piece length; only empty ones do not.
type treeWalk struct {
	cursor      *bencode.Cursor
	pieceLength int64
	path        []string // of the folder the cursor is in, torrent's name first
	top         int      // entries of the root
	parts       int      // of all paths together
	maxParts    int
	files       []File
	end         int64        // of the last file
	leaf        bencode.Dict // one index for all
}

// treeV2 reads the file tree. A tree of one file only, without a v1 list, is a
// torrent of a single file: it lies in no folder of the torrent's name.
func (p *infoParser) treeV2() ([]File, error) {
	tree := p.dict.Get("file tree")
	if k := tree.Kind(); k != bencode.Dictionary {
		_, err := p.dict.Dict("file tree")
		return nil, err
	}
	w := treeWalk{
		cursor: tree.Cursor(), pieceLength: p.info.PieceLength, path: []string{p.info.Name},
		// A path repeats the names of its folders, so files deep down would cost
		// many times the bytes that describe them. In real trees a path has fewer
		// parts than its file's entry has pairs of bytes.
		maxParts: 4096 + len(p.info.Raw)/2,
	}
	w.files = make([]File, 0, min(countFiles(tree), len(p.info.Raw)/shortestEntry))
	w.cursor.Next()
	if err := w.walk(); err != nil {
		return nil, fmt.Errorf("file tree: %w", err)
	}
	if len(w.files) == 1 && w.top == 1 && len(w.files[0].Path) == 2 && !p.dict.Has("files") {
		w.files[0].Path = w.files[0].Path[1:]
	}
	return w.files, nil
}

// shortestEntry is the length of a file's entry in a tree that says the least
// possible: 1:ad0:d6:lengthi0eee.
const shortestEntry = 21

// countFiles is about how many files a tree has, so that their slice need not
// grow, which would leave several times its length behind.
func countFiles(tree bencode.Value) (n int) {
	c := tree.Cursor()
	for t := c.Next(); t.Kind != 0; t = c.Next() {
		if t.Kind == bencode.String && len(t.Bytes) == 0 && c.Peek() == bencode.Dictionary {
			n++
		}
	}
	return n
}

// walk goes through the tree until the end of its root.
func (w *treeWalk) walk() error {
	for {
		t := w.cursor.Next()
		if t.Kind == bencode.End {
			if len(w.path) == 1 {
				return nil
			}
			w.path = w.path[:len(w.path)-1]
			continue
		}
		if err := w.entry(t.Bytes); err != nil {
			return err
		}
	}
}

// entry takes a key and what is below it: a folder's entries follow one by one,
// a file's properties, under the empty key, are taken whole.
func (w *treeWalk) entry(key []byte) error {
	if len(w.path) == 1 {
		w.top++
	}
	if w.cursor.Peek() != bencode.Dictionary {
		return fmt.Errorf("%.80q in %s is not a dictionary", key, quoted(w.path))
	}
	if len(key) > 0 {
		part, err := cleanName(key)
		if err != nil {
			return fmt.Errorf("in %s: %w", quoted(w.path), err)
		}
		w.path = append(w.path, part)
		w.cursor.Next()
		return nil
	}
	if len(w.path) == 1 {
		return errors.New("its root is a file")
	}
	if err := w.file(w.cursor.Value()); err != nil {
		return fmt.Errorf("%s: %w", quoted(w.path), err)
	}
	if w.cursor.Peek() != bencode.End {
		return fmt.Errorf("%s is a file, and a folder too", quoted(w.path))
	}
	return nil
}

// file takes the properties of the file at w.path.
func (w *treeWalk) file(v bencode.Value) error {
	if err := w.leaf.Index(v); err != nil {
		return err
	}
	attr := attributesOf(w.leaf)
	length, err := w.leaf.Int("length")
	switch {
	case attr.pad:
		return errors.New("a pad: v2 torrents have none")
	case attr.link && (err != nil || length == 0):
		return nil
	case attr.link:
		return errors.New("a link with data")
	case err != nil:
		return err
	}
	if w.parts += len(w.path); w.parts > w.maxParts {
		return errors.New("its folders nest deeper than their size warrants")
	}
	if err := checkPath(w.path); err != nil {
		return err
	}
	f := File{Path: slices.Clone(w.path), Length: length, Offset: w.end, Executable: attr.executable}
	if length != 0 {
		f.Offset = pieces(w.end, w.pieceLength) * w.pieceLength
		if f.Root, err = root(w.leaf); err != nil {
			return err
		}
	}
	if w.end, err = place(f.Offset, length); err != nil {
		return err
	}
	w.files = append(w.files, f)
	return nil
}

// root is the root of a file's hash tree. No content has a zero one, and zero
// stands for none in File.
func root(leaf bencode.Dict) (root [32]byte, err error) {
	b, err := leaf.Bytes("pieces root")
	switch {
	case err != nil:
		return root, err
	case len(b) != len(root):
		return root, fmt.Errorf(`"pieces root" has %d bytes, not %d`, len(b), len(root))
	}
	copy(root[:], b)
	if root == ([32]byte{}) {
		return root, errors.New(`"pieces root" is zero`)
	}
	return root, nil
}

// merge requires that the v1 list of a hybrid, without its pads, describes the
// same files as the v2 tree, in the same order and at the same places (BEP 52,
// Upgrade Path), and gives the v1 files their v2 roots.
func (p *infoParser) merge() error {
	i := 0
	end := int64(0)
	for j := range p.v1 {
		f := &p.v1[j]
		if f.Pad {
			continue
		}
		if i == len(p.v2) {
			return fmt.Errorf("%s is in the v1 list only", quoted(f.Path))
		}
		g := p.v2[i]
		i++
		switch {
		case !slices.Equal(f.Path, g.Path):
			return fmt.Errorf("the v1 list has %s where the v2 tree has %s", quoted(f.Path), quoted(g.Path))
		case f.Length != g.Length:
			return fmt.Errorf("%s has %d bytes in the v1 list and %d in the v2 tree", quoted(f.Path), f.Length, g.Length)
		case f.Length > 0 && f.Offset != g.Offset:
			return fmt.Errorf("%s starts at byte %d in the v1 list and at %d in the v2 tree", quoted(f.Path), f.Offset, g.Offset)
		}
		// Which bytes an empty file lies between means nothing, so its offset may
		// differ.
		f.Root = g.Root
		if f.Length > 0 {
			end = f.Offset + f.Length
		}
	}
	if i < len(p.v2) {
		return fmt.Errorf("%s is in the v2 tree only", quoted(p.v2[i].Path))
	}
	return p.checkLastPad(end)
}

// checkLastPad allows a pad behind the last file, which some programs write,
// up to the end of its piece.
func (p *infoParser) checkLastPad(end int64) error {
	last := p.v1[len(p.v1)-1]
	if pieces(last.Offset+last.Length, p.info.PieceLength) > pieces(end, p.info.PieceLength) {
		return errors.New("a pad behind the last file fills more than its piece")
	}
	return nil
}
