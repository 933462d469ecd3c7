package store

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"torrente/metainfo"
)

// Content is a file, or a folder of files, from which a torrent is made.
type Content struct {
	Name  string          // of the file or folder
	Files []metainfo.File // paths, lengths and the executable mark
	Bytes int64           // of all files
	dir   string          // of which the files' paths are taken; a link has been followed
	file  string          // in dir, if the content is a single file
	seen  map[string]mark // by path below dir
}

// mark is by what a change of a file is noticed.
type mark struct {
	length   int64
	modified time.Time
}

// List looks at a file or at everything below a folder. Only regular files can
// be shared: a link, device or socket among them is an error, since a torrent
// without it would not be what the user meant.
func List(path string) (*Content, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if path == filepath.Dir(path) {
		return nil, fmt.Errorf("%s has no name to give to a torrent", path)
	}
	c := &Content{Name: filepath.Base(path), seen: map[string]mark{}}
	// The path itself may be a link, as users keep them; those below may not.
	if c.dir, err = filepath.EvalSymlinks(path); err != nil {
		return nil, err
	}
	info, err := os.Stat(c.dir)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		c.dir, c.file = filepath.Split(c.dir)
		return c, c.add(c.file, []string{c.Name}, info)
	}
	return c, filepath.WalkDir(c.dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(c.dir, p)
		if err != nil {
			return err
		}
		parts := strings.Split(rel, string(filepath.Separator))
		return c.add(rel, append([]string{c.Name}, parts...), info)
	})
}

// add takes a file that was seen at rel below dir, under the path that it shall
// have in the torrent.
func (c *Content) add(rel string, path []string, info fs.FileInfo) error {
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file: a torrent can only hold those", filepath.Join(c.dir, rel))
	}
	c.Files = append(c.Files, metainfo.File{Path: path, Length: info.Size(), Executable: info.Mode()&0o111 != 0})
	c.Bytes += info.Size()
	c.seen[rel] = mark{info.Size(), info.ModTime()}
	return nil
}

// place is a file's path below dir.
func (c *Content) place(f metainfo.File) string {
	if c.file != "" {
		return c.file
	}
	return filepath.Join(f.Path[1:]...)
}

// Hash reads the planned files, each byte once, on all cores, and returns what
// their pieces hash to. A file whose length or modification time is not the one
// that List saw is an error: the torrent would describe what never was.
// progress, if not nil, is called from several goroutines with the bytes read
// since its last call.
func (c *Content) Hash(ctx context.Context, p *metainfo.Plan, progress func(int64)) (metainfo.Hashes, error) {
	h := hasher{content: c, plan: p, progress: progress, tasks: tasksOf(p)}
	if p.V1 {
		// 20 bytes a piece of a plan that has at most 2^21 of them.
		h.v1 = make([]byte, len(h.tasks)*sha1.Size)
	}
	if p.V2 {
		h.v2 = make([]byte, len(h.tasks)*sha256.Size)
	}
	root, err := os.OpenRoot(c.dir)
	if err != nil {
		return metainfo.Hashes{}, err
	}
	defer root.Close()
	h.root = root // what is a link by now cannot lead out of the content
	g, ctx := errgroup.WithContext(ctx)
	for range min(runtime.GOMAXPROCS(0), len(h.tasks)) {
		g.Go(func() error { return h.work(ctx) })
	}
	if err := g.Wait(); err != nil {
		return metainfo.Hashes{}, err
	}
	return h.hashes(), c.unchanged(root)
}

// unchanged looks at every file again, once all were read.
func (c *Content) unchanged(root *os.Root) error {
	for rel, was := range c.seen {
		info, err := root.Stat(rel)
		if err != nil {
			return err
		}
		if now := (mark{info.Size(), info.ModTime()}); now.length != was.length || !now.modified.Equal(was.modified) {
			return changed(filepath.Join(c.dir, rel))
		}
	}
	return nil
}

// changed is the error for a file that is not what it was.
func changed(path string) error {
	return fmt.Errorf("%s changed while it was read: try again when nothing writes to it", path)
}

// task is a piece: the files that it covers, and where it begins in the first.
type task struct {
	first  int   // index into Plan.Files
	offset int64 // into that file
	length int64 // bytes, pads included
}

// tasksOf cuts the piece space into pieces. Where files start pieces (v2), a
// piece ends with its file, or with the pad behind it.
func tasksOf(p *metainfo.Plan) []task {
	tasks := make([]task, 0, (p.Length+p.PieceLength-1)/p.PieceLength)
	file := 0
	for at := int64(0); at < p.Length; at += p.PieceLength {
		for p.Files[file].Offset+p.Files[file].Length <= at {
			file++
		}
		tasks = append(tasks, task{
			first: file, offset: at - p.Files[file].Offset, length: min(p.PieceLength, p.Length-at),
		})
	}
	return tasks
}

