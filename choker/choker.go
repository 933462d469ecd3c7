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
	// newcomer is how long a peer counts as new.
	newcomer = time.Minute
)

// Candidate is a connected peer that is interested.
type Candidate struct {
	ID       uint32
	Rate     uint64    // bytes a second: what it gives us; nothing while we seed
	Credit   uint64    // coins it has paid us, aged; 0 in torrents that are free
	Unchoked bool      // it has a slot now
	Since    time.Time // when it got the slot, lost it, or came
	Came     time.Time // when it connected
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

// pickOptimistic keeps the last pick for its time, then takes another if there
// is one, with three chances for one that came within the last minute (BEP 3).
func (c *Choker) pickOptimistic(now time.Time, rest []Candidate) uint32 {
	stays := !c.chosen.IsZero() && slices.ContainsFunc(rest, func(x Candidate) bool { return x.ID == c.optimistic })
	if stays && (len(rest) == 1 || now.Sub(c.chosen) < optimisticInterval) {
		return c.optimistic
	}
	var lots []uint32
	for _, x := range rest {
		if stays && x.ID == c.optimistic {
			continue
		}
		lots = append(lots, x.ID)
		if now.Sub(x.Came) < newcomer {
			lots = append(lots, x.ID, x.ID)
		}
	}
	c.optimistic, c.chosen = lots[c.rnd.IntN(len(lots))], now
	return c.optimistic
}

// Seeding chooses when we have everything: in turn, each peer for a minute,
// those that paid most first. One that has waited for twice the time in which
// all could have had their turn goes before all that paid: everybody is served.
// The order of candidates is changed.
func (c *Choker) Seeding(now time.Time, all []Candidate) []uint32 {
	turns := (len(all) + c.slots - 1) / c.slots
	patience := 2 * turn * time.Duration(turns)
	slices.SortFunc(all, func(a, b Candidate) int {
		ra, rb := rankOf(now, &a, patience), rankOf(now, &b, patience)
		if ra != rb {
			return cmp.Compare(ra, rb)
		}
		longest := a.Since.Compare(b.Since)
		switch ra {
		case tired:
			return cmp.Or(longest, cmp.Compare(a.ID, b.ID))
		case served: // the one that was served longest goes first, so it is last here
			longest = -longest
		}
		return cmp.Or(cmp.Compare(b.Credit, a.Credit), longest, cmp.Compare(a.ID, b.ID))
	})
	return ids(all[:min(c.slots, len(all))])
}

// rank is the order in which the peers of a seed get its slots.
type rank int

const (
	inTurn  rank = iota
	tired        // waits longer than anybody should
	waiting      // waits
	served       // its turn is over, but it may stay while nobody waits
)

func rankOf(now time.Time, x *Candidate, patience time.Duration) rank {
	since := now.Sub(x.Since)
	switch {
	case x.Unchoked && since < turn:
		return inTurn
	case x.Unchoked:
		return served
	case since >= patience:
		return tired
	}
	return waiting
}

func ids(all []Candidate) []uint32 {
	out := make([]uint32, len(all))
	for i, x := range all {
		out[i] = x.ID
	}
	return out
}
