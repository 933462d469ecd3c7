package fabric

import (
	"context"
	"errors"
	"slices"
	"time"
)

// An organisation may lie, and its peer is asked all the same. What is said of
// the ledger is believed from the submitter's own organisation, or when so many
// others say the same that one of them is honest.

// grace is how long those that have not answered are waited for when the others
// do not agree. They agree as a rule when they are asked again: one of them had
// a block more. Each time that this was too short it is doubled, so that nobody
// can deny an answer by a lie that comes sooner than it; each time that it was not
// needed it is halved.
const (
	grace        = 250 * time.Millisecond
	longestGrace = evaluateTimeout
)

// graceAfter is the next grace, after one that was or was not long enough.
func graceAfter(now time.Duration, enough bool) time.Duration {
	if enough {
		return max(grace, now/2)
	}
	return min(longestGrace, max(grace, now)*2)
}

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
	h := hearing[T]{needed: c.profile.witnesses(), same: same, left: slices.Clone(c.gateways), grace: max(grace, time.Duration(c.grace.Load()))}
	believed, err := h.listen(ctx, said)
	cancel()
	switch {
	case h.cut:
		c.grace.Store(int64(graceAfter(h.grace, false)))
	case !h.disagreed:
		c.grace.Store(int64(graceAfter(h.grace, true)))
	}
	for range h.left { // nobody asks on when this returns
		<-said
	}
	return believed, err
}

// hearing gathers statements until some are believed.
type hearing[T any] struct {
	needed int
	same   func(a, b T) bool
	left   []*gateway // that have not answered
	grace  time.Duration
	heard  []statement[T]
	last   error
	// disagreed says that enough have spoken and too few said the same; cut, that
	// those that were left were not waited for any longer.
	disagreed, cut bool
}

func (h *hearing[T]) listen(ctx context.Context, said <-chan statement[T]) ([]statement[T], error) {
	var late <-chan time.Time
	for len(h.left) > 0 {
		select {
		case s := <-said:
			h.left = slices.DeleteFunc(h.left, func(g *gateway) bool { return g == s.by })
			if believed := h.hear(s); believed != nil {
				return believed, nil
			}
			if !h.disagreed && organisations(h.heard) >= h.needed {
				h.disagreed = true
				timer := time.NewTimer(h.grace)
				defer timer.Stop()
				late = timer.C
			}
			if h.disagreed && !h.open() {
				return nil, errDisagree
			}
		case <-late:
			h.cut = true
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

// open reports whether those that are left could still have something believed.
func (h *hearing[T]) open() bool {
	var might []statement[T]
	for _, g := range h.left {
		if g.own {
			return true
		}
		might = append(might, statement[T]{by: g})
	}
	if organisations(might) >= h.needed {
		return true
	}
	return slices.ContainsFunc(h.heard, func(s statement[T]) bool { return organisations(append(h.alike(s.says), might...)) >= h.needed })
}

// alike returns the statements that say the same.
func (h *hearing[T]) alike(says T) (alike []statement[T]) {
	for _, other := range h.heard {
		if h.same(says, other.says) {
			alike = append(alike, other)
		}
	}
	return alike
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
	alike := h.alike(s.says)
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
