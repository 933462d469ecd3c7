package payment

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"torrente/internal/vectors"
)

type chainVector struct {
	Seed  Link            `json:"seed"`
	Chain ChainID         `json:"chain"`
	Links uint32          `json:"links"`
	Root  Link            `json:"root"`
	Some  map[uint32]Link `json:"some"`
}

func TestChainVectors(t *testing.T) {
	var all []chainVector
	for _, n := range []uint32{1, 2, 3, 64, 1000} {
		v := chainVector{Seed: Link{byte(n)}, Chain: ChainID{11: byte(n)}, Links: n, Some: map[uint32]Link{}}
		c := must[*Chain](t)(NewChain(Seed(v.Seed), v.Chain, n))
		v.Root = c.Root()
		for _, i := range []uint32{1, 2, n / 2, n - 1, n} {
			if l, ok := c.Link(i); ok {
				v.Some[i] = l
			}
		}
		all = append(all, v)
	}
	vectors.Check(t, "chain.json", all)
}

// Whatever the order links are asked for in, they are those of the chain, and
// every one verifies from every one above it.
func TestChainGivesItsLinks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Uint32Range(1, 300).Draw(t, "n")
		id := ChainID{byte(n)}
		c, err := NewChain(Seed{1}, id, n)
		if err != nil {
			t.Fatal(err)
		}
		all := make([]Link, n+1)
		h := newLinkHasher(id)
		all[n] = deepest(Seed{1}, id, n)
		for i := n; i > 0; i-- {
			all[i-1] = h.below(i, &all[i])
		}
		for range 20 {
			i := rapid.Uint32Range(0, n).Draw(t, "i")
			if got, ok := c.Link(i); !ok || got != all[i] {
				t.Fatalf("link %d of %d: %v %v, want %v", i, n, got, ok, all[i])
			}
			j := rapid.Uint32Range(0, n).Draw(t, "j")
			low, high := Claim{min(i, j), all[min(i, j)]}, Claim{max(i, j), all[max(i, j)]}
			if !Verify(id, low, high) {
				t.Fatalf("link %d does not verify from %d", high.Index, low.Index)
			}
			if got, ok := Below(id, high, low.Index); !ok || got != low.Link {
				t.Fatalf("link %d below %d: %v %v", low.Index, high.Index, got, ok)
			}
			if _, ok := Below(id, low, high.Index); ok != (low == high) {
				t.Fatalf("link %d below %d: %v", high.Index, low.Index, ok)
			}
			if i != j && (Verify(id, high, low) || Verify(id, low, Claim{high.Index, all[low.Index]})) {
				t.Fatalf("links %d and %d verify the wrong way", i, j)
			}
		}
		if _, ok := c.Link(n + 1); ok || c.Root() != all[0] || c.Len() != n {
			t.Fatalf("root %v, length %d, or a link beyond it", c.Root(), c.Len())
		}
	})
}

func TestVerifyRefuses(t *testing.T) {
	id := ChainID{1}
	c := must[*Chain](t)(NewChain(Seed{1}, id, 8))
	root, five := Claim{0, c.Root()}, Claim{Index: 5}
	five.Link, _ = c.Link(5)
	flipped := five
	flipped.Link[31] ^= 1
	for what, bad := range map[string]struct {
		chain         ChainID
		known, deeper Claim
	}{
		"another chain":     {ChainID{2}, root, five},
		"another index":     {id, root, Claim{4, five.Link}},
		"a deeper index":    {id, root, Claim{6, five.Link}},
		"a flipped bit":     {id, root, flipped},
		"back to the root":  {id, five, root},
		"beyond all chains": {id, root, Claim{MaxLinks + 1, five.Link}},
		"2^32 - 1":          {id, root, Claim{1<<32 - 1, five.Link}},
		"same index":        {id, five, flipped},
	} {
		if Verify(bad.chain, bad.known, bad.deeper) {
			t.Error(what)
		}
	}
}

func TestChainLength(t *testing.T) {
	for _, n := range []uint32{0, MaxLinks + 1, 1<<32 - 1} {
		if _, err := NewChain(Seed{}, ChainID{}, n); !errors.Is(err, ErrChainLength) {
			t.Errorf("%d links: %v", n, err)
		}
	}
	c := must[*Chain](t)(NewChain(Seed{}, ChainID{}, MaxLinks))
	if last, ok := c.Link(MaxLinks); !ok || !Verify(ChainID{}, Claim{0, c.Root()}, Claim{MaxLinks, last}) {
		t.Error("the longest chain does not verify")
	}
}

func TestLinksDoNotAllocate(t *testing.T) {
	c := must[*Chain](t)(NewChain(Seed{1}, ChainID{1}, 1000))
	i, known := uint32(0), Claim{0, c.Root()}
	got := testing.AllocsPerRun(900, func() {
		i++
		link, _ := c.Link(i)
		next := Claim{i, link}
		if !Verify(ChainID{1}, known, next) {
			t.Fatal(i)
		}
		known = next
	})
	if got != 0 {
		t.Errorf("%v allocations for a link made again and checked", got)
	}
}

func BenchmarkLink(b *testing.B) {
	b.ReportAllocs()
	h := newLinkHasher(ChainID{1})
	var link Link
	for b.Loop() {
		link = h.below(1, &link)
	}
}

// BenchmarkChain is a link's whole life: made, made again from the marks,
// checked. The last figure is that life in hashes.
func BenchmarkChain(b *testing.B) {
	b.ReportAllocs()
	const n = 1 << 16
	for b.Loop() {
		life(b, n)
	}
	whole := float64(b.Elapsed()) / float64(b.N) / n
	h, start := newLinkHasher(ChainID{1}), time.Now()
	var link Link
	for range 10 * n {
		link = h.below(1, &link)
	}
	hash := float64(time.Since(start)) / (10 * n)
	b.ReportMetric(whole, "ns/link")
	b.ReportMetric(hash, "ns/hash")
	b.ReportMetric(whole/hash, "hashes/link")
}

func life(b *testing.B, n uint32) {
	c, err := NewChain(Seed{1}, ChainID{1}, n)
	if err != nil {
		b.Fatal(err)
	}
	known := Claim{0, c.Root()}
	for i := uint32(1); i <= n; i++ {
		link, _ := c.Link(i)
		next := Claim{i, link}
		if !Verify(ChainID{1}, known, next) {
			b.Fatal(i)
		}
		known = next
	}
}
