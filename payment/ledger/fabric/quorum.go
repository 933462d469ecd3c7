package fabric

import (
	"context"
	"errors"
	"time"
)

// An organisation may lie, and its peer is asked all the same. What is said of
// the ledger is believed from the submitter's own organisation, or when so many
// others say the same that one of them is honest.

// grace is how long those that have not answered are waited for when the others
// do not agree. They agree as a rule when they are asked again: one of them had
// a block more.
const grace = 250 * time.Millisecond

// errDisagree means that too few organisations say the same.
var errDisagree = errors.New("too few organisations say the same about the ledger")

// statement is what a gateway's organisation says.
type statement[T any] struct {
	by   *gateway
	says T
	err  error
}

// agreed asks all gateways at once, and returns what is believed: one statement
// of the own organisation, or as many as are needed that are the same. The error
// is errDisagree, or that of a gateway.
func agreed[T any](ctx context.Context, c *Client, ask func(context.Context, *gateway) (T, error), same func(a, b T) bool) ([]statement[T], error) {
	ctx, cancel := context.WithCancel(ctx)
	said := make(chan statement[T], len(c.gateways))
	for _, g := range c.gateways {
		go func() {
			says, err := ask(ctx, g)
			said <- statement[T]{g, says, err}
		}()
	}
	h := hearing[T]{needed: c.profile.witnesses(), same: same, left: len(c.gateways)}
	believed, err := h.listen(ctx, said)
	cancel()
	for range h.left { // nobody asks on when this returns
		<-said
	}
	return believed, err
}

// hearing gathers statements until some are believed.
type hearing[T any] struct {
	needed int
	same   func(a, b T) bool
	left   int // gateways that have not answered
	heard  []statement[T]
	last   error
}

func (h *hearing[T]) listen(ctx context.Context, said <-chan statement[T]) ([]statement[T], error) {
	var late <-chan time.Time
	for h.left > 0 {
		select {
		case s := <-said:
			h.left--
			if believed := h.hear(s); believed != nil {
				return believed, nil
			}
			if late == nil && organisations(h.heard) >= h.needed {
				timer := time.NewTimer(grace)
				defer timer.Stop()
				late = timer.C
			}
		case <-late:
			return nil, errDisagree
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if len(h.heard) > 0 || h.last == nil {
		return nil, errDisagree
	}
	return nil, h.last
}

// hear adds a statement, and returns those that are believed by it, or nil.
func (h *hearing[T]) hear(s statement[T]) []statement[T] {
	if s.err != nil {
		h.last = s.err
		return nil
	}
	if s.by.own {
		return []statement[T]{s}
	}
	h.heard = append(h.heard, s)
	var alike []statement[T]
	for _, other := range h.heard {
		if h.same(s.says, other.says) {
			alike = append(alike, other)
		}
	}
	if organisations(alike) < h.needed {
		return nil
	}
	return alike
}

// organisations counts those whose statements these are.
func organisations[T any](all []statement[T]) int {
	distinct := map[string]bool{}
	for _, s := range all {
		distinct[s.by.msp] = true
	}
	return len(distinct)
}
