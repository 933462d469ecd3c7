package metainfo

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// made is the information of a plan whose content nobody has: hashes made up.
func made(t interface{ Fatal(...any) }, p *Plan) *Info {
	h := Hashes{Pieces: hashes(int(pieces(p.Length, p.PieceLength)))}
	for range p.Files {
		h.Roots = append(h.Roots, [32]byte{1})
	}
	i, err := p.Info(h)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func TestPlanOfAHybrid(t *testing.T) {
	p, err := NewPlan("d", []File{
		{Path: []string{"d", "b", "x"}, Length: 40000},
		{Path: []string{"d", "a.b"}},
		{Path: []string{"d", "a"}, Length: 100, Executable: true},
		{Path: []string{"d", "b", "e"}},
		{Path: []string{"d", "b", "y"}, Length: 16384},
		{Path: []string{"d", "q"}, Length: 5},
	}, Options{V1: true, V2: true, PieceLength: 16384})
	if err != nil {
		t.Fatal(err)
	}
	want := []File{
		{Path: []string{"d", "a"}, Length: 100, Executable: true},
		{Path: []string{"d", "a.b"}, Offset: 100},
		{Path: []string{"d", "b", "e"}, Offset: 100},
		{Offset: 100, Length: 16284, Pad: true},
		{Path: []string{"d", "b", "x"}, Offset: 16384, Length: 40000},
		{Offset: 56384, Length: 9152, Pad: true},
		{Path: []string{"d", "b", "y"}, Offset: 65536, Length: 16384},
		{Path: []string{"d", "q"}, Offset: 81920, Length: 5},
	}
	if d := cmp.Diff(want, p.Files); d != "" || p.Length != 81925 {
		t.Error(d, p.Length)
	}
	raw := string(made(t, p).Raw)
	if !strings.Contains(raw, "d4:attr1:p6:lengthi16284e4:pathl4:.pad5:16284ee") {
		t.Errorf("the pad is not as BEP 47 recommends: %q", raw)
	}
}

// Whatever files there are: what is planned is what everyone reads.
func TestPlansAreReadBack(t *testing.T) {
	name := rapid.StringMatching(`[a-cA-C.]{1,3}x`)
	rapid.Check(t, func(t *rapid.T) {
		o := Options{V1: rapid.Bool().Draw(t, "v1"), PieceLength: 16384 << rapid.IntRange(0, 3).Draw(t, "piece length"), Private: rapid.Bool().Draw(t, "private")}
		o.V2 = !o.V1 || rapid.Bool().Draw(t, "v2")
		if rapid.Bool().Draw(t, "paid") {
			o.Pay = &Pay{Ledger: [8]byte{1, 2}, Federation: "https://f.example"}
		}
		var files []File
		for range rapid.IntRange(1, 6).Draw(t, "files") {
			path := append([]string{"d"}, rapid.SliceOfN(name, 1, 3).Draw(t, "path")...)
			length := rapid.SampledFrom([]int64{0, 1, 16383, 16384, 16385, 65536, 100_000}).Draw(t, "length")
			files = append(files, File{Path: path, Length: length, Executable: rapid.Bool().Draw(t, "executable")})
		}
		p, err := NewPlan("d", files, o)
		if err != nil {
			return // two files meet, or there is no data
		}
		i := made(t, p)
		sound(t, i)
		for n := range i.Files {
			i.Files[n].Root = [32]byte{}
		}
		if d := cmp.Diff(p.Files, i.Files); d != "" {
			t.Fatal(d)
		}
		if i.Length != p.Length || i.PieceLength != p.PieceLength || i.HasV1 != o.V1 || i.HasV2 != o.V2 || i.Private != o.Private || i.Name != "d" {
			t.Fatalf("%+v", i)
		}
		if d := cmp.Diff(o.Pay, i.Pay); d != "" {
			t.Fatal(d)
		}
	})
}

func TestPlansThatAreRefused(t *testing.T) {
	hybrid := Options{V1: true, V2: true}
	sold := &Pay{Federation: "https://f.example"}
	many := make([]File, MaxSoldFiles+1)
	for i := range many {
		many[i] = File{Path: []string{"d", fmt.Sprint(i)}, Length: 1}
	}
	f := func(length int64, path ...string) []File { return []File{{Path: path, Length: length}} }
	for _, c := range []struct {
		name, why string
		files     []File
		o         Options
	}{
		{"no version", "v1, v2 or both", f(1, "d"), Options{}},
		{"no files", "no data", nil, hybrid},
		{"no data", "no data", f(0, "d"), hybrid},
		{"no path", "does not lie in", f(1), hybrid},
		{"elsewhere", "does not lie in", f(1, "e", "a"), hybrid},
		{"name to clean", "rename it", f(1, "d", "a\x01"), hybrid},
		{"name to shorten", "rename it", f(1, "d", strings.Repeat("a", 256)), hybrid},
		{"name ..", "rename it", f(1, "d", ".."), hybrid},
		{"path too long", "the path is", f(1, append([]string{"d"}, strings.Split(strings.Repeat("a", 3000), "")...)...), hybrid},
		{"two on a path", "two files", append(f(1, "d", "a"), f(1, "d", "a")...), hybrid},
		{"file and folder", "is a file, and a folder", append(f(1, "d"), f(1, "d", "a")...), hybrid},
		{"too long", "would be longer", f(1<<60, "d"), hybrid},
		{"odd piece length", "power of two", f(1, "d"), Options{V1: true, PieceLength: 20000}},
		{"short pieces", "power of two", f(1, "d"), Options{V1: true, PieceLength: 8192}},
		{"long pieces", "power of two", f(1, "d"), Options{V1: true, PieceLength: 2 << 30}},
		{"negative pieces", "power of two", f(1, "d"), Options{V1: true, PieceLength: -16384}},
		{"too many pieces", "choose a longer piece length", f(1<<40, "d"), Options{V1: true, PieceLength: 16384}},
		{"v2 folder of one file", "cannot tell", f(1, "d", "a"), Options{V2: true}},
		{"sold, long v1 pieces", "at most 4194304", f(1, "d"), Options{V1: true, PieceLength: 8 << 20, Pay: sold}},
		{"sold, too many files", "10001 files", many, Options{V2: true, Pay: sold}},
	} {
		if _, err := NewPlan("d", c.files, c.o); err == nil || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %v\nwant %s", c.name, err, c.why)
		}
	}
	if _, err := NewPlan("d", f(1, "d"), Options{V2: true, PieceLength: 8 << 20, Pay: sold}); err != nil {
		t.Error(err)
	}
}

