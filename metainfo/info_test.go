package metainfo

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"torrente/bencode"
)

type m = map[string]any

func encode(t interface{ Fatal(...any) }, v any) []byte {
	b, err := bencode.Encode(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func hashes(n int) []byte { return make([]byte, 20*n) }

// file and leaf are entries of a v1 list and of a v2 tree.
func file(length int, path ...string) m { return m{"length": length, "path": path} }

func leaf(length int) m {
	if length == 0 {
		return m{"": m{"length": 0}}
	}
	return m{"": m{"length": length, "pieces root": strings.Repeat("r", 32)}}
}

// with returns a copy of d with one more key, or without it if v is nil.
func with(d m, key string, v any) m {
	out := m{}
	for k, old := range d {
		out[k] = old
	}
	if out[key] = v; v == nil {
		delete(out, key)
	}
	return out
}

var (
	oneV1 = m{"name": "a", "piece length": 16384, "length": 20000, "pieces": hashes(2)}
	twoV1 = m{"name": "d", "piece length": 16384, "files": []any{file(20000, "a"), file(1, "b", "c")}, "pieces": hashes(2)}
	oneV2 = m{"name": "a", "piece length": 16384, "meta version": 2, "file tree": m{"a": leaf(20000)}}
	twoV2 = m{"name": "d", "piece length": 16384, "meta version": 2, "file tree": m{"a": leaf(20000), "b": m{"c": leaf(1)}}}
	both  = m{
		"name": "d", "piece length": 16384, "meta version": 2, "file tree": m{"a": leaf(20000), "b": m{"c": leaf(1)}},
		"files":  []any{file(20000, "a"), m{"length": 12768, "attr": "p", "path": []string{".pad", "12768"}}, file(1, "b", "c")},
		"pieces": hashes(3),
	}
)

func TestParseInfo(t *testing.T) {
	r := [32]byte([]byte(strings.Repeat("r", 32)))
	for _, c := range []struct {
		name   string
		in     m
		files  []File
		length int64
		pieces int
		units  uint64
	}{
		{"v1, one file", oneV1, []File{{Path: []string{"a"}, Length: 20000}}, 20000, 2, 2},
		{"v1, two files", twoV1, []File{{Path: []string{"d", "a"}, Length: 20000}, {Path: []string{"d", "b", "c"}, Offset: 20000, Length: 1}}, 20001, 2, 2},
		{"v2, one file", oneV2, []File{{Path: []string{"a"}, Length: 20000, Root: r}}, 20000, 2, 2},
		{"v2, two files", twoV2, []File{{Path: []string{"d", "a"}, Length: 20000, Root: r}, {Path: []string{"d", "b", "c"}, Offset: 32768, Length: 1, Root: r}}, 32769, 3, 3},
		{"hybrid", both, []File{{Path: []string{"d", "a"}, Length: 20000, Root: r}, {Offset: 20000, Length: 12768, Pad: true}, {Path: []string{"d", "b", "c"}, Offset: 32768, Length: 1, Root: r}}, 32769, 3, 3},
		{
			"hybrid with a pad at the end", with(with(both, "files", append(both["files"].([]any), m{"length": 16383, "attr": "p"})), "pieces", hashes(3)),
			[]File{{Path: []string{"d", "a"}, Length: 20000, Root: r}, {Offset: 20000, Length: 12768, Pad: true}, {Path: []string{"d", "b", "c"}, Offset: 32768, Length: 1, Root: r}, {Offset: 32769, Length: 16383, Pad: true}},
			49152, 3, 3,
		},
		{"v2, empty files and folders", with(twoV2, "file tree", m{"a": leaf(0), "b": m{}, "c": leaf(5), "d": leaf(0)}), []File{
			{Path: []string{"d", "a"}}, {Path: []string{"d", "c"}, Length: 5, Root: r}, {Path: []string{"d", "d"}, Offset: 5},
		}, 5, 1, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			raw := encode(t, c.in)
			i, err := ParseInfo(raw)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.files, i.Files); d != "" {
				t.Error(d)
			}
			if i.Length != c.length || i.NumPieces() != c.pieces || i.Units() != c.units {
				t.Errorf("length %d, %d pieces, %d units", i.Length, i.NumPieces(), i.Units())
			}
			if string(i.Raw) != string(raw) || &i.Raw[0] == &raw[0] {
				t.Error("Raw is not a copy of the input")
			}
			if i.HasV1 != (c.in["pieces"] != nil) || i.HasV2 != (c.in["meta version"] != nil) {
				t.Error(i.HasV1, i.HasV2)
			}
		})
	}
}

