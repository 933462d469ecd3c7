package fabric

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"time"

	"torrente/payment/contract"
	"torrente/payment/ledger/fabric/invocation"
)

// settleTries is how often a query about the ledger is made again because
// blocks came meanwhile, before the height is the one from before it.
const settleTries = 5

// sameClock is how far apart the clocks of organisations that say the same may
// be: a wrong clock is a lie, too.
const sameClock = time.Minute

// reply is what a peer says to a query: an answer, or that it is malformed.
type reply struct {
	answer  contract.Answer
	refusal error
}

// Query reads the state of the own organisation's peer, or one that enough other
// organisations agree on. It has all blocks that this client has told of.
func (c *Client) Query(ctx context.Context, q contract.Query) (contract.Answer, error) {
	argument, err := json.Marshal(q)
	if err != nil || len(argument) > invocation.MaxQuery {
		return contract.Answer{}, fmt.Errorf("%w (%d bytes)", contract.ErrQuery, len(argument))
	}
	call, done, err := c.begin(ctx)
	if err != nil {
		return contract.Answer{}, err
	}
	defer done()
	var last error
	for first, failures := c.preferred.first(), 0; ; failures++ {
		g := c.gateway(first, failures)
		r, err := c.believe(call, g, func(ctx context.Context, g *gateway) (reply, error) { return c.reply(ctx, g, argument) })
		switch {
		case err == nil && r.refusal != nil:
			return contract.Answer{}, r.refusal
		case err == nil:
			return r.answer, nil
		case call.Err() != nil:
			return contract.Answer{}, c.ended(ctx, g, cmp.Or(last, err))
		}
		last = err
		pause(call, failures)
	}
}

// believe asks the gateway g alone if it is of the own organisation, and
// everybody if it is not or does not answer.
func (c *Client) believe(ctx context.Context, g *gateway, ask func(context.Context, *gateway) (reply, error)) (reply, error) {
	if g.own {
		if r, err := ask(ctx, g); err == nil {
			c.told(r.answer)
			return r, nil
		}
	}
	all, err := agreed(ctx, c, ask, sameReply)
	if err != nil {
		return reply{}, err
	}
	if by := all[0].by; !by.own || g.own { // else goHome knows when the own one is preferred again
		c.prefer(by)
	}
	r := middle(all)
	c.told(r.answer)
	return r, nil
}

// told remembers the height that an answer tells of.
func (c *Client) told(a contract.Answer) {
	if a.Ledger != nil {
		c.noteHeight(a.Ledger.Height)
	}
}

// sameReply compares what two peers say, but for their heights and clocks.
func sameReply(a, b reply) bool {
	if a.refusal != nil || b.refusal != nil {
		return a.refusal != nil && b.refusal != nil && sameRefusal(a.refusal, b.refusal)
	}
	apart := time.Duration(int64(a.answer.Time)-int64(b.answer.Time)) * time.Second
	return apart.Abs() <= sameClock && reflect.DeepEqual(plain(a.answer), plain(b.answer))
}

// plain is an answer without what peers differ in.
func plain(a contract.Answer) contract.Answer {
	a.Time = 0
	if a.Ledger != nil {
		info := *a.Ledger
		info.Height, a.Ledger = 0, &info
	}
	return a
}

// middle is what several say who agree: the time in the middle, and the least
// height, which an honest one among them has.
func middle(all []statement[reply]) reply {
	slices.SortFunc(all, func(a, b statement[reply]) int { return int(int64(a.says.answer.Time) - int64(b.says.answer.Time)) })
	r := all[len(all)/2].says
	if r.answer.Ledger != nil {
		info := *r.answer.Ledger
		for _, s := range all {
			info.Height = min(info.Height, s.says.answer.Ledger.Height)
		}
		r.answer.Ledger = &info
	}
	return r
}

// reply asks one peer once, and adds the height if the ledger itself is asked
// about.
func (c *Client) reply(ctx context.Context, g *gateway, argument []byte) (r reply, err error) {
	if r, current, err := c.replyAtOnce(ctx, g, argument); current || err != nil {
		return r, err
	}
	before, err := c.height(ctx, g)
	if err != nil {
		return refused(g, err)
	}
	if g.own {
		g.commits.open(c.closed, before)
	}
	for try := 0; ; try++ {
		r, err = answer(ctx, g, argument)
		if err != nil || r.answer.Ledger == nil {
			return r, err
		}
		after, err := c.height(ctx, g)
		if err != nil {
			return r, err
		}
		if after == before || try == settleTries {
			r.answer.Ledger.Height = before
			return r, nil
		}
		before = after
	}
}

// replyAtOnce asks a peer whose stream of blocks has told of all that this client
// knows. current is false if it has not, or broke meanwhile: another process may
// have answered then, which is behind.
func (c *Client) replyAtOnce(ctx context.Context, g *gateway, argument []byte) (r reply, current bool, err error) {
	if !g.own {
		return r, false, nil
	}
	seen := c.seen.Load()
	stream, height := g.commits.reached()
	if height == 0 || height < seen {
		return r, false, nil
	}
	if r, err = answer(ctx, g, argument); err != nil {
		return r, false, err
	}
	if r.answer.Ledger != nil {
		r.answer.Ledger.Height = height
	}
	return r, stream.done.Err() == nil, nil
}

// refused makes an error that is final what the gateway's organisation says.
func refused(g *gateway, err error) (reply, error) {
	if refusal := refusalOf(err, g.msp); refusal != nil {
		return reply{refusal: refusal}, nil
	}
	return reply{}, err
}

func answer(ctx context.Context, g *gateway, argument []byte) (r reply, err error) {
	b, err := g.evaluate(ctx, g.contract, invocation.Query, argument)
	if err != nil {
		return refused(g, err)
	}
	return r, parse(b, &r.answer)
}

// parse reads what a function of the chaincode answered.
func parse(b []byte, into any) error {
	if len(b) > invocation.MaxAnswer {
		return fmt.Errorf("the chaincode answered %d bytes", len(b))
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("the chaincode's answer cannot be read: %w", err)
	}
	return nil
}
