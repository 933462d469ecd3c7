package metainfo

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"torrente/bencode"
)

// layered is a v2 torrent of a file with five pieces, and of one with the same
// content, with its layer.
func layered(t interface{ Fatal(...any) }) (top m, root string, layer []byte) {
	layer = flat(randomHashes(5, 5))
	r := Root(layer, PadHash(0))
	root = string(r[:])
	entry := m{"": m{"length": 70000, "pieces root": root}}
	info := with(twoV2, "file tree", m{"a": entry, "b": entry, "c": leaf(16384)})
	return m{"info": info, "piece layers": m{root: layer}}, root, layer
}

func TestParseTorrent(t *testing.T) {
	top, root, layer := layered(t)
	for key, v := range (m{
		"announce": "http://a.example/announce", "announce-list": []any{[]string{"http://a.example/announce", "udp://b.example:1"}, []string{"http://c.example"}},
		"comment": "c", "created by": "p", "creation date": 1_700_000_000, "url-list": []string{"http://w.example/"},
	}) {
		top[key] = v
	}
	in := append(encode(t, top), "\r\n"...)
	got, err := Parse(in)
	if err != nil {
		t.Fatal(err)
	}
	want := &Torrent{
		Info:     got.Info,
		Trackers: [][]string{{"http://a.example/announce", "udp://b.example:1"}, {"http://c.example"}},
		WebSeeds: []string{"http://w.example/"}, Layers: map[[32]byte][]byte{[32]byte([]byte(root)): layer},
		Comment: "c", CreatedBy: "p", Created: time.Unix(1_700_000_000, 0).UTC(),
	}
	if d := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Info{})); d != "" {
		t.Error(d)
	}
	raw := encode(t, top["info"])
	if got.Info.HashV1() != sha1.Sum(raw) || got.Info.HashV2() != sha256.Sum256(raw) || got.Info.ID() != sha256.Sum256(raw) {
		t.Error("a hash is not over the raw dictionary")
	}
	out, err := got.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if want := encode(t, top); !bytes.Equal(out, want) {
		t.Errorf("written as %q\nwant %q", out, want)
	}
}

// The hash is over the dictionary as it came, in an order that no encoder of
// ours would write.
func TestHashIsOverTheBytesAsTheyCame(t *testing.T) {
	info := "d6:pieces20:aaaaaaaaaaaaaaaaaaaa4:name1:a12:piece lengthi16384e6:lengthi5ee"
	for _, in := range []string{"d4:info" + info + "e", "d7:comment1:c4:info" + info + "8:announce0:e\n", "d1:z0:4:info" + info + "1:a0:ee"} {
		got, err := Parse([]byte(in))
		if err != nil {
			t.Fatal(err)
		}
		if got.Info.HashV1() != sha1.Sum([]byte(info)) {
			t.Errorf("%q: another hash", in)
		}
		out, err := got.Encode()
		if err != nil || !bytes.Contains(out, []byte(info)) {
			t.Errorf("%q is written as %q, %v", in, out, err)
		}
	}
}

func TestTrackersAsTheyOccur(t *testing.T) {
	many := []any{}
	for i := range 1000 {
		many = append(many, []string{fmt.Sprintf("http://%d.example", i)})
	}
	for _, c := range []struct {
		name           string
		announce, list any
		want           [][]string
	}{
		{"none", nil, nil, nil},
		{"announce alone", " http://a ", nil, [][]string{{"http://a"}}},
		{"list wins", "http://a", []any{[]string{"http://b"}}, [][]string{{"http://b"}}},
		{"empty list", "http://a", []any{}, [][]string{{"http://a"}}},
		{"empty tiers", "http://a", []any{[]any{}, []string{"", " "}}, [][]string{{"http://a"}}},
		{"flat list", "http://a", []string{"http://b", "http://c"}, [][]string{{"http://b"}, {"http://c"}}},
		{"a string", "http://a", "http://b", [][]string{{"http://b"}}},
		{"odd things inside", "http://a", []any{5, []any{m{}, "http://b", 7}, m{"x": 1}}, [][]string{{"http://b"}}},
		{"twice", "http://a", []any{[]string{"http://b", "http://b"}, []string{"http://b", "http://c"}}, [][]string{{"http://b"}, {"http://c"}}},
		{"announce of a wrong type", 5, nil, nil},
		{"too long", "http://" + strings.Repeat("a", 3000), nil, nil},
	} {
		top := m{"info": oneV1, "announce": c.announce, "announce-list": c.list}
		got, err := Parse(encode(t, with(with(top, "announce", c.announce), "announce-list", c.list)))
		if err != nil {
			t.Fatal(c.name, err)
		}
		if d := cmp.Diff(c.want, got.Trackers); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
	}
	got, err := Parse(encode(t, m{"info": oneV1, "announce-list": many}))
	if err != nil || len(got.Trackers) != maxURLs {
		t.Error(len(got.Trackers), err)
	}
}

