package node

import (
	"testing"

	"torrente/piece"
	"torrente/swarm"
)

// All blocks of a piece go to one worker, also those of its next copy if it was
// false; a new piece goes to the worker that has least to do.
func TestIntakesOfPieces(t *testing.T) {
	in := intakes{worker: map[uint32]int{}}
	for range 3 {
		in.queues = append(in.queues, make(chan swarm.Verification, 64))
	}
	put := func(index, n uint32) {
		for range n {
			in.put(swarm.Verification{Block: piece.Block{Piece: index}})
		}
	}
	lengths := func() (n [3]int) {
		for i, c := range in.queues {
			n[i] = len(c)
		}
		return n
	}
	for i, step := range []struct {
		piece, blocks uint32
		finished      bool // and the piece is right then
		want          [3]int
	}{
		{0, 4, false, [3]int{4, 0, 0}},
		{1, 2, false, [3]int{4, 2, 0}},
		{2, 5, false, [3]int{4, 2, 5}},
		{0, 1, false, [3]int{5, 2, 5}}, // with the rest of its piece
		{3, 1, false, [3]int{5, 3, 5}}, // to the shortest
		{1, 9, true, [3]int{5, 12, 5}},
		{1, 1, false, [3]int{5, 12, 6}}, // it is a piece like others again; in turn
		{4, 1, false, [3]int{6, 12, 6}},
	} {
		put(step.piece, step.blocks)
		if step.finished {
			in.finished(step.piece)
		}
		if got := lengths(); got != step.want {
			t.Errorf("step %d: %v blocks wait, want %v", i, got, step.want)
		}
	}
	if len(in.worker) != 5 {
		t.Errorf("%d pieces are known, want 5", len(in.worker))
	}
}
