package fabric

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"torrente/payment"
	"torrente/payment/ledger"
)

// Bounds of time. With three orderers a commit takes about 0.12 s, and 1.5 s
// when their leader has died.
const (
	endorseTimeout  = 5 * time.Second
	evaluateTimeout = 5 * time.Second
	orderTimeout    = 3 * time.Second
	defaultPatience = 60 * time.Second // of Submit and Query, with all gateways
	firstPause      = 20 * time.Millisecond
	longestPause    = 2 * time.Second
)

// maxInFlight is how many calls are under way at once. A peer refuses its 501st,
// and counts those of everybody, event streams and waiting ones too.
const maxInFlight = 256

// Client is a ledger on Hyperledger Fabric.
type Client struct {
	profile  *Profile
	who      *submitter
	gateways []*gateway
	patience time.Duration
	slots    chan struct{} // one is taken by each call under way

	preferred preference
	seen      atomic.Uint64 // the highest block that a call has told of
	grace     atomic.Int64  // a time.Duration, of hearings; 0: the shortest
	pace      pace          // of commits

	// For figures: how often calls that may write were attempted, and how many of
	// those were committed as invalid.
	attempts, conflicts atomic.Uint64

	closed  context.Context // done when Close was called
	close   context.CancelFunc
	closing sync.Once
}

var _ ledger.Ledger = (*Client)(nil)

// Unreachable means that no gateway gave an answer that is final. What was sent
// may be executed yet: send the same Signed again.
type Unreachable struct {
	Address string // of the gateway that was tried last
	Err     error
}

func (e *Unreachable) Error() string {
	return fmt.Sprintf("the ledger on Fabric does not answer (%s: %v): check the network, or try again later", e.Address, e.Err)
}

// Unwrap returns why.
func (e *Unreachable) Unwrap() error { return e.Err }

// New makes a client, which connects when it is first used. The caller must
// Close it. The errors are ErrProfile and those of the profile's files.
func New(p *Profile) (*Client, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	who, err := p.submitter()
	if err != nil {
		return nil, err
	}
	c := &Client{profile: p, who: who, patience: defaultPatience, slots: make(chan struct{}, maxInFlight)}
	c.closed, c.close = context.WithCancel(context.Background())
	for _, at := range ownFirst(p) {
		g, err := p.dial(at, who)
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		c.gateways = append(c.gateways, g)
	}
	return c, nil
}

// ownFirst puts the gateways that are believed before the others.
func ownFirst(p *Profile) []Gateway {
	all := slices.Clone(p.Gateways)
	slices.SortStableFunc(all, func(a, b Gateway) int { return cmp.Compare(stranger(a, p), stranger(b, p)) })
	return all
}

func stranger(g Gateway, p *Profile) int {
	if g.MSP == p.MSP {
		return 0
	}
	return 1
}

// ID returns the ledger's id, as the profile says. Every transaction names it.
func (c *Client) ID() payment.LedgerID { return c.profile.Ledger }

// Close ends calls under way, streams of events and connections.
func (c *Client) Close() (err error) {
	c.closing.Do(func() {
		c.close()
		for _, g := range c.gateways {
			err = errors.Join(err, g.client.Close(), g.conn.Close())
		}
	})
	return err
}

// begin takes a slot. The context that it returns ends with ctx, with the
// client, and with what patience there is; done gives everything back.
func (c *Client) begin(ctx context.Context) (call context.Context, done func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	c.goHome()
	call, cancel := context.WithTimeout(ctx, c.patience)
	stop := context.AfterFunc(c.closed, cancel)
	select {
	case c.slots <- struct{}{}:
		return call, func() { stop(); cancel(); <-c.slots }, nil
	case <-call.Done():
		stop()
		cancel()
		return nil, nil, c.ended(ctx, c.preferredOne(), errBusy)
	}
}

// errBusy means that no slot was given back for as long as a call may take.
var errBusy = fmt.Errorf("%d calls are under way already", maxInFlight)

// ended says why a call that has ended without an answer did: the caller's
// context, Close, or last, which is what was tried last.
func (c *Client) ended(ctx context.Context, g *gateway, last error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case c.closed.Err() != nil:
		return ledger.ErrClosed
	}
	return &Unreachable{g.address, last}
}

// gateway returns the one to try after so many failures, of which the first was tried
// first: each once, whatever others prefer meanwhile.
func (c *Client) gateway(first uint32, failures int) *gateway {
	return c.gateways[(first+uint32(failures))%uint32(len(c.gateways))]
}

// preferredOne returns the one to try first.
func (c *Client) preferredOne() *gateway { return c.gateway(c.preferred.first(), 0) }

// after returns the gateway to try when one has failed: the one that is preferred by
// now, or the next.
func (c *Client) after(failed *gateway) *gateway {
	first := c.preferred.first()
	if g := c.gateway(first, 0); g != failed {
		return g
	}
	return c.gateway(first, 1)
}

// prefer has a gateway tried first from now on.
func (c *Client) prefer(g *gateway) {
	c.preferred.set(uint32(slices.Index(c.gateways, g)), g.own, time.Now())
}

// noteHeight remembers a block that a caller is told of.
func (c *Client) noteHeight(height uint64) {
	for {
		before := c.seen.Load()
		if height <= before || c.seen.CompareAndSwap(before, height) {
			return
		}
	}
}

// pause waits before the n-th repetition: so long that whoever conflicts does
// not meet again, and no longer than ctx lasts.
func pause(ctx context.Context, n int) {
	longest := min(firstPause<<min(n, 10), longestPause)
	timer := time.NewTimer(firstPause/2 + rand.N(longest))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
