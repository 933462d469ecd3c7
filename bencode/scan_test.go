package bencode

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	jackpal "github.com/jackpal/bencode-go"
	"pgregory.net/rapid"
)

var (
	strict = Limits{Size: 64 << 20, Depth: 32, Tokens: 1 << 20, String: 64 << 20}
	loose  = Limits{Size: 64 << 20, Depth: 32, Tokens: 1 << 20, String: 64 << 20, Unsorted: true}
)

func TestCheckRefuses(t *testing.T) {
	for _, c := range []struct {
		in   string
		want error
	}{
		{"", ErrShort},
		{"l", ErrShort},
		{"d", ErrShort},
		{"i", ErrShort},
		{"1", ErrShort},
		{"i1", ErrShort},
		{"5:ab", ErrShort},
		{"d1:a", ErrShort},
		{"li1e", ErrShort},
		{"99999999:", ErrShort},
		{"ie", ErrSyntax},
		{"i-e", ErrSyntax},
		{"i-0e", ErrSyntax},
		{"i00e", ErrSyntax},
		{"i03e", ErrSyntax},
		{"i+1e", ErrSyntax},
		{"i1.0e", ErrSyntax},
		{"i 1e", ErrSyntax},
		{"i1 e", ErrSyntax},
		{"01:a", ErrSyntax},
		{"-1:a", ErrSyntax},
		{"+1:a", ErrSyntax},
		{"1;a", ErrSyntax},
		{"di1ei2ee", ErrSyntax},
		{"dl1:aei1ee", ErrSyntax},
		{"d1:ae", ErrSyntax},
		{"dee", ErrSyntax},
		{"4:abcdX", ErrSyntax},
		{"lee", ErrSyntax},
		{"e", ErrSyntax},
		{"x", ErrSyntax},
		{"i1ei2e", ErrSyntax},
		{"i9223372036854775808e", ErrLimit},
		{"i-9223372036854775809e", ErrLimit},
		{"i99999999999999999999e", ErrLimit},
		{"99999999999999999999:", ErrShort},
		{"d1:b0:1:a0:e", ErrOrder},
		{"d1:a0:1:a0:e", ErrDuplicate},
		{"d2:aa0:1:a0:e", ErrOrder},
	} {
		if err := Check([]byte(c.in), strict); !errors.Is(err, c.want) {
			t.Errorf("%q: %v, want %v", c.in, err, c.want)
		}
	}
}

func TestCheckAccepts(t *testing.T) {
	for _, in := range []string{
		"le", "de", "i0e", "i-1e", "i9223372036854775807e", "i-9223372036854775808e", "0:", "3:abc",
		"d1:ai1e1:bl1:xdeee", "d0:0:e", "d0:0:1:a0:e", "lllleeee", "d1:ad1:bd1:c0:eee", "10:0123456789",
	} {
		for _, lim := range []Limits{strict, loose} {
			if err := Check([]byte(in), lim); err != nil {
				t.Errorf("%q: %v", in, err)
			}
		}
	}
}

func TestUnsortedKeys(t *testing.T) {
	for in, want := range map[string]error{
		"d1:b0:1:a0:e":                           nil,
		"d1:b0:1:a0:1:b0:e":                      ErrDuplicate,
		"d1:a0:1:a0:e":                           ErrDuplicate,
		"d1:c0:1:a0:1:b0:1:ai0ee":                ErrDuplicate,
		"d1:bd1:z0:1:a0:1:z0:e1:a0:e":            ErrDuplicate,
		"d1:bd1:z0:1:a0:e1:ad1:z0:1:a0:ee":       nil, // same keys in brothers
		"d1:bd1:b0:1:a0:e1:ad1:b0:1:a0:ee":       nil, // and in parent and child
		"ld1:b0:1:a0:ed1:b0:1:a0:ee":             nil,
		"d1:z0:1:ald1:z0:1:ai1e1:zi2eee1:bi3ee":  ErrDuplicate,
		"d1:z0:1:ald1:z0:1:ai1e1:yi2eee1:bi3ee":  nil,
		"d1:z0:1:ald1:z0:1:ai1e1:yi2eee1:zi3ee":  ErrDuplicate,
		"d1:z0:1:a" + strings.Repeat("i1e", 1):   ErrShort,
		"d1:z0:1:a0:" + strings.Repeat("e", 2):   ErrSyntax,
		"d3:abc0:2:ab0:1:a0:0:0:4:abcd0:e":       nil,
		"d3:abc0:2:ab0:1:a0:0:0:4:abcd0:2:ab0:e": ErrDuplicate,
	} {
		if err := Check([]byte(in), loose); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", in, err, want)
		}
	}
}

