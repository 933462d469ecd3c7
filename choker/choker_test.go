package choker

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var epoch = time.Unix(1_800_000_000, 0)

// at is a time in seconds since the epoch of these tests.
func at(seconds int) time.Time { return epoch.Add(time.Duration(seconds) * time.Second) }

func old(id uint32, rate uint64) Candidate {
	return Candidate{ID: id, Rate: rate, Since: at(-1000), Came: at(-1000)}
}

func TestDownloading(t *testing.T) {
	paid := func(id uint32, credit uint64) Candidate {
		c := old(id, 0)
		c.Credit = credit
		return c
	}
	for _, c := range []struct {
		name  string
		slots int
		all   []Candidate
		best  []uint32 // in this order; one more follows if there is one
	}{
		{"nobody", 4, nil, nil},
		{"one", 4, []Candidate{old(1, 0)}, []uint32{1}},
		{"fewer than slots", 4, []Candidate{old(1, 5), old(2, 9)}, []uint32{2, 1}},
		{"the best three", 4, []Candidate{old(1, 5), old(2, 9), old(3, 7), old(4, 6), old(5, 1)}, []uint32{2, 3, 4}},
		{"coins count before bytes", 3, []Candidate{old(1, 999), paid(2, 1), paid(3, 2), old(4, 1000)}, []uint32{3, 2}},
		{"equal ones by id", 3, []Candidate{old(9, 1), old(4, 1), old(6, 1)}, []uint32{4, 6}},
		{"at least two slots", 0, []Candidate{old(1, 1), old(2, 2), old(3, 3)}, []uint32{3}},
	} {
		got := New(c.slots, 1).Downloading(epoch, slices.Clone(c.all))
		if len(got) < len(c.best) || !slices.Equal(got[:len(c.best)], c.best) || len(got) != min(len(c.all), max(2, c.slots)) {
			t.Errorf("%s: %v, want %v first", c.name, got, c.best)
		}
	}
}

func candidates(t *rapid.T, ids []uint32) []Candidate {
	out := make([]Candidate, len(ids))
	for i, id := range ids {
		out[i] = Candidate{
			ID: id, Rate: rapid.Uint64Range(0, 5).Draw(t, "rate"), Credit: rapid.Uint64Range(0, 2).Draw(t, "credit"),
			Unchoked: rapid.Bool().Draw(t, "unchoked"),
			Since:    at(-rapid.IntRange(0, 500).Draw(t, "since")), Came: at(-rapid.IntRange(500, 600).Draw(t, "came")),
		}
	}
	return out
}

// Whatever the candidates: as many as there are slots are chosen, nobody twice,
// nobody who is no candidate, and the order they come in does not matter.
func TestChoicesAreSlots(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		slots, seed := rapid.IntRange(-1, 6).Draw(t, "slots"), rapid.Uint64().Draw(t, "seed")
		a, b := New(slots, seed), New(slots, seed)
		for i := range 5 {
			all := candidates(t, rapid.SliceOfNDistinct(rapid.Uint32Range(0, 20), 0, 12, rapid.ID[uint32]).Draw(t, "ids"))
			shuffled := rapid.Permutation(all).Draw(t, "order")
			choose, again := a.Downloading, b.Downloading
			if rapid.Bool().Draw(t, "seeding") {
				choose, again = a.Seeding, b.Seeding
			}
			got := choose(at(10*i), slices.Clone(all))
			if len(got) != min(len(all), a.Slots()) {
				t.Fatalf("%d chosen of %d for %d slots", len(got), len(all), a.Slots())
			}
			for j, id := range got {
				known := slices.ContainsFunc(all, func(c Candidate) bool { return c.ID == id })
				if !known || slices.Contains(got[:j], id) {
					t.Fatalf("%v of %v", got, all)
				}
			}
			if other := again(at(10*i), shuffled); !slices.Equal(got, other) {
				t.Fatalf("%v, in another order %v", got, other)
			}
		}
	})
}

