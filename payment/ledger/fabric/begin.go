package fabric

import (
	"context"
	"fmt"

	"torrente/payment/contract"
	"torrente/payment/ledger/fabric/invocation"
)

// Begin writes what the ledger begins with, if it has not begun. The document
// must be the one that the profile's ledger is named for, and the endorsers'.
func (c *Client) Begin(ctx context.Context, document []byte) error {
	if _, err := contract.ParseGenesis(document); err != nil {
		return err
	}
	if id := contract.GenesisID(document); id != c.ID() {
		return fmt.Errorf("%w: it begins the ledger %v, and the profile is of %v", contract.ErrGenesis, id, c.ID())
	}
	if c.begun(ctx) {
		return nil
	}
	if _, err := c.execute(ctx, invocation.Begin, document); err != nil && !c.begun(ctx) {
		return fmt.Errorf("begin the ledger: %w", err)
	}
	return nil
}

// begun asks once: a ledger without a state is an error like others.
func (c *Client) begun(ctx context.Context) bool {
	all, err := agreed(ctx, c, func(ctx context.Context, g *gateway) (reply, error) {
		return answer(ctx, g, []byte(`{"kind":"`+string(contract.QueryLedger)+`"}`))
	}, sameReply)
	if err != nil {
		return false
	}
	a := all[0].says.answer
	return a.Ledger != nil && a.Ledger.ID == c.ID()
}