// bombs are small inputs that ask for much. Each must be refused, or accepted,
// within a few times its own size of memory and without recursion.
func bombs() map[string][]byte {
	deep := func(n int) []byte { return bytes.Repeat([]byte("l"), n) }
	in := func(key string, bomb []byte) []byte {
		return fmt.Appendf(nil, "d%d:%s%se", len(key), key, bomb)
	}
	return map[string][]byte{
		"nested lists, never closed": deep(9_800_000),
		"nested lists":               append(deep(4_900_000), bytes.Repeat([]byte("e"), 4_900_000)...),
		"nested lists inside info":   in("info", deep(9_800_000)),
		"nested dictionaries":        bytes.Repeat([]byte("d1:a"), 2_000_000),
		"a giant integer":            append(append([]byte("i"), bytes.Repeat([]byte("9"), 9_000_000)...), 'e'),
		"a giant integer inside":     in("length", append(append([]byte("i"), bytes.Repeat([]byte("9"), 9_000_000)...), 'e')),
		"a giant length":             []byte("999999999999999999999999999:x"),
		"a length that wraps":        []byte("18446744073709551617:x"),
		"a length of digits":         append(bytes.Repeat([]byte("1"), 9_000_000), ':'),
		"millions of tokens":         append(append([]byte("l"), bytes.Repeat([]byte("0:"), 5_000_000)...), 'e'),
		"too long":                   append([]byte("10485761:"), make([]byte, 10_485_761)...),
	}
}

func TestBombs(t *testing.T) {
	for name, b := range bombs() {
		for source, lim := range map[string]Limits{"torrent": Torrent, "tracker": Tracker, "DHT": DHT, "extended": Extended} {
			// A length beyond what is left is found before one beyond the limit.
			if err := Check(b, lim); !errors.Is(err, ErrLimit) && !errors.Is(err, ErrShort) {
				t.Errorf("%s from %s: %v", name, source, err)
			}
		}
	}
}

// The runtime's own goroutines allocate at moments of their choosing, and
// AllocsPerRun counts those too: the least of a few runs is the scan's own.
func TestBombsCostNoMemory(t *testing.T) {
	for name, b := range bombs() {
		least := math.Inf(1)
		for range 5 {
			least = min(least, testing.AllocsPerRun(1, func() { _, _ = Span(b, Torrent) }))
		}
		if least > 16 {
			t.Errorf("%s: %v allocations", name, least)
		}
	}
}

