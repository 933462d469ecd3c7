package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strconv"
	"time"

	"torrente/payment/ledger"
)

// EventBlock is the name of the events of a stream: the data of each is one
// ledger.Block, its id the height.
const EventBlock = "block"

// Events follows the ledger, see ledger.Ledger. A stream that breaks or falls
// silent is opened again behind the last block; so only ctx ends it, or an
// answer that trying again does not change, which comes last.
func (c *Client) Events(ctx context.Context, height uint64) iter.Seq2[ledger.Block, error] {
	return func(yield func(ledger.Block, error) bool) {
		height := max(height, 1)
		pause := c.pause
		for {
			before := height
			more, err := c.follow(ctx, &height, yield)
			if !more {
				return
			}
			if ctx.Err() != nil {
				yield(ledger.Block{}, ctx.Err())
				return
			}
			if !temporary(err) {
				yield(ledger.Block{}, err)
				return
			}
			if height > before {
				pause = c.pause
			}
			if !sleep(ctx, pause) {
				yield(ledger.Block{}, ctx.Err())
				return
			}
			pause = min(2*pause, longestPause)
		}
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// follow hands out the blocks of one connection, the next of which is *height.
// more is false if the caller wants no more of them.
func (c *Client) follow(ctx context.Context, height *uint64, yield func(ledger.Block, error) bool) (more bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(c.silence, func() {
		cancel(&Unreachable{c.cfg.URL, fmt.Errorf("it was silent for %s", c.silence)})
	})
	defer watch.Stop()
	answer, err := c.openStream(ctx, *height)
	if err != nil {
		return true, silentCause(ctx, err)
	}
	defer answer.Body.Close()
	s := newStream(answer.Body, func() { watch.Reset(c.silence) })
	for {
		m, err := s.next()
		switch {
		case errors.Is(err, ErrStream):
			return true, err
		case errors.Is(err, io.EOF):
			return true, &Unreachable{c.cfg.URL, errors.New("it ended the stream of events")}
		case err != nil:
			return true, silentCause(ctx, explain(ctx, c.cfg.URL, err))
		case m.event != EventBlock:
			continue
		}
		b, err := c.block(m, *height)
		if err != nil {
			return true, err
		}
		*height = b.Height + 1
		// The caller may take its time; that is not the ledger's silence.
		watch.Stop()
		if !yield(b, nil) {
			return false, nil
		}
		watch.Reset(c.silence)
	}
}

// silentCause says that the other side fell silent, if that ended ctx.
func silentCause(ctx context.Context, err error) error {
	if silent, ok := errors.AsType[*Unreachable](context.Cause(ctx)); ok {
		return silent
	}
	return err
}

// openStream asks for the blocks from height on.
func (c *Client) openStream(ctx context.Context, height uint64) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet,
		join(c.cfg.URL, PathEvents)+"?from="+strconv.FormatUint(height, 10), nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "text/event-stream")
	answer, err := c.stream.Do(r)
	if err != nil {
		return nil, explain(ctx, c.cfg.URL, err)
	}
	if answer.StatusCode == http.StatusOK {
		return answer, nil
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	if err != nil {
		return nil, explain(ctx, c.cfg.URL, err)
	}
	return nil, refusal(c.cfg.URL, answer, body)
}

// block reads a block and checks that none was left out.
func (c *Client) block(m message, height uint64) (b ledger.Block, err error) {
	if err := json.Unmarshal(m.data, &b); err != nil {
		return b, fmt.Errorf("%w (%w)", ErrStream, err)
	}
	if b.Height != height || m.id != strconv.FormatUint(height, 10) {
		return b, fmt.Errorf("%w (block %d came with id %.20q, and %d should)", ErrStream, b.Height, m.id, height)
	}
	return b, nil
}
