// Package choker chooses which peers may download from us: those that give to
// us, or have paid us, and now and then one that has not, to learn what it
// would give (BEP 3 "choking").
//
// It neither measures rates nor sends messages; package swarm does.
package choker

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"
)

// The times after which a choice is made anew (BEP 3).
const (
	Interval           = 10 * time.Second
	optimisticInterval = 30 * time.Second
	// turn is how long a peer of a seed keeps its slot while others wait.
	turn = time.Minute
)

// Candidate is a connected peer that is interested.
type Candidate struct {
	ID       uint32
	Rate     uint64    // bytes a second: what it gives us; nothing while we seed
	Credit   uint64    // coins it has paid us, aged; 0 in torrents that are free
	Unchoked bool      // it has a slot now
	Since    time.Time // when it got the slot, lost it, or came
}

// Choker remembers the optimistic unchoke between choices.
type Choker struct {
	slots      int
	rnd        *rand.Rand
	optimistic uint32
	chosen     time.Time // when the optimistic one was; zero: never
}

// New makes a Choker of at least two slots, one of them optimistic.
func New(slots int, seed uint64) *Choker {
	return &Choker{slots: max(2, slots), rnd: rand.New(rand.NewPCG(seed, 1))}
}

// Slots is the number of peers unchoked at a time.
func (c *Choker) Slots() int { return c.slots }

// Downloading chooses while we need data ourselves: the slots go to those that
// give most, one to another picked at random for half a minute. The order of
// candidates is changed.
func (c *Choker) Downloading(now time.Time, all []Candidate) []uint32 {
	slices.SortFunc(all, func(a, b Candidate) int {
		return cmp.Or(cmp.Compare(b.Credit, a.Credit), cmp.Compare(b.Rate, a.Rate), cmp.Compare(a.ID, b.ID))
	})
	best := min(c.slots-1, len(all))
	chosen := ids(all[:best])
	if rest := all[best:]; len(rest) > 0 {
		chosen = append(chosen, c.pickOptimistic(now, rest))
	}
	return chosen
}

// pickOptimistic keeps the last pick for its time, then takes another, with
// three chances for one that came within the last minute (BEP 3).
func (c *Choker) pickOptimistic(now time.Time, rest []Candidate) uint32 {
	stays := slices.ContainsFunc(rest, func(x Candidate) bool { return x.ID == c.optimistic })
	if stays && now.Sub(c.chosen) < optimisticInterval {
		return c.optimistic
	}
	var lots []uint32
	for _, x := range rest {
		lots = append(lots, x.ID)
		if !x.Unchoked && now.Sub(x.Since) < time.Minute {
			lots = append(lots, x.ID, x.ID)
		}
	}
	c.optimistic, c.chosen = lots[c.rnd.IntN(len(lots))], now
	return c.optimistic
}

// Seeding chooses when we have everything: in turn, each peer for a minute,
// those that paid most first, then those that wait longest.
func (c *Choker) Seeding(now time.Time, all []Candidate) []uint32 {
	inTurn := func(x Candidate) bool { return x.Unchoked && now.Sub(x.Since) < turn }
	slices.SortFunc(all, func(a, b Candidate) int {
		if inTurn(a) != inTurn(b) {
			if inTurn(a) {
				return -1
			}
			return 1
		}
		if a.Unchoked != b.Unchoked { // a turn that is over goes behind those who wait
			if b.Unchoked {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(b.Credit, a.Credit), a.Since.Compare(b.Since), cmp.Compare(a.ID, b.ID))
	})
	return ids(all[:min(c.slots, len(all))])
}

func ids(all []Candidate) []uint32 {
	out := make([]uint32, len(all))
	for i, x := range all {
		out[i] = x.ID
	}
	return out
}
