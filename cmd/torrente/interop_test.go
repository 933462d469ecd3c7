package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// These tests hold what create and show do against programs that others wrote,
// in the versions that Debian ships.

const (
	kib       = 1 << 10
	pieceSize = 32 * kib // of the torrents here: two blocks
)

// contents are what the torrents are made of: lengths by path below a folder.
// A single path is a torrent of a single file.
var contents = map[string]map[string]int{
	"single, less than a block": {"one.bin": 100},
	"single, a block":           {"one.bin": 16 * kib},
	"single, a piece":           {"one.bin": pieceSize},
	"single, a byte more":       {"one.bin": pieceSize + 1},
	"single, many pieces":       {"one.bin": 21*pieceSize + 5},
	"nested": {
		"d/a": 100, "d/a.b": 0, "d/b/c/x": 3*pieceSize + 7, "d/b/y": 16 * kib, "d/b/z": 0, "d/Ünïcode ☃": 5, "d/r": 0,
	},
	"boundaries": {
		"d/0": 1, "d/1": 16*kib - 1, "d/2": 16 * kib, "d/3": 16*kib + 1, "d/4": pieceSize - 1, "d/5": pieceSize, "d/6": pieceSize + 1,
		"d/7": 2*pieceSize - 1, "d/8": 2 * pieceSize, "d/9": 2*pieceSize + 1, "d/s/a": 5 * pieceSize, "d/s/b": 7*pieceSize + 16*kib + 3,
	},
}

// writeContent puts a content into a new folder and returns the path to share.
func writeContent(t *testing.T, lengths map[string]int) (dir, path string) {
	t.Helper()
	dir = t.TempDir()
	random := rand.NewChaCha8([32]byte{})
	for _, rel := range slices.Sorted(maps.Keys(lengths)) {
		p := filepath.Join(dir, filepath.FromSlash(rel))
		data := make([]byte, lengths[rel])
		_, _ = random.Read(data)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, data, 0o644); err != nil {
			t.Fatal(err)
		}
		path = filepath.Join(dir, strings.SplitN(rel, "/", 2)[0])
	}
	return dir, path
}

// foreign runs a program of Debian's and returns what it printed.
func foreign(t *testing.T, name string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is missing: make test installs it", name)
	}
	out, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

type ltRequest struct {
	Op          string `json:"op"` // create, show or check
	File        string `json:"file"`
	Path        string `json:"path,omitempty"`
	Dir         string `json:"dir,omitempty"`
	Kind        string `json:"kind,omitempty"`
	PieceLength int    `json:"piece_length,omitempty"`
}

type ltAnswer struct {
	Error       string            `json:"error"`
	V1          string            `json:"v1"`
	V2          string            `json:"v2"`
	Name        string            `json:"name"`
	PieceLength int64             `json:"piece_length"`
	Pieces      int               `json:"pieces"`
	Files       []fileFacts       `json:"files"`
	Layers      map[string]string `json:"layers"`
	Trackers    []string          `json:"trackers"`
	Private     bool              `json:"private"`
	Complete    bool              `json:"complete"`
}

// libtorrent answers requests, in one run of Python.
func libtorrent(t *testing.T, requests ...ltRequest) []ltAnswer {
	t.Helper()
	const python = "/usr/bin/python3" // Debian's, which finds Debian's packages
	if out, err := exec.CommandContext(t.Context(), python, "-c", "import libtorrent").CombinedOutput(); err != nil {
		t.Fatalf("python3-libtorrent is missing: make test installs it (%v: %s)", err, out)
	}
	in, err := json.Marshal(requests)
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), python, "testdata/answer.py")
	c.Stdin = bytes.NewReader(in)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		t.Fatalf("libtorrent: %v\n%s", err, &stderr)
	}
	var answers []ltAnswer
	if err := json.Unmarshal(out, &answers); err != nil || len(answers) != len(requests) {
		t.Fatalf("libtorrent: %v, %d answers", err, len(answers))
	}
	return answers
}

// torrente runs our command in this process and reads the JSON it prints.
func torrente(t *testing.T, args ...string) torrentFacts {
	t.Helper()
	var out, errs bytes.Buffer
	if code := run(append(args, "--json"), stdio{strings.NewReader(""), &out, &errs}); code != exitDone {
		t.Fatalf("torrente %q: exit %d: %s", args, code, &errs)
	}
	var f torrentFacts
	if err := json.Unmarshal(out.Bytes(), &f); err != nil {
		t.Fatal(err)
	}
	return f
}

