package node

import (
	"runtime"

	"torrente/piece/store"
	"torrente/swarm"
)

// intakeBlocks is how many blocks a worker takes at a time, of those that wait
// for it: they stay in the cache of its core.
const intakeBlocks = 16

// intakes are the workers that verify and store blocks. All of a piece go to one
// of them: to that which had the fewest before it when the first one came.
type intakes struct {
	queues []chan swarm.Verification
	worker map[uint32]int // by piece, until that is right
	next   int            // if all have as many

	recent uint32 // piece: blocks of one come one after the other
	queue  chan swarm.Verification
}

// startIntakes starts the workers. partial are the blocks of unfinished pieces
// that are on disk.
func (t *Torrent) startIntakes(s *store.Store, partial map[int][]int) {
	n := workers()
	t.intakes.worker = map[uint32]int{}
	for w := range n {
		c := make(chan swarm.Verification, t.node.blocks.limit)
		t.intakes.queues = append(t.intakes.queues, c)
		in := s.NewIntake(t.node.held, t.node.blocks.put)
		for i, blocks := range partial {
			if i%n == w {
				in.Restore(i, blocks)
				t.intakes.worker[uint32(i)] = w
			}
		}
		t.workers.Go(func() {
			defer in.Close()
			t.takeIn(in, c)
		})
	}
}

// takeIn puts blocks away until there are no more to come.
func (t *Torrent) takeIn(in *store.Intake, c <-chan swarm.Verification) {
	blocks := make([]store.Incoming, 0, intakeBlocks)
	for v := range c {
		blocks = append(blocks[:0], store.Incoming{Block: v.Block, Data: v.Data, Leaf: v.Leaf})
		for waiting := len(c); waiting > 0 && len(blocks) < intakeBlocks; waiting-- {
			v := <-c // nobody else takes from it
			blocks = append(blocks, store.Incoming{Block: v.Block, Data: v.Data, Leaf: v.Leaf})
		}
		in.Put(blocks, t.tookIn)
		// Whoever waits for what was told, the loop first, would else wait until
		// the scheduler interrupts this worker, which always has something to do.
		runtime.Gosched()
	}
}

// put hands on a block. There is room for all buffers that there are.
func (in *intakes) put(v swarm.Verification) {
	if in.queue == nil || in.recent != v.Block.Piece {
		in.recent, in.queue = v.Block.Piece, in.queueOf(v.Block.Piece)
	}
	in.queue <- v
}

func (in *intakes) queueOf(piece uint32) chan swarm.Verification {
	w, begun := in.worker[piece]
	if !begun {
		w = in.idlest()
		in.worker[piece] = w
	}
	return in.queues[w]
}

// idlest is the worker with the shortest queue; of equal ones each in its turn.
func (in *intakes) idlest() int {
	best := in.next
	for i := range in.queues {
		if w := (in.next + i) % len(in.queues); len(in.queues[w]) < len(in.queues[best]) {
			best = w
		}
	}
	in.next = (best + 1) % len(in.queues)
	return best
}

// finished forgets a piece that is right. The copy of one that was false is
// compared with the next by the worker that has it.
func (in *intakes) finished(piece uint32) {
	delete(in.worker, piece)
	if in.recent == piece {
		in.queue = nil
	}
}

func (in *intakes) close() {
	for _, c := range in.queues {
		close(c)
	}
}