func TestSoldInfoHasALimit(t *testing.T) {
	p, err := NewPlan("d", []File{{Path: []string{"d"}, Length: 60_000 * 16384}}, Options{V1: true, V2: true, PieceLength: 16384, Pay: &Pay{Federation: "https://f.example"}})
	if err != nil {
		t.Fatal(err)
	}
	h := Hashes{Pieces: hashes(60_000), Roots: [][32]byte{{1}}}
	if _, err := p.Info(h); err == nil || !strings.Contains(err.Error(), "choose a longer piece length") {
		t.Error(err)
	}
	p.Pay = nil
	if _, err := p.Info(h); err != nil {
		t.Error(err)
	}
	h.Roots = nil
	if _, err := p.Info(h); err == nil {
		t.Error("roots are missing and nobody noticed")
	}
}

func TestAutoPieceLength(t *testing.T) {
	for _, c := range []struct {
		total int64
		files int
		o     Options
		want  int64
	}{
		{1, 1, Options{V1: true}, 16 << 10},
		{32_000_000, 1, Options{V1: true}, 16 << 10},
		{33_000_000, 1, Options{V1: true}, 32 << 10},
		{1 << 30, 1, Options{V1: true, V2: true}, 1 << 20},
		{16 << 30, 1, Options{V1: true, V2: true}, 16 << 20},
		{400 << 30, 1, Options{V1: true, V2: true}, 16 << 20},
		{1 << 40, 1, Options{V1: true, V2: true}, 64 << 20},
		{1 << 40, 1, Options{V1: true, Pay: &Pay{}}, 4 << 20},
		{1 << 30, 10_000, Options{V1: true, V2: true}, 128 << 10}, // files of 107 KiB
		{1 << 30, 10_000, Options{V1: true}, 1 << 20},
	} {
		p := Plan{Options: c.o}
		for range c.files {
			p.Files = append(p.Files, File{Length: c.total / int64(c.files)})
		}
		if got := p.autoPieceLength(); got != c.want {
			t.Errorf("%d bytes in %d files: %d, want %d", c.total, c.files, got, c.want)
		}
	}
}
