package identity

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"testing"
)

// lyra2Vector is one line of testdata/lyra2_vectors.json, made with the
// reference code of Lyra2's authors.
type lyra2Vector struct {
	Note     string `json:"note"`
	Password hexed  `json:"password_hex"`
	Salt     hexed  `json:"salt_hex"`
	OutLen   int    `json:"outlen"`
	Time     uint32 `json:"t_cost"`
	Rows     uint32 `json:"m_cost"`
	Columns  uint32 `json:"n_cols"`
	Key      hexed  `json:"hex"`
}

type hexed []byte

func (h *hexed) UnmarshalText(text []byte) (err error) {
	*h, err = hex.AppendDecode(nil, text)
	return err
}

func (h hexed) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h), nil }

func readVectors[V any](t *testing.T, name string) []V {
	t.Helper()
	raw, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var f struct {
		Vectors []V `json:"vectors"`
	}
	if err := json.Unmarshal(raw, &f); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if len(f.Vectors) == 0 {
		t.Fatalf("%s holds no vectors", name)
	}
	return f.Vectors
}

func TestLyra2Vectors(t *testing.T) {
	for _, v := range readVectors[lyra2Vector](t, "lyra2_vectors.json") {
		t.Run(v.Note, func(t *testing.T) {
			t.Parallel()
			cost := Cost{v.Time, v.Rows, v.Columns}
			if err := cost.check(); err != nil {
				t.Fatal(err)
			}
			out := make([]byte, v.OutLen)
			if err := lyra2(out, v.Password, v.Salt, cost); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(out, v.Key) {
				t.Fatalf("got %x, want %x", out, v.Key)
			}
		})
	}
}

func TestLyra2DependsOnEveryInput(t *testing.T) {
	base := Cost{1, 8, 16}
	seen := map[string]string{}
	for _, in := range []struct {
		password, salt string
		outLen         int
		cost           Cost
	}{
		{"password", "salt", 64, base},
		{"passwords", "alt", 64, base},
		{"passwor", "dsalt", 64, base},
		{"Password", "salt", 64, base},
		{"password", "salu", 64, base},
		{"password", "salt", 65, base},
		{"password", "salt", 64, Cost{2, 8, 16}},
		{"password", "salt", 64, Cost{1, 9, 16}},
		{"password", "salt", 64, Cost{1, 8, 17}},
		{"password", "salt", 64, Cost{1, 16, 8}},
	} {
		out := make([]byte, in.outLen)
		if err := lyra2(out, []byte(in.password), []byte(in.salt), in.cost); err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("%+v", in)
		if other, taken := seen[string(out[:64])]; taken {
			t.Errorf("%s gives the key of %s", name, other)
		}
		seen[string(out[:64])] = name
	}
}

func TestCostBounds(t *testing.T) {
	for cost, good := range map[Cost]bool{
		DefaultCost: true, {1, 3, 1}: true, {21, 49152, 256}: true,
		{0, 16, 256}: false, {22, 16, 256}: false,
		{1, 2, 256}: false, {1, 49153, 256}: false,
		{1, 16, 0}: false, {1, 16, 257}: false,
		{1<<32 - 1, 1<<32 - 1, 1<<32 - 1}: false,
	} {
		if err := cost.check(); (err == nil) != good || err != nil && !errors.Is(err, ErrCost) {
			t.Errorf("%+v: %v", cost, err)
		}
	}
}

// Rows and columns are cut and chosen without allocating.
func TestLyra2AllocatesNothingPerRow(t *testing.T) {
	allocs := func(rows uint32) float64 {
		out := make([]byte, 64)
		return testing.AllocsPerRun(3, func() {
			if err := lyra2(out, []byte("password"), make([]byte, 32), Cost{2, rows, 8}); err != nil {
				t.Fatal(err)
			}
		})
	}
	if few, many := allocs(4), allocs(400); many > few {
		t.Errorf("%v allocations with 4 rows, %v with 400", few, many)
	}
}

func BenchmarkLyra2(b *testing.B) {
	for _, cost := range []Cost{{1, 16, 256}, DefaultCost} {
		b.Run(fmt.Sprintf("t=%d,rows=%d,columns=%d", cost.Time, cost.Rows, cost.Columns), func(b *testing.B) {
			b.ReportAllocs()
			out := make([]byte, 64)
			for b.Loop() {
				if err := lyra2(out, []byte("password"), make([]byte, 32), cost); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
