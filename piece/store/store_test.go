package store

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"pgregory.net/rapid"

	"torrente/metainfo"
	"torrente/piece"
)

// shape is a kind of torrent that every test is run with.
type shape struct {
	name string
	o    metainfo.Options
}

var shapes = []shape{
	{"v1", metainfo.Options{V1: true, PieceLength: 2 * block}},
	{"hybrid", metainfo.Options{V1: true, V2: true, PieceLength: 2 * block}},
	{"v2", metainfo.Options{V2: true, PieceLength: 2 * block}},
}

// fixture is a torrent, its data in the piece space, and an empty store.
type fixture struct {
	torrent *metainfo.Torrent
	space   []byte
	dir     string
	store   *Store
	layout  *piece.Layout
}

func newFixture(t testing.TB, o metainfo.Options) *fixture {
	t.Helper()
	src := t.TempDir()
	data := writeContent(t, src, boundaries)
	c, err := List(filepath.Join(src, "content"))
	if err != nil {
		t.Fatal(err)
	}
	p := planOf(t, c, o)
	h := naive(p, data)
	info, err := p.Info(h)
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{torrent: &metainfo.Torrent{Info: info, Layers: h.Layers}, dir: t.TempDir(), space: make([]byte, info.Length+2*block)}
	for _, file := range info.Files {
		if !file.Pad {
			copy(f.space[file.Offset:], data[filepath.Join(file.Path...)])
		}
	}
	f.layout = piece.NewLayout(info)
	f.open(t)
	return f
}

