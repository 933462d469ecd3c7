package piece

import "math/rand/v2"

// availability keeps the pieces that are still wanted sorted by how many peers
// have them, so that the rarest are found first (BEP 3 "rarest first"). A have
// message costs O(1): the piece swaps places with the last of its count, as in
// a bucket sort that is always done. Pieces of one count stand in random order.
type availability struct {
	count []uint32 // peers that have the piece, by piece; those with everything not counted
	order []uint32 // wanted pieces, rarest first
	place []int32  // where a piece stands in order, by piece; -1: not wanted
	ends  []int    // ends[c]: the end of the run of count c in order
}

func newAvailability(want []uint32, pieces int, rnd *rand.Rand) *availability {
	a := &availability{
		count: make([]uint32, pieces), order: want,
		place: make([]int32, pieces), ends: []int{len(want)},
	}
	rnd.Shuffle(len(want), func(i, j int) { want[i], want[j] = want[j], want[i] })
	for i := range a.place {
		a.place[i] = -1
	}
	for i, p := range want {
		a.place[p] = int32(i)
	}
	return a
}

// more counts one more peer that has the piece.
func (a *availability) more(piece int) {
	c := a.count[piece]
	a.count[piece]++
	for int(c)+1 >= len(a.ends) {
		a.ends = append(a.ends, len(a.order))
	}
	if a.place[piece] < 0 {
		return
	}
	a.swap(int(a.place[piece]), a.ends[c]-1)
	a.ends[c]--
}

// fewer counts one peer less.
func (a *availability) fewer(piece int) {
	c := a.count[piece]
	a.count[piece]--
	if a.place[piece] < 0 {
		return
	}
	a.swap(int(a.place[piece]), a.ends[c-1])
	a.ends[c-1]++
}

// drop takes a piece out of the wanted ones.
func (a *availability) drop(piece int) {
	if a.place[piece] < 0 {
		return
	}
	// The hole moves to the end, run by run.
	for c := int(a.count[piece]); c < len(a.ends); c++ {
		a.swap(int(a.place[piece]), a.ends[c]-1)
		a.ends[c]--
	}
	a.order = a.order[:len(a.order)-1]
	a.place[piece] = -1
}

// add makes a piece wanted again: as drop, backwards.
func (a *availability) add(piece int) {
	if a.place[piece] >= 0 {
		return
	}
	a.place[piece] = int32(len(a.order))
	a.order = append(a.order, uint32(piece))
	for c := len(a.ends) - 1; c > int(a.count[piece]); c-- {
		a.ends[c]++
		a.swap(int(a.place[piece]), a.ends[c-1])
	}
	a.ends[a.count[piece]]++
}

func (a *availability) swap(i, j int) {
	a.order[i], a.order[j] = a.order[j], a.order[i]
	a.place[a.order[i]], a.place[a.order[j]] = int32(i), int32(j)
}
