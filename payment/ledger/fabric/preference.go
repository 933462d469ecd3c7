package fabric

import (
	"context"
	"sync"
	"time"
)

// Whoever stands in for the own organisation's peer costs more: each commit is
// asked of several. So the own one is asked again after returnAfter whether it
// answers, and then preferred; after twice as long each time that it had not
// stayed so for longestAway.
const (
	returnAfter = time.Second
	longestAway = time.Minute
)

// preference is which gateway is tried first: the one that worked last.
type preference struct {
	mu     sync.Mutex
	index  uint32
	abroad bool          // it is of another organisation, which stands in
	away   time.Duration // how long the own one was left alone last
	since  time.Time     // when the own one was left, asked, or returned to
	asked  bool          // the own one is being asked
}

// first returns the index of the gateway to try first.
func (p *preference) first() uint32 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.index
}

// set has a gateway tried first from now on.
func (p *preference) set(index uint32, own bool, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.index = index
	if p.abroad == !own {
		return
	}
	if !own {
		p.away = nextAway(p.away, now.Sub(p.since))
	}
	p.abroad, p.since = !own, now
}

// nextAway returns how long the own gateway is left alone, which was away so long
// before and has served for a while since.
func nextAway(away, served time.Duration) time.Duration {
	if served >= longestAway {
		return returnAfter
	}
	return min(max(returnAfter, 2*away), longestAway)
}

// due reports whether the own gateway is to be asked, and says that it is.
func (p *preference) due(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.asked || now.Sub(p.since) < p.away {
		return false
	}
	p.asked = true
	return true
}

// answered ends what due began.
func (p *preference) answered(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked, p.since = false, now
}

// goHome asks the own organisation's peers, if none is preferred, whether one has
// all that was told of meanwhile, and prefers it then.
func (c *Client) goHome() {
	if c.preferredOne().own || !c.gateways[0].own || !c.preferred.due(time.Now()) {
		return
	}
	go func() {
		defer func() { c.preferred.answered(time.Now()) }()
		for _, g := range c.gateways {
			if g.own && c.isCurrent(g) {
				c.prefer(g)
				return
			}
		}
	}()
}

// isCurrent asks a peer whether it has all that was told of.
func (c *Client) isCurrent(g *gateway) bool {
	ctx, cancel := context.WithTimeout(c.closed, evaluateTimeout)
	defer cancel()
	_, err := c.height(ctx, g)
	return err == nil
}