func (f *fixture) open(t testing.TB) {
	t.Helper()
	s, err := Open(f.dir, f.torrent.Info, f.torrent.Layers, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	f.store = s
}

// data is a copy of a block.
func (f *fixture) data(b piece.Block) []byte {
	at := f.layout.Start(int(b.Piece)) + int64(b.Begin)
	return slices.Clone(f.space[at : at+int64(b.Length)])
}

func (f *fixture) blocks() (all []piece.Block) {
	for i := range f.layout.Pieces() {
		for k := range f.layout.Blocks(i) {
			all = append(all, f.layout.Block(i, k))
		}
	}
	return all
}

// purse counts buffers that are lent and given back.
type purse struct{ out int }

func (p *purse) free([]byte) { p.out-- }

func (p *purse) put(in *Intake, b piece.Block, data []byte, leaf *[32]byte) Outcome {
	p.out++
	return putOne(in, b, data, leaf)
}

// putOne puts one block.
func putOne(in *Intake, b piece.Block, data []byte, leaf *[32]byte) (out Outcome) {
	in.Put([]Incoming{{b, data, leaf}}, func(all []Outcome) { out = all[0] })
	return out
}

// In whatever order blocks come, all pieces verify, every buffer comes back,
// and what is read is what was written, padding as zeros.
func TestIntakeInAnyOrder(t *testing.T) {
	for _, sh := range shapes {
		f := newFixture(t, sh.o)
		rapid.Check(t, func(t *rapid.T) {
			all := f.blocks()
			for range rapid.IntRange(0, len(all)).Draw(t, "swaps") { // what is not swapped is written in runs
				i, j := rapid.IntRange(0, len(all)-1).Draw(t, "i"), rapid.IntRange(0, len(all)-1).Draw(t, "j")
				all[i], all[j] = all[j], all[i]
			}
			var p purse
			limit := rapid.IntRange(0, 8).Draw(t, "held at most")
			room := NewRoom(limit)
			in := f.store.NewIntake(room, p.free)
			whole, told := 0, 0
			for rest := all; len(rest) > 0; {
				n := min(rapid.IntRange(1, 6).Draw(t, "come together"), len(rest))
				var come []Incoming
				for _, b := range rest[:n] {
					come = append(come, Incoming{Block: b, Data: f.data(b)})
				}
				rest, p.out = rest[n:], p.out+n
				in.Put(come, func(outs []Outcome) {
					for _, out := range outs {
						if told++; !out.OK || out.Err != nil || out.Whole && !out.Good {
							t.Fatalf("%s: %+v", sh.name, out)
						}
						if out.Whole {
							whole++
						}
					}
				})
			}
			if told != len(all) || whole != f.layout.Pieces() || p.out != 0 || room.left.Load() != int64(limit) {
				t.Fatalf("%s: %d of %d pieces, %d buffers missing", sh.name, whole, f.layout.Pieces(), p.out)
			}
		})
		for i := range f.layout.Pieces() {
			b := piece.Block{Piece: uint32(i), Length: uint32(f.layout.Span(i))}
			got := bytes.Repeat([]byte{0xFF}, int(b.Length))
			if err := f.store.Read(b, got); err != nil || !bytes.Equal(got, f.data(b)) {
				t.Errorf("%s: piece %d reads otherwise than it was written: %v", sh.name, i, err)
			}
			if good, err := f.store.Check(i); !good || err != nil {
				t.Errorf("%s: piece %d does not check: %v", sh.name, i, err)
			}
		}
	}
}

// A false block makes its piece fail; after a good copy exactly the false
// blocks are named.
func TestFalseBlocksAreNamed(t *testing.T) {
	for _, sh := range shapes {
		f := newFixture(t, sh.o)
		var p purse
		in := f.store.NewIntake(NewRoom(4), p.free)
		whole := slices.IndexFunc(f.blocks(), func(b piece.Block) bool { return f.layout.Blocks(int(b.Piece)) == 2 })
		index := int(f.blocks()[whole].Piece)
		var out Outcome
		for k := range 2 {
			data := f.data(f.layout.Block(index, k))
			data[0] ^= byte(k) // the second is false
			out = p.put(in, f.layout.Block(index, k), data, nil)
		}
		if !out.Whole || out.Good || out.Inconsistent {
			t.Errorf("%s: a false piece is %+v", sh.name, out)
		}
		if good, _ := f.store.Check(index); good {
			t.Errorf("%s: a false piece checks", sh.name)
		}
		for k := range 2 {
			out = p.put(in, f.layout.Block(index, k), f.data(f.layout.Block(index, k)), nil)
		}
		if !out.Good || !slices.Equal(out.False, []int{1}) {
			t.Errorf("%s: after the good copy %+v", sh.name, out)
		}
		if p.out != 0 {
			t.Errorf("%s: %d buffers missing", sh.name, p.out)
		}
	}
}

// With its leaf a false block is refused alone, and nothing of it is written.
func TestLeafRefusesBlock(t *testing.T) {
	f := newFixture(t, shapes[1].o)
	var p purse
	in := f.store.NewIntake(NewRoom(4), p.free)
	b := f.blocks()[0]
	leaf := sha256.Sum256(f.data(b))
	bad := f.data(b)
	bad[0] ^= 1
	if out := p.put(in, b, bad, &leaf); out.OK || out.Err != nil || out.Block != b {
		t.Errorf("%+v", out)
	}
	if !f.store.Empty() {
		t.Error("a refused block was written")
	}
	if out := p.put(in, b, f.data(b), &leaf); !out.OK {
		t.Errorf("%+v", out)
	}
}

// A hybrid whose halves describe different data is told from false data.
func TestInconsistentHybrid(t *testing.T) {
	f := newFixture(t, shapes[1].o)
	info := *f.torrent.Info
	info.Pieces = slices.Clone(info.Pieces)
	info.Pieces[0] ^= 1
	f.torrent.Info = &info
	f.open(t)
	in := f.store.NewIntake(NewRoom(4), func([]byte) {})
	var out Outcome
	for k := range f.layout.Blocks(0) {
		out = putOne(in, f.layout.Block(0, k), f.data(f.layout.Block(0, k)), nil)
	}
	if !out.Inconsistent || out.Good {
		t.Errorf("%+v", out)
	}
}

// Blocks of an earlier run need not come again.
func TestRestoredBlocks(t *testing.T) {
	for _, sh := range shapes {
		f := newFixture(t, sh.o)
		i := slices.IndexFunc(f.blocks(), func(b piece.Block) bool { return f.layout.Blocks(int(b.Piece)) == 2 })
		index := int(f.blocks()[i].Piece)
		first, second := f.layout.Block(index, 0), f.layout.Block(index, 1)
		if err := f.store.Write(first, f.data(first)); err != nil {
			t.Fatal(err)
		}
		in := f.store.NewIntake(NewRoom(4), func([]byte) {})
		in.Restore(index, []int{0, 0})
		if out := putOne(in, second, f.data(second), nil); !out.Good {
			t.Errorf("%s: %+v", sh.name, out)
		}
	}
}

func TestHolesNeedNoCheck(t *testing.T) {
	f := newFixture(t, shapes[0].o)
	last := f.layout.Block(f.layout.Pieces()-1, 0)
	if err := f.store.Write(last, f.data(last)); err != nil {
		t.Fatal(err)
	}
	if f.store.HasData(0) || !f.store.HasData(int(last.Piece)) {
		t.Errorf("data: first piece %v, last %v", f.store.HasData(0), f.store.HasData(int(last.Piece)))
	}
	if good, err := f.store.Check(0); good || err != nil {
		t.Errorf("a hole checks: %v, %v", good, err)
	}
}

func TestResume(t *testing.T) {
	f := newFixture(t, shapes[1].o)
	path := filepath.Join(t.TempDir(), "resume")
	if _, _, err := f.store.LoadResume(path); !errors.Is(err, ErrNoResume) {
		t.Errorf("without a record: %v", err)
	}
	for _, b := range f.blocks()[:5] {
		if err := f.store.Write(b, f.data(b)); err != nil {
			t.Fatal(err)
		}
	}
	have := piece.NewBitfield(f.layout.Pieces())
	have.Set(0)
	for _, clean := range []bool{true, false} {
		if err := f.store.SaveResume(path, have, clean); err != nil {
			t.Fatal(err)
		}
		got, wasClean, err := f.store.LoadResume(path)
		if err != nil || wasClean != clean || !bytes.Equal(got.Wire(), have.Wire()) {
			t.Fatalf("clean %v: %v %v %v", clean, got, wasClean, err)
		}
	}
	record, _ := os.ReadFile(path)
	for i := range record {
		for _, damaged := range [][]byte{record[:i], flip(record, i)} {
			os.WriteFile(path, damaged, 0o600)
			if _, _, err := f.store.LoadResume(path); !errors.Is(err, ErrNoResume) {
				t.Fatalf("damaged at byte %d: %v", i, err)
			}
		}
	}
	os.WriteFile(path, append(record, 0), 0o600)
	if _, _, err := f.store.LoadResume(path); !errors.Is(err, ErrNoResume) {
		t.Errorf("with a byte too much: %v", err)
	}
}

func flip(b []byte, i int) []byte {
	b = slices.Clone(b)
	b[i] ^= 0x10
	return b
}

// After a clean end any change of the files is noticed; after a kill only that
// they shrank, since they grew after the record.
func TestResumeNoticesChanges(t *testing.T) {
	f := newFixture(t, shapes[0].o)
	path := filepath.Join(t.TempDir(), "resume")
	b := f.blocks()[0]
	if err := f.store.Write(b, f.data(b)); err != nil {
		t.Fatal(err)
	}
	file := ""
	filepath.WalkDir(f.dir, func(p string, d fs.DirEntry, _ error) error {
		if st, err := d.Info(); err == nil && st.Mode().IsRegular() && st.Size() > 0 {
			file = p
		}
		return nil
	})
	for _, c := range []struct {
		clean, believed bool
		change          func() error
	}{
		{true, false, func() error { return os.Truncate(file, 1<<20) }},
		{false, true, func() error { return os.Truncate(file, 2<<20) }},
		{false, false, func() error { return os.Truncate(file, 0) }},
		{false, false, func() error { return os.Remove(file) }},
	} {
		if err := f.store.SaveResume(path, piece.NewBitfield(f.layout.Pieces()), c.clean); err != nil {
			t.Fatal(err)
		}
		if err := c.change(); err != nil {
			t.Fatal(err)
		}
		if _, _, err := f.store.LoadResume(path); errors.Is(err, ErrNoResume) == c.believed {
			t.Errorf("clean %v, believed %v: %v", c.clean, c.believed, err)
		}
		os.WriteFile(file, []byte("x"), 0o600)
	}
}

// What stands in the place of a file and is none is refused and not touched.
func TestOnlyRegularFilesBelowTheFolder(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, place := range map[string]func(path string) error{
		"pipe":      func(p string) error { return syscall.Mkfifo(p, 0o600) },
		"link out":  func(p string) error { return os.Symlink(outside, p) },
		"folder":    func(p string) error { return os.Mkdir(p, 0o700) },
		"link loop": func(p string) error { return os.Symlink(filepath.Base(p), p) },
	} {
		f := newFixture(t, shapes[0].o)
		b := f.blocks()[0]
		first := slices.IndexFunc(f.torrent.Info.Files, func(x metainfo.File) bool { return x.Length > 0 })
		path := filepath.Join(f.dir, filepath.Join(f.torrent.Info.Files[first].Path...))
		os.MkdirAll(filepath.Dir(path), 0o700)
		if err := place(path); err != nil {
			t.Fatal(err)
		}
		if err := f.store.Write(b, f.data(b)); err == nil {
			t.Errorf("%s: written", name)
		}
		if err := f.store.Read(b, make([]byte, b.Length)); err == nil {
			t.Errorf("%s: read", name)
		}
	}
	if got, _ := os.ReadFile(outside); string(got) != "mine" {
		t.Errorf("a file outside now has %q", got)
	}
}

// Hash requests are answered from the leaf file, and from the data where the
// file has nothing or had something false at the start; every answer proves
// itself.
func TestHashes(t *testing.T) {
	for _, sh := range shapes[1:] {
		f := newFixture(t, sh.o)
		for _, b := range f.blocks() {
			if err := f.store.Write(b, f.data(b)); err != nil {
				t.Fatal(err)
			}
		}
		leaves := filepath.Join(t.TempDir(), "leaves")
		if err := f.store.KeepLeaves(leaves); err != nil {
			t.Fatal(err)
		}
		f.checkHashes(t)
		kept, _ := os.ReadFile(leaves)
		if len(kept) == 0 {
			t.Error("nothing was kept")
		}
		os.WriteFile(leaves, bytes.Repeat([]byte{7}, len(kept)), 0o600)
		if err := f.store.KeepLeaves(leaves); err != nil { // as the next run does
			t.Fatal(err)
		}
		f.checkHashes(t)
		again, _ := os.ReadFile(leaves)
		for at := 0; at < len(kept); at += sha256.Size { // where a row was asked for
			if row := kept[at : at+sha256.Size]; !bytes.Equal(row, make([]byte, sha256.Size)) && !bytes.Equal(row, again[at:at+sha256.Size]) {
				t.Errorf("the false leaf at %d was not replaced", at)
			}
		}
		if _, err := f.store.Hashes([32]byte{1}, metainfo.Range{Length: 2}); err == nil {
			t.Error("hashes of no file")
		}
	}
}

func (f *fixture) checkHashes(t *testing.T) {
	t.Helper()
	height := metainfo.LayerOf(f.torrent.Info.PieceLength)
	for _, file := range f.torrent.Info.Files {
		if file.Pad || file.Length <= block {
			continue
		}
		blocks := int(file.Length+block-1) / block
		top := 0
		for 1<<top < blocks {
			top++
		}
		for at := 0; at < blocks; at += 2 {
			r := metainfo.Range{Index: at, Length: 2, ProofLayers: top - 1}
			row, err := f.store.Hashes(file.Root, r)
			if err == nil {
				err = metainfo.VerifyProof(file.Root, file.Length, r, row)
			}
			if err != nil {
				t.Errorf("leaves %+v of %v: %v", r, file.Path, err)
			}
		}
		if file.Length <= f.torrent.Info.PieceLength {
			continue
		}
		r := metainfo.Range{Base: height, Length: 2, ProofLayers: top - height - 1}
		row, err := f.store.Hashes(file.Root, r)
		if err == nil {
			err = metainfo.VerifyProof(file.Root, file.Length, r, row)
		}
		if err != nil {
			t.Errorf("layer %+v of %v: %v", r, file.Path, err)
		}
	}
}

// More files than may be open at once.
func TestManyFiles(t *testing.T) {
	info := &metainfo.Info{Raw: []byte("x"), Name: "many", HasV1: true, PieceLength: block}
	for i := range maxOpen + 32 {
		info.Files = append(info.Files, metainfo.File{Path: []string{"many", string(rune('a' + i/26%26)), string(rune('a' + i%26)), string(rune('a' + i/676))}, Offset: int64(i), Length: 1})
		info.Length++
	}
	s, err := Open(t.TempDir(), info, nil, true)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	b := piece.Block{Length: uint32(info.Length)}
	data := make([]byte, b.Length)
	for i := range data {
		data[i] = byte(i)
	}
	if err := s.Write(b, data); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, b.Length)
	if err := s.Read(b, got); err != nil || !bytes.Equal(got, data) {
		t.Errorf("reads otherwise: %v", err)
	}
	if len(s.files.open) > maxOpen {
		t.Errorf("%d files open", len(s.files.open))
	}
	if n := len(s.files.dirty); n != len(info.Files) {
		t.Errorf("%d of %d files that were written will be synced", n, len(info.Files))
	}
	if err := s.Sync(); err != nil || len(s.files.dirty) > 0 {
		t.Errorf("%d files are not synced: %v", len(s.files.dirty), err)
	}
}