var transmissionHash = regexp.MustCompile(`(?m)^  Hash: ([0-9a-f]{40})$`)

// transmissionShow is for v1 torrents: Transmission 3.00 refuses every hybrid,
// libtorrent's as well as ours.
func transmissionShow(t *testing.T, file string) string {
	t.Helper()
	m := transmissionHash.FindStringSubmatch(foreign(t, "transmission-show", file))
	if m == nil {
		t.Fatalf("transmission-show prints no hash of %s", file)
	}
	return m[1]
}

// same fails if we and libtorrent do not see the same torrent.
func same(t *testing.T, ours torrentFacts, theirs ltAnswer) {
	t.Helper()
	if theirs.Error != "" {
		t.Fatalf("libtorrent refuses it: %s", theirs.Error)
	}
	got := ltAnswer{
		V1: ours.V1, V2: ours.V2, Name: ours.Name, PieceLength: ours.PieceLength, Pieces: ours.Pieces, Private: ours.Private,
		Files: ours.Files, Layers: theirs.Layers, Trackers: theirs.Trackers,
	}
	if d := cmp.Diff(theirs, got); d != "" {
		t.Errorf("libtorrent and we see another torrent (- libtorrent, + ours):\n%s", d)
	}
}

func TestTorrentsOfOthersLoad(t *testing.T) {
	for name, lengths := range contents {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, path := writeContent(t, lengths)
			file := func(maker string) string { return filepath.Join(dir, maker+".torrent") }
			// transmission-create takes KiB, mktorrent the exponent of two.
			foreign(t, "transmission-create", "-o", file("transmission"), "-s", "32", "-t", "http://t.example/a", path)
			foreign(t, "mktorrent", "-o", file("mktorrent"), "-l", "15", "-a", "http://t.example/a", path)
			var requests []ltRequest
			for _, maker := range []string{"transmission", "mktorrent"} {
				requests = append(requests, ltRequest{Op: "show", File: file(maker)})
			}
			for _, kind := range []string{"v1", "v2", "hybrid"} {
				requests = append(requests, ltRequest{Op: "create", File: file(kind), Path: path, Kind: kind, PieceLength: pieceSize})
			}
			for i, theirs := range libtorrent(t, requests...) {
				ours := torrente(t, "show", requests[i].File)
				same(t, ours, theirs)
				if ours.V2 == "" {
					if want := transmissionShow(t, requests[i].File); ours.V1 != want {
						t.Errorf("%s: v1 hash %s, transmission-show prints %s", requests[i].File, ours.V1, want)
					}
				}
				if wantV1, wantV2 := requests[i].Kind != "v2", i > 2; (ours.V1 != "") != wantV1 || (ours.V2 != "") != wantV2 {
					t.Errorf("%s: v1 %q, v2 %q", requests[i].File, ours.V1, ours.V2)
				}
			}
		})
	}
}

func TestOurTorrentsLoadElsewhere(t *testing.T) {
	for name, lengths := range contents {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, path := writeContent(t, lengths)
			for _, kind := range []string{"v1", "v2", "hybrid"} {
				file := filepath.Join(dir, kind+".torrent")
				ours := torrente(t, "create", path, "-o", file, "--"+kind, "--piece-length", strconv.Itoa(pieceSize), "--tracker", "http://t.example/a", "--private")
				answers := libtorrent(t,
					ltRequest{Op: "show", File: file},
					ltRequest{Op: "check", File: file, Dir: dir},
					ltRequest{Op: "create", File: filepath.Join(dir, "theirs.torrent"), Path: path, Kind: kind, PieceLength: pieceSize},
				)
				shown, checked, made := answers[0], answers[1], answers[2]
				same(t, ours, shown)
				same(t, torrente(t, "show", file), shown)
				if !slices.Equal(shown.Trackers, []string{"http://t.example/a"}) {
					t.Errorf("libtorrent sees trackers %q", shown.Trackers)
				}
				if !checked.Complete || checked.Error != "" {
					t.Errorf("%s: libtorrent finds the content incomplete: %+v", kind, checked)
				}
				if d := cmp.Diff(made.Layers, shown.Layers); d != "" {
					t.Errorf("%s: libtorrent makes other piece layers:\n%s", kind, d)
				}
				if kind != "v1" {
					if d := cmp.Diff(made.Files, shown.Files); d != "" {
						t.Errorf("%s: libtorrent makes other roots:\n%s", kind, d)
					}
				}
				if kind == "v1" {
					if want := transmissionShow(t, file); ours.V1 != want {
						t.Errorf("%s: v1 hash %s, transmission-show prints %s", kind, ours.V1, want)
					}
				}
			}
		})
	}
}

