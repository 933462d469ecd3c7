package fabric

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/hyperledger/fabric-gateway/pkg/client"

	"torrente/payment/ledger"
)

// errStream means that a gateway's stream of blocks is not as it should be.
var errStream = errors.New("the peer's stream of blocks has a gap: ask its operator")

// silence is how long a stream may lack a block that is known to be there. One
// that has nothing to tell may be silent for ever.
const silence = 5 * time.Second

// Events yields every block of the channel from height on, also those that
// hold nothing of ours, with no events. They come from a peer of the own
// organisation; when there is none, or its stream breaks, from all peers, until
// one of the own organisation has told of a block again. The caller's height is
// the checkpoint: it is kept by whoever handles the blocks, after handling one.
func (c *Client) Events(ctx context.Context, height uint64) iter.Seq2[ledger.Block, error] {
	return func(yield func(ledger.Block, error) bool) {
		next := max(height, 1)
		for at, failures := 0, 0; ; {
			before := next
			own := c.gateways[at].own
			more, err := c.someBlocks(ctx, at, &next, yield)
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
				yield(ledger.Block{}, err)
				return
			}
			at++
			if next > before && !own {
				at = 0 // one of the own organisation tells of blocks again
			}
			at %= len(c.gateways)
			if failures++; next > before {
				failures = 0 // it worked for a while
			}
			pause(ctx, failures)
		}
	}
}

// someBlocks yields blocks, of the gateway at an index if it is the own
// organisation's, until whoever tells of them falls silent. more is false if the
// caller wants no more; an error is final.
func (c *Client) someBlocks(ctx context.Context, at int, next *uint64, yield func(ledger.Block, error) bool) (more bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.closed, cancel)()
	if g := c.gateways[at]; g.own {
		return c.ownBlocks(ctx, g, next, yield)
	}
	return c.agreedBlocks(ctx, next, yield)
}

// ownBlocks yields the blocks of one gateway, which is believed.
func (c *Client) ownBlocks(ctx context.Context, g *gateway, next *uint64, yield func(ledger.Block, error) bool) (more bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	told := make(chan ledger.Block)
	broken := make(chan error, 1)
	go func() { broken <- c.stream(ctx, g, *next, told) }()
	look := time.NewTicker(silence)
	defer look.Stop()
	for heard := true; ; {
		select {
		case b := <-told:
			heard = true
			c.noteHeight(b.Height)
			*next++
			if !yield(b, nil) {
				cancel()
				<-broken
				return false, nil
			}
		case err := <-broken:
			return true, err
		case <-look.C:
			if !heard && c.seen.Load() >= *next {
				cancel()
				<-broken
				return true, nil
			}
			heard = false
		}
	}
}

// stream hands on blocks from one gateway until the stream breaks, which is no
// error, or the gateway tells what cannot be.
func (c *Client) stream(ctx context.Context, g *gateway, next uint64, to chan<- ledger.Block) error {
	ctx, cancel := context.WithCancel(ctx)
	blocks, err := g.network.BlockEvents(ctx, client.WithStartBlock(next))
	if err != nil {
		cancel()
		return nil // as a stream that broke at once
	}
	defer drain(cancel, blocks)
	for b := range blocks {
		if got := b.GetHeader().GetNumber(); got != next {
			return fmt.Errorf("%s: %w (block %d, not %d)", g.address, errStream, got, next)
		}
		block, err := decode(b, c.profile.Chaincode)
		if err != nil {
			return fmt.Errorf("%s: %w", g.address, err)
		}
		next++
		select {
		case to <- block:
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}
