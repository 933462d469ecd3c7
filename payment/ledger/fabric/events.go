package fabric

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/hyperledger/fabric-gateway/pkg/client"

	"torrente/payment/ledger"
)

// errStream means that a gateway's stream of blocks is not as it should be.
var errStream = errors.New("the peer's stream of blocks has a gap: ask its operator")

// Events yields every block of the channel from height on, also those that
// hold nothing of ours, with no events. A stream that breaks is gone on with,
// at the next block, through the next gateway. The caller's height is the
// checkpoint: it is kept by whoever handles the blocks, after handling one.
func (c *Client) Events(ctx context.Context, height uint64) iter.Seq2[ledger.Block, error] {
	return func(yield func(ledger.Block, error) bool) {
		next := max(height, 1)
		for failures := 0; ; failures++ {
			before := next
			g, _ := c.gateway(failures)
			more, err := c.stream(ctx, g, &next, yield)
			switch {
			case !more:
				return
			case ctx.Err() != nil:
				yield(ledger.Block{}, ctx.Err())
				return
			case c.closed.Err() != nil:
				yield(ledger.Block{}, ledger.ErrClosed)
				return
			case err != nil:
				yield(ledger.Block{}, fmt.Errorf("%s: %w", g.address, err))
				return
			}
			if next > before {
				failures = 0 // it worked for a while
			}
			pause(ctx, failures)
		}
	}
}

// stream yields blocks from one gateway until the stream breaks. more is false
// if the caller wants no more; an error is final.
func (c *Client) stream(ctx context.Context, g *gateway, next *uint64, yield func(ledger.Block, error) bool) (more bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.closed, cancel)()
	blocks, err := g.network.BlockEvents(ctx, client.WithStartBlock(*next))
	if err != nil {
		return true, nil // as a stream that broke at once
	}
	for b := range blocks {
		if got := b.GetHeader().GetNumber(); got != *next {
			return true, fmt.Errorf("%w (block %d, not %d)", errStream, got, *next)
		}
		block, err := decode(b, c.profile.Chaincode)
		if err != nil {
			return true, err
		}
		c.noteHeight(block.Height)
		*next++
		if !yield(block, nil) {
			return false, nil
		}
	}
	return true, nil
}