func BenchmarkIntake(b *testing.B) {
	for _, sh := range shapes {
		b.Run(sh.name, func(b *testing.B) {
			o := sh.o
			o.PieceLength = 1 << 20
			length := int64(64 << 20)
			zero := make([]byte, o.PieceLength) // all data is zeros: every piece is right
			sum := sha1.Sum(zero)
			leaf := sha256.Sum256(zero[:block])
			node := metainfo.Root(bytes.Repeat(leaf[:], 64), [32]byte{})
			info := &metainfo.Info{
				Raw: []byte("x"), Name: "bench", HasV1: o.V1, HasV2: o.V2, PieceLength: o.PieceLength, Length: length,
				Pieces: bytes.Repeat(sum[:], 64), Files: []metainfo.File{{Path: []string{"bench"}, Length: length, Root: [32]byte{1}}},
			}
			s, err := Open(b.TempDir(), info, map[[32]byte][]byte{{1}: bytes.Repeat(node[:], 64)}, true)
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			in := s.NewIntake(NewRoom(8), func([]byte) {})
			data := make([]byte, block)
			b.SetBytes(block)
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				out := putOne(in, s.layout.Block(n/64%64, n%64), data, nil)
				if out.Err != nil || out.Whole && !out.Good {
					b.Fatalf("%+v", out)
				}
				n++
			}
		})
	}
}