func TestRestAsItOccurs(t *testing.T) {
	for _, c := range []struct {
		add  m
		want Torrent
	}{
		{m{"url-list": "http://w"}, Torrent{WebSeeds: []string{"http://w"}}},
		{m{"url-list": ""}, Torrent{}},
		{m{"url-list": []any{"http://w", 5, "http://w", "http://x"}}, Torrent{WebSeeds: []string{"http://w", "http://x"}}},
		{m{"url-list": m{}}, Torrent{}},
		{m{"comment": "\xff", "comment.utf-8": "ä"}, Torrent{Comment: "ä"}},
		{m{"comment": "\xffa", "created by": 5}, Torrent{Comment: "_a"}},
		{m{"creation date": -1}, Torrent{}},
		{m{"creation date": 1 << 62}, Torrent{}},
		{m{"creation date": "today"}, Torrent{}},
		{m{"piece layers": 5, "nodes": []any{}, "publisher": m{}}, Torrent{}},
	} {
		c.add["info"] = oneV1
		got, err := Parse(encode(t, c.add))
		if err != nil {
			t.Fatal(c.add, err)
		}
		if d := cmp.Diff(&c.want, got, cmpopts.IgnoreFields(Torrent{}, "Info")); d != "" {
			t.Error(d)
		}
	}
}

func TestHostileTorrents(t *testing.T) {
	top, root, layer := layered(t)
	flipped := bytes.Clone(layer)
	flipped[100] ^= 1
	longer := with(top, "info", with(twoV2, "file tree", m{
		"a": m{"": m{"length": 70000, "pieces root": root}}, "b": m{"": m{"length": 90000, "pieces root": root}},
	}))
	for _, c := range []struct {
		name, why string
		in        []byte
	}{
		{"nothing", "ends in the middle", nil},
		{"a web page", "not bencoding", []byte("<html>")},
		{"a list", "wrong type: a list", []byte("le")},
		{"no info", `"info" is missing`, []byte("de")},
		{"info is a string", "info has the wrong type", []byte("d4:info1:ae")},
		{"info twice", "comes twice", []byte("d4:infode4:infodee")},
		{"cut", "ends in the middle", encode(t, top)[:200]},
		{"too long", "10485761 bytes", make([]byte, 10<<20+1)},
		{"a bomb", "nested deeper", bytes.Repeat([]byte("l"), 9_800_000)},
		{"a bomb in info", "nested deeper", append([]byte("d4:info"), bytes.Repeat([]byte("d1:a"), 2_000_000)...)},
		{"no layers", `that of "d/a" is missing`, encode(t, with(top, "piece layers", nil))},
		{"layers of a wrong type", "wrong type", encode(t, with(top, "piece layers", []any{}))},
		{"layer of a wrong type", `that of "d/a" has the wrong type`, encode(t, with(top, "piece layers", m{root: 5}))},
		{"layer under another key", "is missing", encode(t, with(top, "piece layers", m{"x" + root[1:]: layer}))},
		{"layer too short", `that of "d/a" has 128 bytes, for 5 pieces it must have 160`, encode(t, with(top, "piece layers", m{root: layer[:128]}))},
		{"layer padded", "it must have 160", encode(t, with(top, "piece layers", m{root: append(bytes.Clone(layer), make([]byte, 96)...)}))},
		{"layer with a flipped bit", "does not lead to its pieces root", encode(t, with(top, "piece layers", m{root: flipped}))},
		{"same root, another length", `that of "d/b" has 160 bytes, for 6 pieces`, encode(t, longer)},
	} {
		_, err := Parse(c.in)
		if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %v\nwant %s", c.name, err, c.why)
		}
	}
}

func TestExtraLayersAreLeft(t *testing.T) {
	top, root, layer := layered(t)
	got, err := Parse(encode(t, with(top, "piece layers", m{root: layer, "short": "x", strings.Repeat("z", 32): layer})))
	if err != nil || len(got.Layers) != 1 {
		t.Error(len(got.Layers), err)
	}
}

