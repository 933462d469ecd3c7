package bencode

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"runtime"
	"testing"

	jackpal "github.com/jackpal/bencode-go"
	"pgregory.net/rapid"
)

func dict(t *testing.T, s string) Dict {
	t.Helper()
	d, err := ParseDict([]byte(s), loose)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDictFindsByExactKey(t *testing.T) {
	d := dict(t, "d4:Name1:A4:name1:a11:piecelengthi1e12:piece lengthi2ee")
	for key, want := range map[string]string{"Name": "A", "name": "a"} {
		if got, err := d.Text(key); err != nil || got != want {
			t.Errorf("%s is %q, %v", key, got, err)
		}
	}
	if n, err := d.Int("piece length"); n != 2 || err != nil {
		t.Error(n, err)
	}
	for _, key := range []string{"NAME", "nam", "names", "", "piece"} {
		if _, err := d.Text(key); !errors.Is(err, ErrMissing) || d.Has(key) {
			t.Errorf("%q: %v", key, err)
		}
	}
}

func TestDictTellsMissingFromWrong(t *testing.T) {
	d := dict(t, "d1:dde1:ii5e1:lle1:s1:xe")
	for _, key := range []string{"d", "i", "l", "s", "none"} {
		for kind, read := range map[string]func() error{
			"i": func() error { _, err := d.Int(key); return err },
			"s": func() error { _, err := d.Bytes(key); return err },
			"l": func() error { _, err := d.List(key); return err },
			"d": func() error { _, err := d.Dict(key); return err },
		} {
			want := ErrType
			switch key {
			case kind:
				want = nil
			case "none":
				want = ErrMissing
			}
			if err := read(); !errors.Is(err, want) {
				t.Errorf("%q read as %s: %v, want %v", key, kind, err, want)
			}
		}
	}
	_, err := d.Int("s")
	if got, want := fmt.Sprint(err), `"s" has the wrong type: a string, not an integer`; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

func TestDictOfUnsortedKeys(t *testing.T) {
	d := dict(t, "d1:ci3e1:ai1e1:bi2ee")
	for key, want := range map[string]int64{"a": 1, "b": 2, "c": 3} {
		if n, err := d.Int(key); n != want || err != nil {
			t.Error(key, n, err)
		}
	}
	if d.Len() != 3 {
		t.Error(d.Len())
	}
}

func TestIntegersAtTheEnds(t *testing.T) {
	for _, want := range []int64{0, 1, -1, 10, math.MaxInt64, math.MinInt64, math.MinInt64 + 1} {
		v, err := Parse(fmt.Appendf(nil, "i%de", want), strict)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := v.Int(); got != want || err != nil {
			t.Errorf("%d: %d, %v", want, got, err)
		}
	}
}

func TestRawValuesAreSpansOfTheInput(t *testing.T) {
	in := "d4:infod4:name1:ae1:zi1eeTRAIL"
	v, rest, err := ParsePrefix([]byte(in), loose)
	if err != nil || string(rest) != "TRAIL" {
		t.Fatal(err, string(rest))
	}
	d, err := v.Dict()
	if err != nil {
		t.Fatal(err)
	}
	if got := d.Get("info").Raw(); string(got) != "d4:name1:ae" {
		t.Errorf("%q", got)
	}
	if raw := d.Get("info").Raw(); cap(raw) != len(raw) {
		t.Error("an append to a value would write into the next one")
	}
	if _, err := Parse([]byte(in), loose); !errors.Is(err, ErrSyntax) {
		t.Errorf("what follows the value was not noticed: %v", err)
	}
}

func TestIndexIsReused(t *testing.T) {
	v, err := Parse(append(append([]byte("l"), bytes.Repeat([]byte("d1:ai1e1:bi2ee"), 100)...), 'e'), strict)
	if err != nil {
		t.Fatal(err)
	}
	var d Dict
	sum := int64(0)
	// An average over many runs, as the runtime's own allocations count too.
	allocs := testing.AllocsPerRun(20, func() {
		sum = 0
		for e := range v.Elements() {
			if err := d.Index(e); err != nil {
				t.Fatal(err)
			}
			n, _ := d.Int("b")
			sum += n
		}
	})
	if sum != 2*100 || allocs > 8 {
		t.Errorf("sum %d, %v allocations", sum, allocs)
	}
	if err := d.Index(Value{}); !errors.Is(err, ErrMissing) || d.Len() != 0 {
		t.Errorf("%v, %d entries left", err, d.Len())
	}
}

func TestElementsStopWhenAsked(t *testing.T) {
	v, _ := Parse([]byte("li1ei2ei3ee"), strict)
	n := 0
	for range v.Elements() {
		n++
		break
	}
	if n != 1 {
		t.Error(n)
	}
	for range (Value{}).Elements() {
		t.Error("nothing has elements")
	}
}

func TestCursor(t *testing.T) {
	v, err := Parse([]byte("d1:ali7e0:e1:bde1:cl1:xee"), strict)
	if err != nil {
		t.Fatal(err)
	}
	c := v.Cursor()
	got := ""
	for tok := c.Next(); tok.Kind != 0; tok = c.Next() {
		switch tok.Kind {
		case Integer:
			got += fmt.Sprintf("%d ", tok.Int)
		case String:
			got += fmt.Sprintf("%q ", tok.Bytes)
		default:
			got += tok.Kind.String() + " "
		}
		if string(tok.Bytes) == "c" {
			if c.Peek() != List || string(c.Value().Raw()) != "l1:xe" || c.Value().Kind() != 0 {
				t.Error("the whole value was not taken")
			}
		}
	}
	want := `a dictionary "a" a list 7 "" an end "b" a dictionary an end "c" an end `
	if got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	if c.Peek() != 0 || c.Value().Kind() != 0 {
		t.Error("something follows the end")
	}
}

func TestEncode(t *testing.T) {
	for _, c := range []struct {
		v    any
		want string
	}{
		{"spam", "4:spam"},
		{[]byte(nil), "0:"},
		{int64(-3), "i-3e"},
		{7, "i7e"},
		{uint32(1 << 31), "i2147483648e"},
		{[]any{}, "le"},
		{[]string{"b", "a"}, "l1:b1:ae"},
		{map[string]any{}, "de"},
		{map[string]any{"b": 1, "a": []byte(nil), "": []any{"x", Raw("i5e")}}, "d0:l1:xi5ee1:a0:1:bi1ee"},
		{map[string]any{"\xff": 1, "\x00": 2, "é": 3}, "d1:\x00i2e2:éi3e1:\xffi1ee"},
		{Raw("d1:b0:1:a0:e"), "d1:b0:1:a0:e"},
	} {
		got, err := Encode(c.v)
		if err != nil || string(got) != c.want {
			t.Errorf("%#v: %q, %v, want %q", c.v, got, err, c.want)
		}
	}
	for _, v := range []any{nil, true, 1.5, uint64(1), []int{1}, map[string]int{}, []any{nil}, map[string]any{"a": false}, Raw(""), Raw("i1"), Raw("i1ei2e")} {
		if got, err := Encode(v); err == nil {
			t.Errorf("%#v is encoded as %q", v, got)
		}
	}
}

// value draws a tree of what Encode takes.
func value(t *rapid.T, depth int) any {
	kind := rapid.IntRange(0, 4)
	if depth == 0 {
		kind = rapid.IntRange(0, 2)
	}
	switch kind.Draw(t, "kind") {
	case 0:
		return rapid.Int64().Draw(t, "int")
	case 1:
		return string(rapid.SliceOfN(rapid.Byte(), 0, 8).Draw(t, "string"))
	case 2:
		return rapid.SliceOfN(rapid.Byte(), 0, 8).Draw(t, "bytes")
	case 3:
		out := make([]any, rapid.IntRange(0, 4).Draw(t, "elements"))
		for i := range out {
			out[i] = value(t, depth-1)
		}
		return out
	}
	out := map[string]any{}
	for range rapid.IntRange(0, 4).Draw(t, "entries") {
		out[string(rapid.SliceOfN(rapid.Byte(), 0, 4).Draw(t, "key"))] = value(t, depth-1)
	}
	return out
}

func TestEncodeIsCanonical(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b, err := Encode(value(t, 4))
		if err != nil {
			t.Fatal(err)
		}
		if err := Check(b, strict); err != nil {
			t.Fatalf("%q: %v", b, err)
		}
		decoded, err := jackpal.NewDecoder(bytes.NewReader(b)).SetStrict(true).Decode()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := Encode(decoded); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%q comes back as %q, %v", b, again, err)
		}
	})
}