// Without options that differ, we make the very torrent that libtorrent makes,
// v2 always, and v1 and hybrid of a single file: with several files it lists
// them in another order, or has a pad behind the last one.
func TestSameTorrentAsLibtorrent(t *testing.T) {
	for name, lengths := range contents {
		dir, path := writeContent(t, lengths)
		kinds := []string{"v2"}
		if len(lengths) == 1 {
			kinds = append(kinds, "v1", "hybrid")
		}
		for _, kind := range kinds {
			ours := torrente(t, "create", path, "-o", filepath.Join(dir, "ours.torrent"), "--force", "--"+kind, "--piece-length", "32KiB")
			theirs := libtorrent(t, ltRequest{Op: "create", File: filepath.Join(dir, "theirs.torrent"), Path: path, Kind: kind, PieceLength: pieceSize})[0]
			if theirs.Error != "" || ours.V1 != theirs.V1 || ours.V2 != theirs.V2 {
				t.Errorf("%s, %s: hashes %s %s, libtorrent's %s %s, %s", name, kind, ours.V1, ours.V2, theirs.V1, theirs.V2, theirs.Error)
			}
		}
	}
}

// A sold torrent is an ordinary one to programs that know no payments; they
// find peers by the same hashes, and are then served nothing.
func TestSoldTorrentsLoadElsewhere(t *testing.T) {
	dir, path := writeContent(t, contents["nested"])
	home := t.TempDir()
	if err := os.WriteFile(filepath.Join(home, federationFile), []byte(`{"ledger":"0001020304050607","url":"https://f.example"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "sold.torrent")
	ours := torrente(t, "create", path, "-o", file, "--paid", "--home", home)
	if ours.Sold == nil || ours.Sold.Units != 1+7+1+1 {
		t.Errorf("%+v", ours.Sold)
	}
	same(t, ours, libtorrent(t, ltRequest{Op: "show", File: file})[0])
	ours = torrente(t, "create", path, "-o", file, "--paid", "--home", home, "--v1", "--force")
	if want := transmissionShow(t, file); ours.V1 != want {
		t.Errorf("v1 hash %s, transmission-show prints %s", ours.V1, want)
	}
}

// Names that programs make of strange bytes, in ours and libtorrent's reading.
func TestNamesAsLibtorrentReadsThem(t *testing.T) {
	dir := t.TempDir()
	var requests []ltRequest
	for i, name := range []string{
		"plain", "a\x01b\x1f", "\xff\xfea", "gr\xfc\xdfe", "\u202etxt.exe", `a\b`, "a:b", "CON", "a ", "a.", "...", "日本語",
		strings.Repeat("a", 300) + ".txt", strings.Repeat("é", 200) + ".txt", "",
	} {
		file := filepath.Join(dir, fmt.Sprintf("%d.torrent", i))
		raw := fmt.Sprintf("d4:infod5:filesld6:lengthi5e4:pathl1:d%d:%seee4:name1:n12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaaee", len(name), name)
		if err := os.WriteFile(file, []byte(raw), 0o600); err != nil {
			t.Fatal(err)
		}
		requests = append(requests, ltRequest{Op: "show", File: file})
	}
	for i, theirs := range libtorrent(t, requests...) {
		same(t, torrente(t, "show", requests[i].File), theirs)
	}
}

// Hostile files are refused by the command, whatever they attack: exit 1, one
// line, nothing on standard output.
func TestHostileTorrentFiles(t *testing.T) {
	nested := func(open string, n int) string { return strings.Repeat(open, n) }
	info := func(s string) string { return "d4:infod" + s + "ee" }
	const v1 = "12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaa"
	for name, c := range map[string]struct{ in, why string }{
		"nested lists":          {nested("l", 9_800_000), "nested deeper than 64"},
		"nested in info":        {"d4:info" + nested("d1:a", 2_000_000), "nested deeper than 64"},
		"nested in the tree":    {info("9:file tree" + nested("d1:a", 1_000_000)), "nested deeper than 64"},
		"a giant integer":       {info("6:lengthi" + nested("9", 1_000_000) + "e4:name1:a" + v1), "beyond 64 bits"},
		"a giant string":        {"d4:info99999999999999999999:", "ends in the middle"},
		"millions of values":    {"d1:al" + nested("0:", 4_000_000) + "ee", "more than 3000000 values"},
		"too long":              {nested("x", 11<<20), "10485760 is the most allowed"},
		"empty":                 {"", "ends in the middle"},
		"two infos":             {"d4:infode4:infodee", "comes twice"},
		"an escaping name":      {info("6:lengthi5e4:name2:.." + v1), "stands for another folder"},
		"an absolute name":      {info("6:lengthi5e4:name4:/etc" + v1), "has a slash"},
		"a huge length":         {info("6:lengthi9223372036854775807e4:name1:a" + v1), "would be longer"},
		"lengths that wrap":     {info("5:filesld6:lengthi9223372036854775807e4:pathl1:aeed6:lengthi9223372036854775807e4:pathl1:beee4:name1:n" + v1), "would be longer"},
		"piece length of 0":     {info("6:lengthi5e4:name1:a12:piece lengthi0e6:pieces20:aaaaaaaaaaaaaaaaaaaa"), `"piece length" is 0`},
		"an escape in an error": {info("5:filesld6:lengthi5e4:pathl6:\x1b[2J/aeee4:name1:n" + v1), `\x1b[2J/a`},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "x.torrent")
			if err := os.WriteFile(file, []byte(c.in), 0o600); err != nil {
				t.Fatal(err)
			}
			var out, errs bytes.Buffer
			code := run([]string{"show", file}, stdio{io.NopCloser(nil), &out, &errs})
			line := errs.String()
			if code != exitFailed || out.Len() > 0 || !strings.Contains(line, c.why) || !strings.Contains(line, "is refused") {
				t.Errorf("exit %d: %s\nwant %s", code, line, c.why)
			}
			if strings.Count(line, "\n") != 1 || strings.ContainsRune(line, 0x1b) || len(line) > 500 {
				t.Errorf("not one harmless line: %q", line)
			}
		})
	}
}

// The roots that libtorrent computed once for bytes that count up, so that a
// change on both sides at once would be seen.
func TestRootsOfKnownContent(t *testing.T) {
	for n, want := range knownRoots {
		data := make([]byte, n)
		for i := range data {
			data[i] = byte(i % 251)
		}
		dir := t.TempDir()
		path := filepath.Join(dir, "file")
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		ours := torrente(t, "create", path, "-o", filepath.Join(dir, "x.torrent"), "--piece-length", "32KiB")
		if got := ours.Files[0].Root; got != want {
			t.Errorf("%d bytes: root %s, want %s", n, got, want)
		}
		if b, err := hex.DecodeString(ours.ID); err != nil || len(b) != 32 || ours.ID != ours.V2 {
			t.Errorf("torrent id %s, v2 hash %s", ours.ID, ours.V2)
		}
	}
}

var knownRoots = map[int]string{
	1:       "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
	16384:   "4348e3b98e8a327b34ced39c1da9e67cdb4cd5e48e4d7960607a3ae403d35f0c",
	16385:   "9d7887c65d577a0237fb3c0998b87b3a62762d03796889a2caea01db914ccbb8",
	32768:   "d9e13d0b676ad681164ef0b7b5910d1328ea83a047cad57e619d76bbe3a08525",
	32769:   "934c793a4cecccfd47faaf6b69c17703875e6c58ffe623bcd31ff3b2170770d1",
	100000:  "505fc9a922f60ae071450b07256a4ba760612bffc38c27584ed03fd96c69841b",
	1000000: "c6ba179eeb6d3fa33dd2f92a78d90d91d8230efcfb2c565375c85bf9e1e674cd",
}
