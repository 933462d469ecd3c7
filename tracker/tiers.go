package tracker

import (
	"math/rand/v2"
	"slices"
)

// MaxTrackers is how many trackers of a torrent are used; a torrent file has
// room for many more.
const MaxTrackers = 100

// Tiers is the order in which a torrent's trackers are tried (BEP 12): tier
// after tier, within a tier at random, but a tracker that worked first.
type Tiers struct{ tiers [][]string }

// NewTiers shuffles each tier. A tracker that comes twice keeps its first place.
func NewTiers(tiers [][]string, seed uint64) *Tiers {
	t := &Tiers{}
	rnd := rand.New(rand.NewPCG(seed, 12))
	seen := map[string]bool{}
	for _, urls := range tiers {
		var tier []string
		for _, u := range urls {
			if u != "" && !seen[u] && len(seen) < MaxTrackers {
				seen[u] = true
				tier = append(tier, u)
			}
		}
		rnd.Shuffle(len(tier), func(i, j int) { tier[i], tier[j] = tier[j], tier[i] })
		if len(tier) > 0 {
			t.tiers = append(t.tiers, tier)
		}
	}
	return t
}

// Order lists the trackers, the one to be tried first at the front.
func (t *Tiers) Order() []string { return slices.Concat(t.tiers...) }

// Worked moves a tracker to the front of its tier.
func (t *Tiers) Worked(url string) {
	for _, tier := range t.tiers {
		if i := slices.Index(tier, url); i >= 0 {
			copy(tier[1:], tier[:i])
			tier[0] = url
			return
		}
	}
}