func TestUnits(t *testing.T) {
	for _, c := range []struct {
		length, pieceLength int64
		want                uint64
	}{{1, 16384, 1}, {16384, 16384, 1}, {16385, 16384, 2}, {16384 * 10, 32768, 10}, {100_000, 20_000, 10}, {100_001, 20_000, 11}, {7, 1, 7}} {
		i := Info{HasV1: true, Length: c.length, PieceLength: c.pieceLength}
		if got := i.Units(); got != c.want {
			t.Errorf("%d in pieces of %d: %d units, want %d", c.length, c.pieceLength, got, c.want)
		}
	}
}

func TestHostileInfos(t *testing.T) {
	tree := func(tree m) m { return with(twoV2, "file tree", tree) }
	list := func(files ...any) m { return with(twoV1, "files", files) }
	huge := 1 << 62
	for _, c := range []struct {
		name, why string
		in        any
	}{
		{"not a dictionary", "info has the wrong type: a list", []any{}},
		{"empty", `"name" is missing`, m{}},
		{"no name", `"name" is missing`, with(oneV1, "name", nil)},
		{"name of a wrong type", "not a string", with(oneV1, "name", 5)},
		{"empty name", `"name" is empty`, with(oneV1, "name", "")},
		{"name ..", "stands for another folder", with(oneV1, "name", "..")},
		{"name .", "stands for another folder", with(twoV1, "name", ".")},
		{"name with a slash", "has a slash", with(twoV1, "name", "a/../../b")},
		{"absolute name", "has a slash", with(oneV1, "name", "/etc/passwd")},
		{"name with NUL", "has a NUL byte", with(oneV1, "name", "a\x00.txt")},
		{"better name is bad", "stands for another folder", with(oneV1, "name.utf-8", "..")},
		{"no piece length", `"piece length" is missing`, with(oneV1, "piece length", nil)},
		{"piece length 0", "from 1 to", with(oneV1, "piece length", 0)},
		{"piece length -1", "from 1 to", with(oneV1, "piece length", -1)},
		{"piece length huge", "from 1 to", with(oneV1, "piece length", huge)},
		{"v2 piece length no power of two", "power of two", with(oneV2, "piece length", 20000)},
		{"v2 piece length too small", "power of two", with(oneV2, "piece length", 8192)},
		{"private of a wrong type", `"private" has the wrong type`, with(oneV1, "private", "yes")},

		{"meta version 3", "meta version 3 is not known", with(oneV2, "meta version", 3)},
		{"meta version 1", "meta version 1 is not known", with(oneV2, "meta version", 1)},
		{"meta version 3, all else wrong", "meta version 3 is not known", m{"meta version": 3}},
		{"meta version of a wrong type", "wrong type", with(oneV2, "meta version", "2")},
		{"file tree without version", `without "meta version"`, with(oneV2, "meta version", nil)},

		{"length and files", `both "length" and "files"`, with(twoV1, "length", 1)},
		{"neither", `"length" is missing`, with(oneV1, "length", nil)},
		{"no pieces", `"pieces" is missing`, with(oneV1, "pieces", nil)},
		{"v2 with a v1 list without pieces", `"pieces" is missing`, with(both, "pieces", nil)},
		{"pieces cut", "must have 40", with(oneV1, "pieces", hashes(2)[:39])},
		{"too few pieces", "must have 40", with(oneV1, "pieces", hashes(1))},
		{"too many pieces", "must have 40", with(oneV1, "pieces", hashes(3))},
		{"no pieces for data", "must have 40", with(oneV1, "pieces", hashes(0))},
		{"pieces of a wrong type", "wrong type", with(oneV1, "pieces", []any{})},
		{"negative length", `"length" is -1`, with(oneV1, "length", -1)},
		{"huge length", `"length" is 4611686018427387904`, with(oneV1, "length", huge)},
		{"empty torrent", "no data", with(with(oneV1, "length", 0), "pieces", hashes(0))},
		{"empty list", "no data", with(list(), "pieces", hashes(0))},
		{"single file is a pad", "a pad or a link", with(oneV1, "attr", "p")},
		{"single file is a link", "a pad or a link", with(oneV1, "attr", "l")},
		{"too many pieces to keep", "is the most allowed", with(with(oneV1, "piece length", 1), "length", 1<<40)},

		{"files of a wrong type", `"files" has the wrong type`, with(twoV1, "files", m{})},
		{"file of a wrong type", "file 0 has the wrong type", list("a")},
		{"file without length", `file 1: "length" is missing`, list(file(1, "a"), m{"path": []string{"b"}})},
		{"file without path", `file 0: "path" is missing`, list(m{"length": 1})},
		{"empty path", `"path" is empty`, list(m{"length": 1, "path": []any{}})},
		{"path of integers", "not a string", list(m{"length": 1, "path": []any{1}})},
		{"path of a wrong type", "wrong type", list(m{"length": 1, "path": "a"})},
		{"path ..", "stands for another folder", list(file(1, "..", "..", "etc", "passwd"))},
		{"path . in the middle", "stands for another folder", list(file(1, "a", ".", "b"))},
		{"path .. hidden by a backslash", "stands for another folder", list(file(1, `.\.`))},
		{"path .. hidden by a direction mark", "stands for another folder", list(file(1, ".\u202e."))},
		{"path with a slash", "has a slash", list(file(1, "a/../../b"))},
		{"absolute path", "has a slash", list(file(1, "/etc"))},
		{"path with NUL", "has a NUL byte", list(file(1, "a\x00b"))},
		{"better path is bad", "stands for another folder", list(m{"length": 1, "path": []string{"a"}, "path.utf-8": []string{".."}})},
		{"path too long", "the path is", list(file(1, strings.Split(strings.Repeat("abcdefgh/", 500)+"x", "/")...))},
		{"sum of lengths wraps", "would be longer", list(file(huge, "a"), file(huge, "b"), file(huge, "c"))},
		{"negative file", `"length" is -5`, list(file(20001, "a"), file(-5, "b"))},
		{"negative pad", `"length" is -5`, list(file(20001, "a"), m{"length": -5, "attr": "p"})},
		{"same path twice", `two files are called "d/a"`, list(file(20000, "a"), file(1, "a"))},
		{"same path after cleaning", `two files are called "d/a_"`, list(file(20000, "a\x01"), file(1, "a\x02"))},
		{"file and folder", `"d/a" is a file, and a folder of "d/a/b" too`, list(file(1, "a", "b"), file(1, "a.b"), file(20000, "a"))},
		{"file and deep folder", `"d/a" is a file, and a folder of "d/a/b/c" too`, list(file(1, "a", "b", "c"), file(20000, "a"))},
		{"link with data", "a link with data", list(file(20001, "a"), m{"length": 1, "attr": "l", "path": []string{"b"}})},

		{"tree is missing", `"file tree" is missing`, with(oneV2, "file tree", nil)},
		{"tree of a wrong type", `"file tree" has the wrong type`, with(oneV2, "file tree", []any{})},
		{"tree without files", "no data", tree(m{})},
		{"tree of empty folders", "no data", tree(m{"a": m{"b": m{}}})},
		{"root is a file", "its root is a file", tree(leaf(1))},
		{"entry is no dictionary", `"a" in "d" is not a dictionary`, tree(m{"a": 1})},
		{"properties are no dictionary", `"" in "d/a" is not a dictionary`, tree(m{"a": m{"": 1}})},
		{"both file and folder", "is a file, and a folder too", tree(m{"a": m{"": leaf(1)[""], "b": leaf(1)}})},
		{"leaf without length", `"length" is missing`, tree(m{"a": m{"": m{}}})},
		{"leaf with negative length", `"length" is -1`, tree(m{"a": m{"": m{"length": -1, "pieces root": strings.Repeat("r", 32)}}})},
		{"leaf without root", `"pieces root" is missing`, tree(m{"a": m{"": m{"length": 1}}})},
		{"leaf with a short root", "has 31 bytes", tree(m{"a": m{"": m{"length": 1, "pieces root": strings.Repeat("r", 31)}}})},
		{"leaf with a zero root", "is zero", tree(m{"a": m{"": m{"length": 1, "pieces root": strings.Repeat("\x00", 32)}}})},
		{"leaf is a pad", "a pad", tree(m{"a": m{"": m{"length": 1, "attr": "p"}}})},
		{"tree link with data", "a link with data", tree(m{"a": m{"": m{"length": 1, "attr": "l"}}})},
		{"tree path ..", "stands for another folder", tree(m{"..": leaf(1)})},
		{"tree path with a slash", "has a slash", tree(m{"a/b": leaf(1)})},
		{"tree lengths wrap", "would be longer", tree(m{"a": leaf(huge), "b": leaf(huge)})},
		{"tree aligned lengths wrap", "would be longer", tree(m{"a": leaf(maxLength - 1), "b": leaf(1 << 20)})},
		{"tree names meet after cleaning", "two files are called", tree(m{"a\x01": leaf(1), "a\x02": leaf(1)})},
		{"tree folder meets file after cleaning", "is a file, and a folder", tree(m{"a\x01": leaf(1), "a\x02": m{"b": leaf(1)}})},

		{"hybrid, other length", "20001 bytes in the v1 list and 20000", with(both, "files", []any{file(20001, "a"), m{"length": 12767, "attr": "p"}, file(1, "b", "c")})},
		{"hybrid, other name", `has "d/x" where the v2 tree has "d/a"`, with(both, "files", []any{file(20000, "x"), m{"length": 12768, "attr": "p"}, file(1, "b", "c")})},
		{"hybrid, other order", "where the v2 tree has", with(both, "files", []any{file(1, "b", "c"), m{"length": 16383, "attr": "p"}, file(20000, "a")})},
		{"hybrid, no pad", "starts at byte 20000", with(with(both, "files", []any{file(20000, "a"), file(1, "b", "c")}), "pieces", hashes(2))},
		{"hybrid, short pad", "starts at byte 32767", with(both, "files", []any{file(20000, "a"), m{"length": 12767, "attr": "p"}, file(1, "b", "c")})},
		{"hybrid, one more in the list", "is in the v1 list only", with(both, "files", append(both["files"].([]any), file(1, "z")))},
		{"hybrid, one more in the tree", "is in the v2 tree only", with(both, "file tree", m{"a": leaf(20000), "b": m{"c": leaf(1), "d": leaf(1)}})},
		{"hybrid, long pad at the end", "fills more than its piece", with(both, "files", append(both["files"].([]any), m{"length": 16384, "attr": "p"}))},
		{"hybrid, single against several", "where the v2 tree has", with(with(with(both, "files", nil), "length", 20000), "pieces", hashes(2))},
		{"hybrid, too few pieces", "must have 60", with(both, "pieces", hashes(2))},

		{"pay of a wrong type", `"pay" has the wrong type`, with(oneV1, "pay", 1)},
		{"pay without ledger", `pay: "ledger" is missing`, with(oneV1, "pay", m{"federation": "https://f.example"})},
		{"pay with a short ledger", "has 7 bytes", with(oneV1, "pay", m{"ledger": "1234567", "federation": "https://f.example"})},
		{"pay with a long ledger", "has 9 bytes", with(oneV1, "pay", m{"ledger": "123456789", "federation": "https://f.example"})},
		{"pay without federation", `pay: "federation" is missing`, with(oneV1, "pay", m{"ledger": "12345678"})},
		{"pay to http", "is not an https URL", with(oneV1, "pay", m{"ledger": "12345678", "federation": "http://f.example"})},
		{"pay with a user", "has a user", with(oneV1, "pay", m{"ledger": "12345678", "federation": "https://u@f.example"})},
		{"pay with escapes", "characters that no URL has", with(oneV1, "pay", m{"ledger": "12345678", "federation": "https://f.example/\x1b[31m"})},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ParseInfo(encode(t, c.in))
			if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), c.why) {
				t.Errorf("%v\nwant %s", err, c.why)
			}
		})
	}
}