// All slots but one have those that give most: nobody outside them gives more
// than anybody inside.
func TestBestGiversAreServed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := New(rapid.IntRange(2, 6).Draw(t, "slots"), 1)
		all := candidates(t, rapid.SliceOfNDistinct(rapid.Uint32(), 0, 12, rapid.ID[uint32]).Draw(t, "ids"))
		got := c.Downloading(epoch, slices.Clone(all))
		best := got[:min(len(got), c.Slots()-1)]
		for _, in := range all {
			for _, out := range all {
				more := out.Credit > in.Credit || out.Credit == in.Credit && out.Rate > in.Rate
				if slices.Contains(best, in.ID) && !slices.Contains(best, out.ID) && more {
					t.Fatalf("%+v is served, %+v is not", in, out)
				}
			}
		}
	})
}

// The optimistic unchoke stays for thirty seconds, then goes to another.
func TestOptimisticRotates(t *testing.T) {
	for seed := range uint64(50) {
		c := New(2, seed)
		all := []Candidate{old(0, 9), old(1, 0), old(2, 0), old(3, 0)}
		served := map[uint32]int{}
		var last uint32
		for i := range 300 { // every ten seconds
			got := c.Downloading(at(10*i), slices.Clone(all))
			if got[0] != 0 || len(got) != 2 {
				t.Fatalf("%v", got)
			}
			if i > 0 && (got[1] == last) == (i%3 == 0) {
				t.Fatalf("seed %d, after %d s: %d follows %d", seed, 10*i, got[1], last)
			}
			last = got[1]
			served[last]++
		}
		for id := range uint32(3) {
			if served[id+1] < 30 { // of 300, about 100 each
				t.Errorf("seed %d: peer %d was served %d times", seed, id+1, served[id+1])
			}
		}
	}
}

func TestOptimisticThatChanges(t *testing.T) {
	c := New(2, 3)
	all := []Candidate{old(0, 9), old(5, 0), old(6, 0)}
	first := c.Downloading(at(0), slices.Clone(all))[1]
	second := 5 + 6 - first
	without := slices.DeleteFunc(slices.Clone(all), func(x Candidate) bool { return x.ID == first })
	if got := c.Downloading(at(10), without); !slices.Equal(got, []uint32{0, second}) {
		t.Errorf("the optimistic one left, and %v are served", got)
	}
	if got := c.Downloading(at(20), slices.Clone(all)); !slices.Equal(got, []uint32{0, second}) {
		t.Errorf("its follower has thirty seconds of its own, but %v are served", got)
	}
	giver := slices.Clone(all)
	for i := range giver {
		if giver[i].ID == second {
			giver[i].Rate = 100
		}
	}
	got := c.Downloading(at(30), giver)
	if got[0] != second || got[1] == second {
		t.Errorf("it gives most, and %v are served", got)
	}
	// Alone, it stays: there is nobody to rotate to.
	c = New(2, 3)
	for i := range 10 {
		if got := c.Downloading(at(10*i), []Candidate{old(0, 9), old(7, 0)}); !slices.Equal(got, []uint32{0, 7}) {
			t.Errorf("%v", got)
		}
	}
}

// BEP 3: who came within the last minute is three times as likely. Ten thousand
// draws among one newcomer and three others, one of whom lost its slot a moment
// ago and is not new for that: 3/6 of them, five standard deviations are 250.
func TestNewcomersHaveThreeChances(t *testing.T) {
	for _, c := range []struct {
		ago  int // seconds since it came
		want int
	}{{0, 5000}, {59, 5000}, {60, 2500}, {100, 2500}} {
		chosen := map[uint32]int{}
		for seed := range uint64(10_000) {
			fresh := Candidate{ID: 1, Since: at(-c.ago), Came: at(-c.ago)}
			choked := old(2, 0)
			choked.Since = at(0)
			chosen[New(2, seed).Downloading(at(0), []Candidate{old(0, 9), fresh, choked, old(3, 0), old(4, 0)})[1]]++
		}
		if n := chosen[1]; n < c.want-250 || n > c.want+250 {
			t.Errorf("who came %d s ago was chosen %d times, not about %d", c.ago, n, c.want)
		}
		if n, m := chosen[2], chosen[3]; n < m-300 || n > m+300 {
			t.Errorf("who lost its slot was chosen %d times, another %d", n, m)
		}
	}
}

