package tracker

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestTiersAreShuffledWithin(t *testing.T) {
	lists := [][]string{{"a", "b", "c"}, {}, {"d", "b", ""}, {"e", "f"}}
	seen := map[string]bool{}
	for seed := range uint64(200) {
		got := NewTiers(lists, seed).Order()
		if !slices.Equal(got, NewTiers(lists, seed).Order()) {
			t.Fatal("the same seed gives another order")
		}
		first, second, third := slices.Sorted(slices.Values(got[:3])), got[3], slices.Sorted(slices.Values(got[4:]))
		if !slices.Equal(first, []string{"a", "b", "c"}) || second != "d" || !slices.Equal(third, []string{"e", "f"}) {
			t.Fatalf("%v mixes tiers", got)
		}
		seen[fmt.Sprint(got)] = true
	}
	if len(seen) != 12 {
		t.Errorf("%d orders were seen, of 3! * 2!", len(seen))
	}
	if !slices.Equal(lists[0], []string{"a", "b", "c"}) {
		t.Error("the caller's list was shuffled")
	}
}

// BEP 12: what worked is the first of its tier, and nothing else moves.
func TestWorkedMovesToTheFront(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var lists [][]string
		n := 0
		for range rapid.IntRange(0, 4).Draw(t, "tiers") {
			var tier []string
			for range rapid.IntRange(0, 5).Draw(t, "trackers") {
				tier = append(tier, fmt.Sprint(n))
				n++
			}
			lists = append(lists, tier)
		}
		tiers := NewTiers(lists, rapid.Uint64().Draw(t, "seed"))
		for range 5 {
			if n == 0 {
				break
			}
			before := tiers.Order()
			url := fmt.Sprint(rapid.IntRange(0, n-1).Draw(t, "worked"))
			tiers.Worked(url)
			at := slices.Index(before, url)
			first := at
			for first > 0 && sameTier(lists, before[first-1], url) {
				first--
			}
			want := slices.Insert(slices.Delete(slices.Clone(before), at, at+1), first, url)
			if got := tiers.Order(); !slices.Equal(got, want) {
				t.Fatalf("%v worked: %v became %v, want %v", url, before, got, want)
			}
		}
		tiers.Worked("unknown")
	})
}

func sameTier(lists [][]string, a, b string) bool {
	return slices.ContainsFunc(lists, func(l []string) bool { return slices.Contains(l, a) && slices.Contains(l, b) })
}

func TestTrackersAreCapped(t *testing.T) {
	var lists [][]string
	for i := range 1000 {
		lists = append(lists, []string{fmt.Sprint("a", i), fmt.Sprint("b", i)})
	}
	if got := NewTiers(lists, 1).Order(); len(got) != MaxTrackers {
		t.Errorf("%d trackers", len(got))
	}
}
