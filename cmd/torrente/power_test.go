package main

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"torrente/payment"
)

const (
	// cutsVariable says how often each side loses power, cutSeedVariable where.
	cutsVariable    = "TORRENTE_POWER_CUTS"
	cutSeedVariable = "TORRENTE_POWER_SEED"
	// fewCuts is how often without it.
	fewCuts = 4
	// cutFunds is enough to buy everything again after each of a round's cuts.
	cutFunds = (2 + roundKills) * 2 * killUnits
)

// Whoever loses power, at whatever write, send or submit, and keeps only what was
// synced: what was counted can be redeemed when the other side is there, what is
// owed is paid, and what is on the disk is paid once. Of an answer of the ledger
// nothing is lost.
func TestPowerLossOwesNothing(t *testing.T) {
	needDisks(t)
	t.Parallel()
	f := newFair(t, cutsVariable, fewCuts, cutSeedVariable)
	f.funds = cutFunds
	f.foundOnDisks()
	for f.buyer.kills < f.wanted || f.seller.kills < f.wanted || f.bank.kills < f.wanted {
		r := f.newRound()
		switch {
		case f.buyer.kills < f.wanted:
			r.killBuyers(f.wanted)
		case f.seller.kills < f.wanted:
			r.killSellers(f.wanted)
		default:
			r.cutBanks(f.wanted)
		}
		r.settle()
	}
	f.checkBooks()
	f.checkPoints()
}

// losses are what power took, in units.
type losses struct {
	cuts      int
	units     uint64 // that were on the disk
	forgotten uint64 // records that they are owed
	links     uint64 // that the seller had counted
}

// losePower cuts the power of a side that was killed; one time of four it is
// only killed, so that its next process syncs what this one wrote.
func (r *round) losePower(v *victim) {
	r.t.Helper()
	if r.rng.IntN(4) == 0 {
		return
	}
	var units map[int]bool
	before := r.memory
	v.disk.cut(func() { units = r.unitsOnDisk() })
	r.memory = newMemory()
	r.memory.closed = before.closed
	r.look(v)
	r.cut.cuts++
	if v == r.seller && len(units) == killUnits {
		// A buyer that has everything does not come back to show its links again:
		// those of the last 100 ms may be lost.
		r.deserted = true
	}
	now := r.unitsOnDisk()
	for u := range units {
		if !now[u] {
			r.cut.units++
		}
	}
	for id, owed := range before.owed {
		for u := range owed {
			if !r.memory.owed[id][u] {
				r.cut.forgotten++
			}
		}
	}
	r.compareLinks(&before)
	r.t.Logf("%s: the %s lost power at %q: %+v", r.name, v.home, v.deaths[len(v.deaths)-1:], r.cut)
}

// compareLinks notes which links power took, and remembers the deepest ones.
func (r *round) compareLinks(before *memory) {
	r.t.Helper()
	for id, counted := range before.counted {
		left := r.memory.counted[id]
		if left < counted && before.closed[id] {
			r.t.Errorf("link %d of %v was counted when it was closed, and %d is left", counted, id, left)
		}
		r.cut.links += uint64(counted - min(counted, left))
	}
	r.memory.before = before.before
	for id, counted := range before.counted {
		r.memory.before[id] = max(r.memory.before[id], counted)
	}
	if len(r.memory.owed) == 0 {
		r.memory.owed = map[payment.CommitmentID]map[uint32]bool{}
	}
	maps.DeleteFunc(r.memory.owed, func(_ payment.CommitmentID, owed map[uint32]bool) bool { return len(owed) == 0 })
}

// unitsOnDisk are the units of the goods that are in the buyer's folder.
func (r *round) unitsOnDisk() map[int]bool {
	r.t.Helper()
	want, err := os.ReadFile(r.path(r.name))
	r.fine(err)
	got, err := os.ReadFile(filepath.Join(r.bought(), r.name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.t.Fatal(err)
	}
	units := map[int]bool{}
	for u := range killUnits {
		at, end := u<<14, (u+1)<<14
		if end <= len(got) && bytes.Equal(got[at:end], want[at:end]) {
			units[u] = true
		}
	}
	return units
}