// A file that somebody else changed after we looked at it or wrote it is not
// believed, though the record is made after that.
func TestRecordOfAFileThatOthersChanged(t *testing.T) {
	f := newFixture(t, shapes[1].o)
	for _, b := range f.blocks() {
		if err := f.store.Write(b, f.data(b)); err != nil {
			t.Fatal(err)
		}
	}
	have := piece.FullBitfield(f.layout.Pieces())
	path := filepath.Join(t.TempDir(), "resume")
	if err := f.store.SaveResume(path, have, true); err != nil {
		t.Fatal(err)
	}
	if got, clean, err := f.store.LoadResume(path); err != nil || !clean || !got.Full() {
		t.Fatalf("%v %v", clean, err)
	}
	i := slices.IndexFunc(f.torrent.Info.Files, func(x metainfo.File) bool { return x.Length > 2*block })
	if err := os.Truncate(filepath.Join(f.dir, f.store.files.name(i)), 5); err != nil {
		t.Fatal(err)
	}
	if err := f.store.SaveResume(path, have, true); err != nil {
		t.Fatal(err)
	}
	if _, _, err := f.store.LoadResume(path); !errors.Is(err, ErrNoResume) {
		t.Errorf("a truncated file is believed to be complete: %v", err)
	}
}

// If data could not be synced the older record is not believed either.
func TestNoRecordAfterAFailedSync(t *testing.T) {
	f := newFixture(t, shapes[0].o)
	have := piece.NewBitfield(f.layout.Pieces())
	path := filepath.Join(t.TempDir(), "resume")
	b := f.blocks()[0]
	if err := f.store.Write(b, f.data(b)); err != nil {
		t.Fatal(err)
	}
	if err := f.store.SaveResume(path, have, false); err != nil {
		t.Fatal(err)
	}
	for _, h := range f.store.files.open { // as a disk that fails
		h.file.Close()
	}
	if err := f.store.SaveResume(path, have, true); err == nil {
		t.Error("saved without a sync")
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the older record is still there: %v", err)
	}
}