func TestWildInfos(t *testing.T) {
	for _, c := range []struct {
		name string
		in   m
		path string // of the last file
	}{
		{"name.utf-8", with(oneV1, "name.utf-8", "ä"), "ä"},
		{"path.utf-8", with(twoV1, "files", []any{m{"length": 20001, "path": []string{"\xe4"}, "path.utf-8": []string{"ä"}}}), "d/ä"},
		{"path.utf-8 of a wrong type", with(twoV1, "files", []any{m{"length": 20001, "path": []string{"a"}, "path.utf-8": 1}}), "d/a"},
		{"latin-1", with(twoV1, "files", []any{file(20001, "gr\xfc\xdfe")}), "d/gr__"},
		{"surrogate, overlong, cut", with(twoV1, "files", []any{file(20001, "a\xed\xa0\x80\xc0\xafb\xf0\x9f")}), "d/a__b_"},
		{"replacement character", with(twoV1, "files", []any{file(20001, "a\uFFFD\xffb")}), "d/a\uFFFD_b"},
		{"control characters", with(twoV1, "files", []any{file(20001, "a\x1b[31m\nb\x7f")}), "d/a_[31m_b_"},
		{"backslash", with(twoV1, "files", []any{file(20001, `a\b`)}), "d/ab"},
		{"direction marks", with(twoV1, "files", []any{file(20001, "a\u202etxt.exe\u2066")}), "d/atxt.exe"},
		{"nothing left", with(twoV1, "files", []any{file(20001, `\`)}), "d/_"},
		{"empty part", with(twoV1, "files", []any{file(20001, "", "a")}), "d/_/a"},
		{"three dots", with(twoV1, "files", []any{file(20001, "...")}), "d/..."},
		{"reserved by Windows", with(twoV1, "files", []any{file(20001, "CON")}), "d/CON"},
		{"case only", with(twoV1, "files", []any{file(20000, "a"), file(1, "A")}), "d/A"},
		{"255 bytes", with(twoV1, "files", []any{file(20001, strings.Repeat("a", 255))}), "d/" + strings.Repeat("a", 255)},
		{"300 bytes", with(twoV1, "files", []any{file(20001, strings.Repeat("a", 300)+".tar.gz")}), "d/" + strings.Repeat("a", 240) + ".gz"},
		{"300 bytes without extension", with(twoV1, "files", []any{file(20001, strings.Repeat("é", 150))}), "d/" + strings.Repeat("é", 120)},
		{"cut inside a character", with(twoV1, "files", []any{file(20001, "a"+strings.Repeat("é", 150)+".x")}), "d/a" + strings.Repeat("é", 119) + ".x"},
		{"link skipped", with(twoV1, "files", []any{file(20001, "a"), m{"length": 0, "attr": "l", "path": []string{"..", ".."}, "symlink path": []string{"..", "etc"}}}), "d/a"},
		{"link without length", with(twoV1, "files", []any{file(20001, "a"), m{"attr": "lx", "path": []string{"b"}, "symlink path": []string{"a"}}}), "d/a"},
		{"tree link", with(oneV2, "file tree", m{"a": leaf(20000), "b": m{"": m{"length": 0, "attr": "l", "symlink path": []string{"/"}}}}), "a/a"},
		{"attr of a wrong type", with(twoV1, "files", []any{with(file(20001, "a"), "attr", 7)}), "d/a"},
		{"unknown attr", with(twoV1, "files", []any{with(file(20001, "a"), "attr", "h?")}), "d/a"},
		{"BitComet's pad", with(twoV1, "files", []any{file(20000, "a"), file(1, "_____padding_file_0_if you see this file____")}), "PAD"},
		{"odd piece length", with(with(oneV1, "piece length", 10001), "length", 20002), "a"},
		{"private", with(oneV1, "private", 1), "a"},
		{"unknown keys", with(oneV1, "source", m{"x": []any{1}}), "a"},
		{"executable", with(oneV1, "attr", "x"), "a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			i, err := ParseInfo(encode(t, c.in))
			if err != nil {
				t.Fatal(err)
			}
			last := i.Files[len(i.Files)-1]
			got := strings.Join(last.Path, "/")
			if last.Pad {
				got = "PAD"
			}
			if got != c.path {
				t.Errorf("%q, want %q", got, c.path)
			}
			if i.Private != (c.in["private"] != nil) || last.Executable != (c.in["attr"] == "x") {
				t.Error(i.Private, last.Executable)
			}
		})
	}
}

func TestUnsortedInfo(t *testing.T) {
	v1 := []byte("d6:pieces20:aaaaaaaaaaaaaaaaaaaa4:name1:a12:piece lengthi16384e6:lengthi5ee")
	if i, err := ParseInfo(v1); err != nil || string(i.Raw) != string(v1) || i.Files[0].Length != 5 {
		t.Error(i, err)
	}
	twice := []byte("d6:pieces20:aaaaaaaaaaaaaaaaaaaa4:name1:a12:piece lengthi16384e6:lengthi5e4:name1:be")
	if _, err := ParseInfo(twice); !errors.Is(err, bencode.ErrDuplicate) {
		t.Error(err)
	}
	v2 := []byte("d4:name1:a12:piece lengthi16384e12:meta versioni2e9:file treed1:ad0:d6:lengthi5e11:pieces root32:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaeeee")
	if _, err := ParseInfo(v2); !errors.Is(err, bencode.ErrOrder) {
		t.Error(err)
	}
}

func TestPay(t *testing.T) {
	i, err := ParseInfo(encode(t, with(oneV1, "pay", m{"ledger": "\x00\x01\x02\x03\x04\x05\x06\x07", "federation": "https://f.example:9443/x"})))
	if err != nil {
		t.Fatal(err)
	}
	want := &Pay{Ledger: [8]byte{0, 1, 2, 3, 4, 5, 6, 7}, Federation: "https://f.example:9443/x"}
	if d := cmp.Diff(want, i.Pay); d != "" {
		t.Error(d)
	}
}

// nasty are parts of paths of all kinds.
var nasty = rapid.OneOf(
	rapid.SampledFrom([]string{"a", "b", "A", "..", ".", "", "/", "a/b", `\`, `.\.`, "\x00", "\x01", "\x02", "\xff", ".\u200e.", "_", "ä"}),
	rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 4), func(b []byte) string { return string(b) }),
	rapid.Map(rapid.IntRange(0, 300), func(n int) string { return strings.Repeat("é", n) + ".txt" }),
)

func nastyTree(t *rapid.T, depth int) m {
	out := m{}
	for range rapid.IntRange(0, 4).Draw(t, "entries") {
		name := nasty.Draw(t, "name")
		if depth == 0 || rapid.Bool().Draw(t, "file") {
			out[name] = leaf(rapid.IntRange(0, 1<<20).Draw(t, "length"))
		} else {
			out[name] = nastyTree(t, depth-1)
		}
	}
	return out
}

// Whatever an info dictionary says: if it is accepted, no path leaves the
// folder, no two files meet, and the files lie in order inside the piece space.
func TestNoPathEscapes(t *testing.T) {
	accepted := 0
	rapid.Check(t, func(t *rapid.T) {
		d := m{"name": nasty.Draw(t, "name"), "piece length": 1 << 20}
		if rapid.Bool().Draw(t, "v2") {
			d["meta version"], d["file tree"] = 2, nastyTree(t, 3)
		} else {
			files, total := []any{}, 0
			for range rapid.IntRange(1, 5).Draw(t, "files") {
				length := rapid.IntRange(0, 1<<20).Draw(t, "length")
				files = append(files, file(length, rapid.SliceOfN(nasty, 1, 4).Draw(t, "path")...))
				total += length
			}
			d["files"], d["pieces"] = files, hashes((total+1<<20-1)>>20)
		}
		i, err := ParseInfo(encode(t, d))
		if err == nil {
			accepted++
			sound(t, i)
		}
	})
	if accepted == 0 {
		t.Error("all were refused: this test shows nothing")
	}
}

// sound fails if an accepted torrent breaks what the package promises.
func sound(t interface{ Fatalf(string, ...any) }, i *Info) {
	end := int64(0)
	taken := map[string]bool{} // path: is it a file
	for _, f := range i.Files {
		if f.Offset < end || f.Length < 0 || f.Pad != (f.Path == nil) {
			t.Fatalf("file %+v after byte %d", f, end)
		}
		if i.HasV2 && f.Length > 0 && !f.Pad && (f.Offset%i.PieceLength != 0 || f.Root == [32]byte{}) {
			t.Fatalf("file %+v is not aligned or has no root", f)
		}
		end = f.Offset + f.Length
		if f.Pad {
			continue
		}
		path := ""
		for n, part := range f.Path {
			if part == "" || part == "." || part == ".." || strings.ContainsAny(part, "/\\\x00") || len(part) > 255 {
				t.Fatalf("part %q of path %q", part, f.Path)
			}
			path += "/" + part
			isFile := n == len(f.Path)-1
			if was, there := taken[path]; there && (was || isFile) {
				t.Fatalf("two files meet at %q", path)
			}
			taken[path] = isFile
		}
	}
	if end != i.Length || i.Length <= 0 || i.NumPieces() > MaxPieces || i.Units() == 0 {
		t.Fatalf("length %d, files end at %d, %d pieces", i.Length, end, i.NumPieces())
	}
	if i.HasV1 && len(i.Pieces) != 20*i.NumPieces() || !i.HasV1 && i.Pieces != nil {
		t.Fatalf("%d bytes of hashes for %d pieces", len(i.Pieces), i.NumPieces())
	}
}

func FuzzParseInfo(f *testing.F) {
	for _, d := range []m{oneV1, twoV1, oneV2, twoV2, both, with(oneV1, "pay", m{"ledger": "12345678", "federation": "https://f.example"})} {
		f.Add(encode(f, d))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		i, err := ParseInfo(raw)
		if err != nil {
			if !errors.Is(err, ErrRefused) {
				t.Fatal(err)
			}
			return
		}
		sound(t, i)
		if string(i.Raw) != string(raw) {
			t.Fatal("Raw is not the input")
		}
	})
}