func TestSpanDoesNotAllocate(t *testing.T) {
	in := []byte("d8:intervali1800e5:peersld2:ip9:127.0.0.14:porti6881eeee")
	if n := testing.AllocsPerRun(100, func() { _, _ = Span(in, Tracker) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestEveryTruncationIsShort(t *testing.T) {
	in := "d8:announce3:abc4:infod6:lengthi12345e4:name3:abc5:filesl1:ai-3eleeee"
	if err := Check([]byte(in), loose); err != nil {
		t.Fatal(err)
	}
	for i := range in {
		if err := Check([]byte(in[:i]), loose); !errors.Is(err, ErrShort) {
			t.Errorf("%q: %v", in[:i], err)
		}
	}
}

func TestDepthIsTheLimit(t *testing.T) {
	for _, depth := range []int{1, 8, 64} {
		lim := strict
		lim.Depth = depth
		nest := func(n int) []byte {
			return append(bytes.Repeat([]byte("l"), n), bytes.Repeat([]byte("e"), n)...)
		}
		if err := Check(nest(depth), lim); err != nil {
			t.Errorf("depth %d: %v", depth, err)
		}
		if err := Check(nest(depth+1), lim); !errors.Is(err, ErrLimit) {
			t.Errorf("depth %d+1: %v", depth, err)
		}
	}
	huge := strict
	huge.Depth = 1 << 20
	if err := Check(bytes.Repeat([]byte("l"), 100), huge); !errors.Is(err, ErrLimit) {
		t.Errorf("a limit beyond MaxDepth: %v", err)
	}
}

// What the scanner passes, the library decodes strictly and writes back byte by
// byte; what it refuses, the library refuses too. So is the scanner right.
func agree(t interface {
	Fatalf(string, ...any)
}, x []byte,
) {
	v, strictErr := jackpal.NewDecoder(bytes.NewReader(x)).SetStrict(true).SetMaxDepth(32).Decode()
	n, err := Span(x, strict)
	if err != nil {
		if strictErr == nil {
			t.Fatalf("only we refuse %q: %v", x, err)
		}
		return
	}
	if strictErr != nil {
		t.Fatalf("only we accept %q: %v", x, strictErr)
	}
	var b bytes.Buffer
	if err := jackpal.Marshal(&b, v); err != nil || !bytes.Equal(b.Bytes(), x[:n]) {
		t.Fatalf("%q comes back as %q, %v", x[:n], b.Bytes(), err)
	}
	if m, err := Span(x, loose); err != nil || m != n {
		t.Fatalf("%q: %d, %v when order is not asked, %d when it is", x, m, err, n)
	}
}

func FuzzSpan(f *testing.F) {
	for _, s := range []string{
		"de", "d8:announce1:x13:announce-listll1:aee4:infod5:filesld6:lengthi1e4:pathl1:aeeeee", "d1:nli1ei-2eee",
		"d1:rd1:ali5e1:xeee", "i-9223372036854775808e", "0:", "le", "d0:0:e", "d1:b0:1:a0:e", "01:a", "i-0e",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, x []byte) {
		agree(t, x)
		walk(t, x)
	})
}

// walk reads everything of what the scanner passed, by every way of reading.
func walk(t *testing.T, x []byte) {
	v, rest, err := ParsePrefix(x, loose)
	if err != nil {
		return
	}
	if len(v.Raw())+len(rest) != len(x) {
		t.Fatalf("%d + %d bytes of %d", len(v.Raw()), len(rest), len(x))
	}
	again := rebuild(t, v)
	if v.Kind() != Dictionary && v.Kind() != List && !bytes.Equal(again, v.Raw()) {
		t.Fatalf("%q is read as %q", v.Raw(), again)
	}
	if Check(v.Raw(), strict) == nil && !bytes.Equal(again, v.Raw()) {
		t.Fatalf("%q is read as %q", v.Raw(), again)
	}
	depth := 0
	for c := v.Cursor(); ; {
		switch c.Next().Kind {
		case 0:
			if depth != 0 {
				t.Fatalf("the cursor ends at depth %d in %q", depth, v.Raw())
			}
			return
		case List, Dictionary:
			depth++
		case End:
			depth--
		}
	}
}

// rebuild writes a value from what the getters say of it.
func rebuild(t *testing.T, v Value) []byte {
	switch v.Kind() {
	case Integer:
		n, _ := v.Int()
		return fmt.Appendf(nil, "i%de", n)
	case String:
		b, _ := v.Bytes()
		return fmt.Appendf(nil, "%d:%s", len(b), b)
	case List:
		out := []byte("l")
		for e := range v.Elements() {
			out = append(out, rebuild(t, e)...)
		}
		return append(out, 'e')
	}
	d, err := v.Dict()
	if err != nil {
		t.Fatal(err)
	}
	out := []byte("d")
	for k, e := range d.All() {
		if got := d.Get(string(k)); !bytes.Equal(got.Raw(), e.Raw()) {
			t.Fatalf("key %q of %q: %q and %q", k, v.Raw(), got.Raw(), e.Raw())
		}
		out = fmt.Appendf(out, "%d:%s", len(k), k)
		out = append(out, rebuild(t, e)...)
	}
	return append(out, 'e')
}

func TestAgreesOnWhatIsAlmostBencoding(t *testing.T) {
	token := rapid.SampledFrom([]string{"l", "d", "e", "i1e", "i-7e", "1:a", "1:b", "2:ab", "0:", "i", "1", ":", "-", "0", "9"})
	rapid.Check(t, func(t *rapid.T) {
		agree(t, []byte(strings.Join(rapid.SliceOfN(token, 0, 12).Draw(t, "tokens"), "")))
	})
}

func BenchmarkSpan(b *testing.B) {
	files := append([]byte("l"), bytes.Repeat([]byte("d6:lengthi123456e4:pathl3:dir8:file.txtee"), 100_000)...)
	files = append(files, 'e')
	for _, c := range []struct {
		name string
		lim  Limits
	}{{"sorted", strict}, {"unsorted", loose}} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(files)))
			b.ReportAllocs()
			for b.Loop() {
				if n, err := Span(files, c.lim); err != nil || n != len(files) {
					b.Fatal(n, err)
				}
			}
		})
	}
}
