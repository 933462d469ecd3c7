package fabric

import (
	"context"
	"errors"
	"reflect"
	"sync"

	"torrente/payment/ledger"
)

// testimony is what a gateway tells of one block. The gateway goes on when the
// block is decided, so that nobody runs ahead, and nothing is kept of those that
// do.
type testimony struct {
	by      *gateway
	block   ledger.Block
	err     error // the block cannot be read; of block, Height alone is set
	decided chan struct{}
}

// agreedBlocks yields blocks that enough organisations tell alike, or one of
// the own organisation, after which it returns: that one is enough again. A
// stream that breaks, or tells what cannot be, is begun anew.
func (c *Client) agreedBlocks(ctx context.Context, next *uint64, yield func(ledger.Block, error) bool) (more bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	told := make(chan testimony)
	var streams sync.WaitGroup
	defer func() { cancel(); streams.Wait() }()
	first := *next // a stream may begin when the next block is another already
	for _, g := range c.gateways {
		streams.Go(func() { c.testify(ctx, g, first, told) })
	}
	var now []testimony // of the block *next
	for {
		select {
		case t := <-told:
			if t.block.Height < *next { // it is late
				close(t.decided)
				continue
			}
			now = append(now, t)
			if !t.by.own && alike(now, t) < c.profile.witnesses() {
				continue
			}
			if t.err != nil {
				return true, t.err
			}
			c.noteHeight(t.block.Height)
			*next++
			if !yield(t.block, nil) {
				return false, nil
			}
			if t.by.own {
				return true, nil
			}
			for _, one := range now {
				close(one.decided)
			}
			now = nil
		case <-ctx.Done():
			return true, nil
		}
	}
}

// alike counts the organisations that tell what t does.
func alike(all []testimony, t testimony) int {
	distinct := map[string]bool{}
	for _, other := range all {
		if reflect.DeepEqual(other.block, t.block) && (other.err == nil) == (t.err == nil) {
			distinct[other.by.msp] = true
		}
	}
	return len(distinct)
}

// testify hands on one gateway's blocks, one at a time, until ctx is done.
func (c *Client) testify(ctx context.Context, g *gateway, next uint64, told chan<- testimony) {
	for failures := 0; ctx.Err() == nil; failures++ {
		blocks := make(chan ledger.Block)
		broken := make(chan error, 1)
		stream, cancel := context.WithCancel(ctx)
		go func() { defer close(blocks); broken <- c.stream(stream, g, next, blocks) }()
		before := next
		for b := range blocks {
			if !tell(ctx, testimony{by: g, block: b}, told) {
				break
			}
			next++
		}
		cancel()
		if err := <-broken; errors.Is(err, errBlock) {
			tell(ctx, testimony{by: g, block: ledger.Block{Height: next}, err: err}, told)
		}
		if next > before {
			failures = 0
		}
		pause(ctx, failures)
	}
}

// tell hands on one block and waits until it is decided, or ctx is done.
func tell(ctx context.Context, t testimony, told chan<- testimony) bool {
	t.decided = make(chan struct{})
	select {
	case told <- t:
	case <-ctx.Done():
		return false
	}
	select {
	case <-t.decided:
		return true
	case <-ctx.Done():
		return false
	}
}