// hasher is shared by the workers of one Hash.
type hasher struct {
	content  *Content
	plan     *metainfo.Plan
	root     *os.Root
	progress func(int64)
	tasks    []task
	next     atomic.Int64 // task that nobody has taken
	v1, v2   []byte       // by task; a worker writes to its task's place alone
}

// work takes pieces in order, so that disks are read from front to back.
func (h *hasher) work(ctx context.Context) error {
	w := worker{hasher: h, buf: make([]byte, 16*metainfo.BlockLength)}
	defer w.close()
	for {
		i := int(h.next.Add(1) - 1)
		if i >= len(h.tasks) {
			return nil
		}
		if err := w.piece(ctx, i); err != nil {
			return err
		}
	}
}

// worker hashes one piece at a time.
type worker struct {
	*hasher
	buf  []byte // whole blocks
	file *os.File
	open int // index of file
}

func (w *worker) close() {
	if w.file != nil {
		w.file.Close()
	}
	w.file = nil
}

// piece reads a piece from front to back, in parts that stay in the cache of
// the core while they are hashed twice.
func (w *worker) piece(ctx context.Context, i int) error {
	t := w.tasks[i]
	v1 := sha1.New()
	var v2 metainfo.Tree
	for f, offset, left := t.first, t.offset, t.length; left > 0 && f < len(w.plan.Files); f, offset = f+1, 0 {
		file := w.plan.Files[f]
		n := min(left, file.Length-offset)
		left -= n
		for n > 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			part := w.buf[:min(n, int64(len(w.buf)))]
			if err := w.read(f, offset, part); err != nil {
				return err
			}
			offset += int64(len(part))
			n -= int64(len(part))
			w.add(v1, &v2, part, file.Pad)
		}
		// In a v2 torrent the gap behind a file belongs to the same piece.
		if w.plan.V2 && !w.plan.V1 && file.Length > 0 {
			break
		}
	}
	if w.plan.V1 {
		v1.Sum(w.v1[i*sha1.Size : i*sha1.Size])
	}
	if w.plan.V2 {
		root := w.pieceRoot(t, &v2)
		copy(w.v2[i*sha256.Size:], root[:])
	}
	return nil
}

// add hashes a part of a piece: bytes for v1, blocks for v2. Parts of a file
// are whole blocks but for its end.
func (w *worker) add(v1 io.Writer, v2 *metainfo.Tree, part []byte, pad bool) {
	if w.plan.V1 {
		v1.Write(part)
	}
	if pad {
		return
	}
	if w.progress != nil {
		w.progress(int64(len(part)))
	}
	if !w.plan.V2 {
		return
	}
	for len(part) > 0 {
		n := min(len(part), metainfo.BlockLength)
		v2.Add(sha256.Sum256(part[:n]))
		part = part[n:]
	}
}

// pieceRoot is the piece's hash in its file's piece layer or, if it is all of
// the file, the file's root.
func (w *worker) pieceRoot(t task, leaves *metainfo.Tree) [32]byte {
	height := leaves.Height()
	if w.plan.Files[t.first].Length > w.plan.PieceLength {
		height = metainfo.LayerOf(w.plan.PieceLength)
	}
	return leaves.Root(height, [32]byte{})
}

// read fills part from a file; pads are zeros.
func (w *worker) read(index int, offset int64, part []byte) error {
	if w.plan.Files[index].Pad {
		clear(part)
		return nil
	}
	if err := w.use(index); err != nil {
		return err
	}
	if _, err := w.file.ReadAt(part, offset); err != nil {
		if errors.Is(err, io.EOF) {
			return changed(w.file.Name())
		}
		return err
	}
	return nil
}

// use opens a file, and keeps it open until the next is asked for.
func (w *worker) use(index int) error {
	if w.file != nil && w.open == index {
		return nil
	}
	w.close()
	rel := w.content.place(w.plan.Files[index])
	// O_NONBLOCK: what was a file when it was listed may be a pipe by now.
	f, err := w.root.OpenFile(rel, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	w.file, w.open = f, index
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Size() != w.plan.Files[index].Length {
		return changed(filepath.Join(w.content.dir, rel))
	}
	return nil
}

// hashes puts the pieces' hashes together, file by file.
func (h *hasher) hashes() metainfo.Hashes {
	out := metainfo.Hashes{Pieces: h.v1}
	if !h.plan.V2 {
		return out
	}
	out.Roots = make([][32]byte, len(h.plan.Files))
	out.Layers = map[[32]byte][]byte{}
	pad := metainfo.PadHash(metainfo.LayerOf(h.plan.PieceLength))
	for i, f := range h.plan.Files {
		if f.Pad || f.Length == 0 {
			continue
		}
		first := f.Offset / h.plan.PieceLength
		last := (f.Offset + f.Length - 1) / h.plan.PieceLength
		layer := h.v2[first*sha256.Size : (last+1)*sha256.Size]
		out.Roots[i] = metainfo.Root(layer, pad)
		if f.Length > h.plan.PieceLength {
			out.Layers[out.Roots[i]] = layer
		}
	}
	return out
}