func TestSeeding(t *testing.T) {
	has := func(id uint32, since int) Candidate {
		return Candidate{ID: id, Unchoked: true, Since: at(since)}
	}
	waits := func(id uint32, since int, credit uint64) Candidate {
		return Candidate{ID: id, Since: at(since), Credit: credit}
	}
	for _, c := range []struct {
		name string
		all  []Candidate
		want []uint32 // of two slots
	}{
		{"nobody", nil, []uint32{}},
		{"in turn before all others", []Candidate{waits(1, -50, 99), has(2, -59), has(3, 0)}, []uint32{2, 3}},
		{"who waits before who had its turn", []Candidate{has(1, -60), has(2, -10), waits(3, -1, 0)}, []uint32{2, 3}},
		{"who was served longest goes", []Candidate{has(1, -500), has(2, -61), waits(3, -1, 0)}, []uint32{3, 2}},
		{"nobody waits, all stay", []Candidate{has(1, -500), has(2, -600)}, []uint32{1, 2}},
		{"who paid more", []Candidate{waits(1, -30, 1), waits(2, -20, 7), waits(3, -10, 5)}, []uint32{2, 3}},
		{"who waits longer", []Candidate{waits(1, -10, 0), waits(2, -30, 0), waits(3, -20, 0)}, []uint32{2, 3}},
		{"who waits too long", []Candidate{waits(1, -240, 0), waits(2, -20, 7), waits(3, -10, 5)}, []uint32{1, 2}},
		{"not yet too long", []Candidate{waits(1, -239, 0), waits(2, -20, 7), waits(3, -10, 5)}, []uint32{2, 3}},
	} {
		if got := New(2, 1).Seeding(epoch, c.all); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// Every peer of a seed gets a turn of at least a minute, however much others
// paid: a simulation of the choices and what follows from them.
func TestEveryPeerOfASeedHasItsTurn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		slots, n := rapid.IntRange(2, 5).Draw(t, "slots"), rapid.IntRange(1, 30).Draw(t, "peers")
		c := New(slots, 1)
		peers := make([]Candidate, n)
		for i := range peers {
			peers[i] = Candidate{ID: uint32(i), Since: epoch, Credit: rapid.Uint64Range(0, 3).Draw(t, "credit")}
		}
		// Two rounds of patience, and one in which the tired are served, in
		// order; a choice is made each ten seconds only.
		rounds := (n + slots - 1) / slots
		longest := time.Duration(4*rounds+1) * turn
		for now := epoch; now.Before(epoch.Add(3 * longest)); now = now.Add(Interval) {
			got := c.Seeding(now, slices.Clone(peers))
			for i := range peers {
				p := &peers[i]
				served := slices.Contains(got, p.ID)
				switch wait := now.Sub(p.Since); {
				case !p.Unchoked && wait > longest:
					t.Fatalf("%d has waited %s, of %d peers for %d slots", p.ID, wait, n, slots)
				case p.Unchoked && !served && wait < turn:
					t.Fatalf("%d lost its slot after %s", p.ID, wait)
				case served != p.Unchoked:
					p.Unchoked, p.Since = served, now
				}
			}
		}
	})
}

// While nobody has to wait too long, who paid is served sooner.
func TestPayersAreServedFirst(t *testing.T) {
	c := New(2, 1)
	var all []Candidate
	for id := range uint32(6) {
		all = append(all, Candidate{ID: id, Since: epoch, Credit: uint64(id)})
	}
	if got := c.Seeding(at(1), all); !slices.Equal(got, []uint32{5, 4}) {
		t.Errorf("%v", got)
	}
}

func BenchmarkChoices(b *testing.B) {
	for _, n := range []int{50, 500} {
		all := make([]Candidate, n)
		for i := range all {
			all[i] = Candidate{ID: uint32(i), Rate: uint64(i * 7 % 13), Since: at(-i), Unchoked: i%9 == 0}
		}
		work := make([]Candidate, n)
		c := New(8, 1)
		for name, choose := range map[string]func(time.Time, []Candidate) []uint32{"downloading": c.Downloading, "seeding": c.Seeding} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					copy(work, all)
					choose(epoch, work)
				}
			})
		}
	}
}
