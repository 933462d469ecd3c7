package federation

import (
	"context"
	"iter"
	"sync"
	"time"

	"torrente/payment/ledger"
)

// Bounds of a feed. The portal that has the ledger lets one account have
// maxAccountStream streams: one is the feed's own, and those that read old
// blocks for members are fewer than the rest.
const (
	feedBlocks   = 1024    // that are kept, the last ones
	feedEvents   = 1 << 16 // in them together
	oldStreams   = 4       // that read blocks which are kept no more
	oldBlocks    = 64      // that one of them reads before the next member's turn
	oldBlocksFor = 20 * time.Second
)

// feed tells the blocks of a ledger that is elsewhere to all members, while the
// portal reads them once. It keeps the last ones; each member takes them at its
// own pace, and holds nothing. What is kept no more is read anew, some of it at a
// time and for a few members at a time.
type feed struct {
	old chan struct{} // a place for each stream of old blocks

	mu     sync.Mutex // guards the following
	blocks []ledger.Block
	events int           // in blocks
	last   uint64        // height of the last block; before it come blocks
	change chan struct{} // closed with the next block
}

func newFeed() *feed {
	return &feed{old: make(chan struct{}, oldStreams), change: make(chan struct{})}
}

// begin says up to which height the ledger was read before the feed.
func (f *feed) begin(height uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if height > f.last {
		f.blocks, f.events, f.last = nil, 0, height
	}
}

// add tells a block to all. One that comes again is told once.
func (f *feed) add(b ledger.Block) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if b.Height <= f.last {
		return
	}
	f.blocks, f.last = append(f.blocks, b), b.Height
	f.events += len(b.Events)
	drop := 0
	for ; len(f.blocks)-drop > 1 && (len(f.blocks)-drop > feedBlocks || f.events > feedEvents); drop++ {
		f.events -= len(f.blocks[drop].Events)
		f.blocks[drop] = ledger.Block{} // the memory is free at once
	}
	f.blocks = f.blocks[drop:]
	close(f.change)
	f.change = make(chan struct{})
}

// at returns the blocks from a height on that are kept. If there are none, the
// height is that of a block to come, and change is closed with the next; or it is
// older than what is kept, up to until.
func (f *feed) at(height uint64) (blocks []ledger.Block, until uint64, change <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	first := f.last + 1 - uint64(len(f.blocks))
	switch {
	case height < first:
		return nil, first - 1, nil
	case height > f.last:
		return nil, 0, f.change
	}
	return append(blocks, f.blocks[height-first:]...), 0, nil
}

// from yields every block from a height on until ctx ends, like the ledger's own
// Events, by which it reads old ones.
func (f *feed) from(ctx context.Context, height uint64, read func(context.Context, uint64) iter.Seq2[ledger.Block, error]) iter.Seq2[ledger.Block, error] {
	return func(yield func(ledger.Block, error) bool) {
		for next := max(height, 1); ; {
			blocks, until, change := f.at(next)
			var err error
			switch {
			case change != nil:
				select {
				case <-change:
				case <-ctx.Done():
					err = ctx.Err()
				}
			case until != 0:
				blocks, err = f.readOld(ctx, next, until, read)
			}
			for _, b := range blocks {
				if !yield(b, nil) {
					return
				}
				next = b.Height + 1
			}
			if err != nil {
				yield(ledger.Block{}, err)
				return
			}
		}
	}
}

// readOld reads some of the blocks up to a height, when there is a place. They
// are held until their member has taken them, and the place is not: a slow member
// keeps nobody waiting.
func (f *feed) readOld(ctx context.Context, next, until uint64, read func(context.Context, uint64) iter.Seq2[ledger.Block, error]) (blocks []ledger.Block, err error) {
	select {
	case f.old <- struct{}{}:
		defer func() { <-f.old }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, oldBlocksFor)
	defer cancel()
	until = min(until, next+oldBlocks-1)
	for b, err := range read(ctx, next) {
		if err != nil {
			return blocks, err // a member asks again behind what it got
		}
		if blocks = append(blocks, b); b.Height >= until {
			break
		}
	}
	return blocks, nil
}

// blocksFrom is the ledger's Events for a member. The embedded ledger has as many
// readers as there are; one that is elsewhere has one, which is this portal.
func (f *Federation) blocksFrom(ctx context.Context, height uint64) iter.Seq2[ledger.Block, error] {
	all := f.feed.from(ctx, height, f.ledger.Events)
	if f.books != nil {
		all = f.books.Events(ctx, height)
	}
	return func(yield func(ledger.Block, error) bool) {
		for b, err := range all {
			if err == nil {
				err = f.upTo(ctx, b)
			}
			if !yield(b, err) || err != nil {
				return
			}
		}
	}
}
