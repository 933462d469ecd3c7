package fabric

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/hyperledger/fabric-gateway/pkg/client"

	"torrente/payment/contract"
	"torrente/payment/ledger/fabric/invocation"
)

// settleTries is how often a query about the ledger is made again because
// blocks came meanwhile, before the height is the one from before it.
const settleTries = 5

// Query reads the state of one peer, which has all blocks that this client has
// told of.
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
	for failures := 0; ; failures++ {
		g, index := c.gateway(failures)
		a, err := c.ask(call, g, argument)
		if err == nil {
			c.preferred.Store(index)
			return a, nil
		}
		if f := failureIn(err); f != nil && f.Final() {
			return contract.Answer{}, f
		}
		if call.Err() != nil {
			return contract.Answer{}, c.ended(ctx, g, err)
		}
		pause(call, failures)
	}
}

// ask asks once, and notes the height if the ledger itself is asked about.
func (c *Client) ask(ctx context.Context, g *gateway, argument []byte) (a contract.Answer, err error) {
	before, err := c.height(ctx, g)
	if err != nil {
		return a, err
	}
	for try := 0; ; try++ {
		if a, err = evaluate(ctx, g, argument); err != nil || a.Ledger == nil {
			return a, err
		}
		after, err := c.height(ctx, g)
		if err != nil {
			return a, err
		}
		if after == before || try == settleTries {
			a.Ledger.Height = before
			c.noteHeight(before)
			return a, nil
		}
		before = after
	}
}

func evaluate(ctx context.Context, g *gateway, argument []byte) (a contract.Answer, err error) {
	short, cancel := context.WithTimeout(ctx, evaluateTimeout)
	defer cancel()
	b, err := g.contract.EvaluateWithContext(short, invocation.Query, client.WithBytesArguments(argument))
	if err != nil {
		return a, err
	}
	if len(b) > invocation.MaxAnswer {
		return a, fmt.Errorf("the chaincode answered %d bytes", len(b))
	}
	if err := json.Unmarshal(b, &a); err != nil {
		return a, fmt.Errorf("the chaincode's answer cannot be read: %w", err)
	}
	return a, nil
}