// Of a piece that failed twice the last copy is compared, or none.
func TestOnlyTheLastFailedCopyIsCompared(t *testing.T) {
	for _, others := range []int{0, maxFailed} {
		f := newFixture(t, shapes[0].o)
		in := f.store.NewIntake(NewRoom(4), func([]byte) {})
		i := slices.IndexFunc(f.blocks(), func(b piece.Block) bool { return f.layout.Blocks(int(b.Piece)) == 2 })
		index := int(f.blocks()[i].Piece)
		put := func(bad int) (o Outcome) {
			for k := range 2 {
				d := f.data(f.layout.Block(index, k))
				if k == bad {
					d[0] ^= 1
				}
				o = putOne(in, f.layout.Block(index, k), d, nil)
			}
			return o
		}
		put(0)
		for k := range uint32(others) { // other pieces failed meanwhile
			in.failed[1000+k] = nil
		}
		put(1)
		want := []int{1}
		if others > 0 {
			want = nil // there was no room to remember it
		}
		if o := put(-1); !o.Good || !slices.Equal(o.False, want) {
			t.Errorf("after %d others: blames %v, want %v", others, o.False, want)
		}
	}
}

// Intakes that share a room hold no more together than it has.
func TestRoomIsShared(t *testing.T) {
	f := newFixture(t, shapes[0].o)
	room := NewRoom(3)
	freed, put := 0, 0
	var all []*Intake
	for range 4 {
		in := f.store.NewIntake(room, func([]byte) { freed++ })
		all = append(all, in)
		for i := range f.layout.Pieces() {
			if f.layout.Blocks(i) == 2 { // the second block first: it has to be held
				putOne(in, f.layout.Block(i, 1), f.data(f.layout.Block(i, 1)), nil)
				put++
			}
		}
	}
	if put < 8 || put-freed != 3 {
		t.Errorf("%d of %d blocks are held, there is room for 3", put-freed, put)
	}
	for _, in := range all {
		in.Close()
	}
	if freed != put || room.left.Load() != 3 {
		t.Errorf("%d of %d buffers came back", freed, put)
	}
}
