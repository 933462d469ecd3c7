package store

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"torrente/metainfo"
)

const block = metainfo.BlockLength

// boundaries are lengths around blocks and pieces of 32 KiB.
var boundaries = []int{0, 1, block - 1, block, block + 1, 2*block - 1, 2 * block, 2*block + 1, 3 * block, 4 * block, 4*block + 1, 9*block + 5}

// writeContent makes a folder with a file of each length, some deeper, and
// returns their content by path below the parent folder.
func writeContent(t testing.TB, dir string, lengths []int) map[string][]byte {
	t.Helper()
	r := rand.New(rand.NewPCG(1, uint64(len(lengths))))
	out := map[string][]byte{}
	for i, n := range lengths {
		rel := filepath.Join("content", strings.Repeat("sub/", i%3), fmt.Sprintf("%c%d", 'z'-i%7, n))
		data := make([]byte, n)
		for j := range data {
			data[j] = byte(r.Uint32())
		}
		path := filepath.Join(dir, rel)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		out[rel] = data
	}
	return out
}

func planOf(t testing.TB, c *Content, o metainfo.Options) *metainfo.Plan {
	t.Helper()
	p, err := metainfo.NewPlan(c.Name, c.Files, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// naive hashes as the specifications say, with everything in memory.
func naive(p *metainfo.Plan, data map[string][]byte) metainfo.Hashes {
	var h metainfo.Hashes
	if p.V1 {
		var space []byte
		for _, f := range p.Files {
			if f.Pad {
				space = append(space, make([]byte, f.Length)...)
			} else {
				space = append(space, data[filepath.Join(f.Path...)]...)
			}
		}
		for piece := range slices.Chunk(space, int(p.PieceLength)) {
			sum := sha1.Sum(piece)
			h.Pieces = append(h.Pieces, sum[:]...)
		}
	}
	if !p.V2 {
		return h
	}
	h.Layers = map[[32]byte][]byte{}
	for _, f := range p.Files {
		var leaves [][32]byte
		if !f.Pad {
			for b := range slices.Chunk(data[filepath.Join(f.Path...)], block) {
				leaves = append(leaves, sha256.Sum256(b))
			}
		}
		root := [32]byte{}
		if n := len(leaves); n > 0 {
			width := 1
			for width < n {
				width *= 2
			}
			root = metainfo.MerkleRoot(leaves, width)
		}
		h.Roots = append(h.Roots, root)
		if f.Length > p.PieceLength {
			var layer []byte
			for piece := range slices.Chunk(leaves, int(p.PieceLength/block)) {
				sum := metainfo.MerkleRoot(piece, int(p.PieceLength/block))
				layer = append(layer, sum[:]...)
			}
			h.Layers[root] = layer
		}
	}
	return h
}

func TestHashAgreesWithTheSpecifications(t *testing.T) {
	dir := t.TempDir()
	data := writeContent(t, dir, boundaries)
	content, err := List(filepath.Join(dir, "content"))
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []metainfo.Options{{V1: true}, {V2: true}, {V1: true, V2: true}} {
		for _, pieceLength := range []int64{block, 2 * block, 4 * block, 64 * block} {
			o.PieceLength = pieceLength
			t.Run(fmt.Sprintf("v1 %v, v2 %v, %d", o.V1, o.V2, pieceLength), func(t *testing.T) {
				p := planOf(t, content, o)
				var read atomic.Int64
				got, err := content.Hash(t.Context(), p, func(n int64) { read.Add(n) })
				if err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(naive(p, data), got); d != "" {
					t.Error(d)
				}
				if read.Load() != content.Bytes {
					t.Errorf("%d bytes read of %d: each is to be read once", read.Load(), content.Bytes)
				}
				info, err := p.Info(got)
				if err != nil {
					t.Fatal(err)
				}
				for root, layer := range got.Layers {
					if err := metainfo.VerifyLayer(root, info.PieceLength, layer); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
}

func TestHashOfASingleFile(t *testing.T) {
	dir := t.TempDir()
	for _, n := range boundaries[1:] {
		data := bytes.Repeat([]byte{7}, n)
		path := filepath.Join(dir, "file")
		if err := os.WriteFile(path, data, 0o755); err != nil {
			t.Fatal(err)
		}
		content, err := List(path)
		if err != nil {
			t.Fatal(err)
		}
		p := planOf(t, content, metainfo.Options{V1: true, V2: true, PieceLength: 2 * block})
		if len(p.Files) != 1 || !p.Files[0].Executable || p.Files[0].Path[0] != "file" {
			t.Errorf("%+v", p.Files)
		}
		got, err := content.Hash(t.Context(), p, nil)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(naive(p, map[string][]byte{"file": data}), got); d != "" {
			t.Errorf("%d bytes: %s", n, d)
		}
	}
}

// The path that the user gives may be a link, to anywhere.
func TestListFollowsTheLinkItIsGiven(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	data := writeContent(t, elsewhere, []int{5, block, 7})
	for link, target := range map[string]string{"folder": "content", "single": "content/z5"} {
		if err := os.Symlink(filepath.Join(elsewhere, target), filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
		content, err := List(filepath.Join(dir, link))
		if err != nil {
			t.Fatal(err)
		}
		named := map[string][]byte{"single": data["content/z5"]}
		for rel, b := range data {
			named[strings.Replace(rel, "content", "folder", 1)] = b
		}
		p := planOf(t, content, metainfo.Options{V1: true, V2: true})
		got, err := content.Hash(t.Context(), p, nil)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(naive(p, named), got); d != "" || content.Name != link {
			t.Error(content.Name, d)
		}
	}
}

func TestListRefuses(t *testing.T) {
	dir := t.TempDir()
	writeContent(t, dir, []int{5, 6})
	root := filepath.Join(dir, "content")
	for name, c := range map[string]struct {
		make func(path string) error
		why  string
	}{
		"link":   {func(p string) error { return os.Symlink("z5", p) }, "is not a regular file"},
		"pipe":   {func(p string) error { return syscall.Mkfifo(p, 0o644) }, "is not a regular file"},
		"dangle": {func(p string) error { return os.Symlink("nowhere", p) }, "is not a regular file"},
	} {
		odd := filepath.Join(root, name)
		if err := c.make(odd); err != nil {
			t.Fatal(err)
		}
		if _, err := List(root); err == nil || !strings.Contains(err.Error(), c.why) || !strings.Contains(err.Error(), odd) {
			t.Errorf("%s: %v", name, err)
		}
		if err := os.Remove(odd); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := List(filepath.Join(dir, "nothing")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if _, err := List("/"); err == nil || !strings.Contains(err.Error(), "no name") {
		t.Error(err)
	}
}

func TestHashNoticesChanges(t *testing.T) {
	for name, change := range map[string]func(path string) error{
		"shorter":  func(p string) error { return os.Truncate(p, 10) },
		"longer":   func(p string) error { return os.Truncate(p, 1<<20) },
		"gone":     os.Remove,
		"replaced": func(p string) error { return os.WriteFile(p, make([]byte, 9*block+5), 0o644) },
		"a pipe":   func(p string) error { return errors.Join(os.Remove(p), syscall.Mkfifo(p, 0o644)) },
	} {
		t.Run(name, func(t *testing.T) {
			for _, late := range []bool{false, true} {
				dir := t.TempDir()
				writeContent(t, dir, []int{9*block + 5, 9*block + 5, 3})
				victim := filepath.Join(dir, "content", "sub", fmt.Sprintf("y%d", 9*block+5))
				// Long ago, so that the clock of the file system has gone on since.
				if err := os.Chtimes(victim, time.Unix(1e9, 0), time.Unix(1e9, 0)); err != nil {
					t.Fatal(err)
				}
				content, err := List(filepath.Join(dir, "content"))
				if err != nil {
					t.Fatal(err)
				}
				p := planOf(t, content, metainfo.Options{V1: true, V2: true, PieceLength: block})
				var read atomic.Int64
				var once sync.Once
				touch := func(n int64) {
					if sum := read.Add(n); !late || sum == content.Bytes {
						once.Do(func() {
							if err := change(victim); err != nil {
								t.Error(err)
							}
						})
					}
				}
				_, err = content.Hash(t.Context(), p, touch)
				if err == nil || !strings.Contains(err.Error(), filepath.Base(victim)) {
					t.Errorf("late %v: %v", late, err)
				}
			}
		})
	}
}

func TestHashIsCancelled(t *testing.T) {
	dir := t.TempDir()
	writeContent(t, dir, []int{100 * block})
	content, err := List(filepath.Join(dir, "content"))
	if err != nil {
		t.Fatal(err)
	}
	p := planOf(t, content, metainfo.Options{V1: true, V2: true, PieceLength: block})
	ctx, cancel := context.WithCancel(t.Context())
	var read atomic.Int64
	_, err = content.Hash(ctx, p, func(n int64) { cancel(); read.Add(n) })
	if !errors.Is(err, context.Canceled) || read.Load() > 10*block {
		t.Errorf("%v after %d bytes", err, read.Load())
	}
}

func BenchmarkHash(b *testing.B) {
	dir := b.TempDir()
	path := filepath.Join(dir, "file")
	if err := os.WriteFile(path, make([]byte, 64<<20), 0o644); err != nil {
		b.Fatal(err)
	}
	content, err := List(path)
	if err != nil {
		b.Fatal(err)
	}
	for name, o := range map[string]metainfo.Options{"v1": {V1: true}, "v2": {V2: true}, "hybrid": {V1: true, V2: true}} {
		b.Run(name, func(b *testing.B) {
			p := planOf(b, content, o)
			b.SetBytes(content.Bytes)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := content.Hash(b.Context(), p, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
