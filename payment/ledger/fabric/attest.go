package fabric

import (
	"context"
	"errors"
	"slices"

	"torrente/payment/ledger"
	"torrente/payment/ledger/fabric/invocation"
)

// errUncommitted means that a peer would execute the transaction now.
var errUncommitted = errors.New("the transaction is not on the ledger yet")

// attestation is what a peer says has become of a transaction of ours.
type attestation struct {
	receipt ledger.Receipt
	done    string // Fabric's id of the transaction that wrote it, or empty
}

// attested asks for the outcome of a submitted transaction that is final without
// being ordered: it was refused, or executed before.
func (c *Client) attested(ctx context.Context, argument []byte) (ledger.Receipt, error) {
	all, err := agreed(ctx, c, func(ctx context.Context, g *gateway) (attestation, error) { return c.attest(ctx, g, argument) }, sameAttestation)
	if err != nil {
		return ledger.Receipt{}, err
	}
	r := all[0].says.receipt
	for _, s := range all { // of one that wrote nothing, the least: an honest peer has it
		r.Height = min(r.Height, s.says.receipt.Height)
	}
	return r, nil
}

// attest has one peer execute a transaction without ordering it.
func (c *Client) attest(ctx context.Context, g *gateway, argument []byte) (a attestation, err error) {
	b, err := g.evaluate(ctx, g.contract, invocation.Submit, argument)
	if err != nil {
		return a, err
	}
	var out invocation.Outcome
	if err := parse(b, &out); err != nil {
		return a, err
	}
	if out.Wrote {
		return a, errUncommitted
	}
	a = attestation{receiptOf(&out), out.Done}
	a.receipt.Height, err = c.judgedAt(ctx, g, &out)
	return a, err
}

func sameAttestation(a, b attestation) bool {
	return a.done == b.done && (a.done == "" || a.receipt.Height == b.receipt.Height) && a.receipt.Tx == b.receipt.Tx &&
		a.receipt.Code == b.receipt.Code && a.receipt.Coins == b.receipt.Coins && slices.Equal(a.receipt.Items, b.receipt.Items)
}

// committed asks in which block a Fabric transaction is valid.
func (c *Client) committed(ctx context.Context, fabricID string) (uint64, error) {
	all, err := agreed(ctx, c, func(ctx context.Context, g *gateway) (uint64, error) { return c.heightOf(ctx, g, fabricID) },
		func(a, b uint64) bool { return a == b })
	if err != nil {
		return 0, err
	}
	return all[0].says, nil
}