// Reading costs a small multiple of the input, whatever the input is: the
// cheapest entries of a dictionary, in the worst order.
func TestIndexIsSmall(t *testing.T) {
	in := []byte("d")
	for i := range 200_000 {
		in = append(in, '3', ':', byte(i>>16), byte(i>>8), byte(i), '0', ':')
	}
	in = append(in, 'e')
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	d, err := ParseDict(in, Torrent)
	runtime.ReadMemStats(&after)
	if err != nil || d.Len() != 200_000 {
		t.Fatal(err, d.Len())
	}
	// 12 bytes an entry in the index, 8 in the scanner, which grows as it goes.
	if used := after.TotalAlloc - before.TotalAlloc; used > 12*uint64(len(in)) {
		t.Errorf("%d bytes for %d: %.1f times", used, len(in), float64(used)/float64(len(in)))
	}
}

func BenchmarkDictGet(b *testing.B) {
	in := []byte("d6:lengthi170917888e4:name30:debian-8.8.0-arm64-netinst.iso12:piece lengthi262144e6:pieces0:e")
	b.ReportAllocs()
	for b.Loop() {
		v, err := Parse(in, Torrent)
		if err != nil {
			b.Fatal(err)
		}
		d, _ := v.Dict()
		if n, _ := d.Int("piece length"); n != 262144 {
			b.Fatal(n)
		}
	}
}