// costly are torrents that cost as much as their size can make them cost.
func costly(t interface{ Fatal(...any) }) map[string][]byte {
	deepTree := func(depth, files int) m {
		tree := m{}
		for i := range files {
			tree[fmt.Sprint(i)] = m{"": m{"length": 0}}
		}
		tree["z"] = leaf(1)
		for range depth {
			tree = m{"a": tree}
		}
		return tree
	}
	list := func(n int, f func(i int) any) []any {
		out := make([]any, n)
		for i := range out {
			out[i] = f(i)
		}
		return out
	}
	v1 := func(files []any) m {
		return m{"info": with(with(twoV1, "files", append(files, file(1, "the", "one"))), "pieces", hashes(1))}
	}
	keys := m{"info": oneV1}
	for i := range 60_000 {
		keys[string([]byte{byte(i >> 16), byte(i >> 8), byte(i)})] = ""
	}
	return map[string][]byte{
		"pads":        encode(t, v1(list(20_000, func(int) any { return m{"attr": "p", "length": 0} }))),
		"empty files": encode(t, v1(list(20_000, func(i int) any { return file(0, fmt.Sprint(i)) }))),
		"deep paths": encode(t, v1(list(300, func(i int) any {
			return file(0, append(strings.Split(strings.Repeat("a", 1000), ""), fmt.Sprint(i))...)
		}))),
		"names to clean": encode(t, v1(list(10_000, func(i int) any { return file(0, fmt.Sprintf("\xff%d", i)) }))),
		"tree":           encode(t, m{"info": with(twoV2, "file tree", deepTree(0, 20_000))}),
		"deep tree":      encode(t, m{"info": with(twoV2, "file tree", deepTree(9, 20_000))}),
		"trackers":       encode(t, m{"info": oneV1, "announce-list": list(20_000, func(i int) any { return fmt.Sprint(i) })}),
		"keys":           encode(t, keys),
	}
}

// Whatever a torrent holds, reading it costs at most this many times its size,
// garbage included.
const costLimit = 24

func TestMemoryIsBoundedByTheInput(t *testing.T) {
	for name, in := range costly(t) {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		got, err := Parse(in)
		runtime.ReadMemStats(&after)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		cost := float64(after.TotalAlloc-before.TotalAlloc) / float64(len(in))
		t.Logf("%s: %d bytes, %d files, %.1f times", name, len(in), len(got.Info.Files), cost)
		if cost > costLimit {
			t.Errorf("%s: %d bytes cost %.1f times as much", name, len(in), cost)
		}
	}
}

// A tree whose files lie 50 folders deep would repeat their names 20,000
// times; it is refused before it does.
func TestDeepTreesAreRefused(t *testing.T) {
	tree := m{}
	for i := range 20_000 {
		tree[fmt.Sprint(i)] = m{"": m{"length": 0}}
	}
	for range 50 {
		tree = m{"a": tree}
	}
	_, err := Parse(encode(t, m{"info": with(twoV2, "file tree", tree)}))
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "nest deeper") {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	top, root, _ := layered(f)
	f.Add(encode(f, top))
	f.Add(encode(f, with(top, "piece layers", m{root: 5})))
	f.Add(encode(f, m{"info": both, "piece layers": m{}, "announce-list": []any{[]string{"http://a"}, 5}, "url-list": "x", "creation date": 5}))
	f.Add(append(encode(f, m{"info": oneV1, "announce": "http://a"}), "\r\n"...))
	f.Fuzz(func(t *testing.T, in []byte) {
		got, err := Parse(in)
		if err != nil {
			if !errors.Is(err, ErrRefused) {
				t.Fatal(err)
			}
			return
		}
		sound(t, got.Info)
		out, err := got.Encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse(out)
		if err != nil {
			t.Fatalf("written as %q: %v", out, err)
		}
		if d := cmp.Diff(got, again, cmpopts.EquateEmpty(), cmpopts.IgnoreUnexported(Info{})); d != "" {
			t.Fatal(d)
		}
		if m, err := ParseMagnet(got.Magnet().String()); err != nil || !m.Matches(got.Info) {
			t.Fatalf("its magnet link %s does not name it: %v", got.Magnet(), err)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	files := make([]any, 10_000)
	for i := range files {
		files[i] = file(100_000, "folder", fmt.Sprintf("file %d.txt", i))
	}
	in := encode(b, m{"info": with(with(with(twoV1, "files", files), "piece length", 1<<20), "pieces", hashes(954))})
	if err := bencode.Check(in, bencode.Torrent); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(in); err != nil {
			b.Fatal(err)
		}
	}
}
