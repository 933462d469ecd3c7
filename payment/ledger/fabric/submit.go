package fabric

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/hyperledger/fabric-gateway/pkg/client"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"torrente/payment/admission"
	"torrente/payment/contract"
	"torrente/payment/ledger"
	"torrente/payment/ledger/fabric/invocation"
)

// errInvalid means that Fabric committed a transaction as invalid, which is
// final: it did nothing, and never will. Another one may be made.
var errInvalid = errors.New("the transaction conflicted with others")

// Submit executes a transaction and returns when its block is committed on the
// peer that serves as gateway.
func (c *Client) Submit(ctx context.Context, s *contract.Signed) (ledger.Receipt, error) {
	one, err := admission.Identify(s)
	if err != nil {
		return ledger.Receipt{}, err
	}
	r, err := c.execute(ctx, invocation.Submit, s.Append(nil))
	if err != nil {
		return ledger.Receipt{}, fmt.Errorf("transaction %v: %w", one.ID, err)
	}
	if r.Tx != one.ID {
		return ledger.Receipt{}, fmt.Errorf("transaction %v: the chaincode answered about %v: update it", one.ID, r.Tx)
	}
	return r, nil
}

// execute calls a function until its outcome is known.
func (c *Client) execute(ctx context.Context, function string, argument []byte) (ledger.Receipt, error) {
	call, done, err := c.begin(ctx)
	if err != nil {
		return ledger.Receipt{}, err
	}
	defer done()
	for failures, conflicts := 0, 0; ; {
		g, index := c.gateway(failures)
		r, err := c.takeOver(call, g, failures, function, argument)
		if err == nil {
			if failures > 0 {
				c.preferred.Store(index)
			}
			c.noteHeight(r.Height)
			return r, nil
		}
		if f := failureIn(err); f != nil && f.Final() {
			return ledger.Receipt{}, f
		}
		if call.Err() != nil {
			return ledger.Receipt{}, c.ended(ctx, g, err)
		}
		if errors.Is(err, errInvalid) {
			conflicts++ // the gateway is well
		} else {
			failures++
		}
		pause(call, failures+conflicts)
	}
}

// takeOver attempts a call. A gateway that stands in for another must not be
// behind it: it could refuse for a reason that is gone.
func (c *Client) takeOver(ctx context.Context, g *gateway, failures int, function string, argument []byte) (ledger.Receipt, error) {
	if failures > 0 {
		if _, err := c.height(ctx, g); err != nil {
			return ledger.Receipt{}, err
		}
	}
	return c.attempt(ctx, g, function, argument)
}

// attempt has a function endorsed, and ordered if it writes.
func (c *Client) attempt(ctx context.Context, g *gateway, function string, argument []byte) (ledger.Receipt, error) {
	proposal, err := g.contract.NewProposal(function, client.WithBytesArguments(argument))
	if err != nil {
		return ledger.Receipt{}, err
	}
	endorse, cancel := context.WithTimeout(ctx, endorseTimeout)
	defer cancel()
	tx, err := proposal.EndorseWithContext(endorse)
	if err != nil {
		return ledger.Receipt{}, err
	}
	out, err := parseOutcome(tx.Result())
	if err != nil {
		return ledger.Receipt{}, err
	}
	r := ledger.Receipt{Tx: out.Tx, Code: out.Code, Items: out.Items, Coins: out.Coins}
	switch {
	case out.Wrote:
		r.Height, err = c.order(ctx, tx)
	case out.Done != "":
		r.Height, err = c.heightOf(ctx, g, out.Done)
	default:
		r.Height, err = c.height(ctx, g)
	}
	return r, err
}

func parseOutcome(b []byte) (out invocation.Outcome, err error) {
	if len(b) > invocation.MaxAnswer {
		return out, fmt.Errorf("the chaincode answered %d bytes", len(b))
	}
	if err := json.Unmarshal(b, &out); err != nil {
		return out, fmt.Errorf("the chaincode's answer cannot be read: %w", err)
	}
	return out, nil
}

// order sends an endorsed transaction to the orderers until it is committed,
// and returns its block. That a send succeeded proves nothing, and that it
// failed as little: the commit status is asked for, and if none comes the same
// bytes are sent again, by the next gateway.
func (c *Client) order(ctx context.Context, tx *client.Transaction) (uint64, error) {
	for n := 1; ; n++ {
		height, err := send(ctx, tx)
		if err == nil || errors.Is(err, errInvalid) || ctx.Err() != nil {
			return height, err
		}
		pause(ctx, n)
		signed, err := tx.Bytes() // with the signature, since send
		if err != nil {
			return 0, err
		}
		next, index := c.gateway(1)
		if tx, err = next.client.NewTransaction(signed); err != nil {
			return 0, fmt.Errorf("%s: %w", next.address, err)
		}
		// The peer that tells of the commit is the one that has it: it is asked
		// next time, too.
		c.preferred.Store(index)
	}
}

// send sends a transaction once and waits for its commit.
func send(ctx context.Context, tx *client.Transaction) (uint64, error) {
	short, cancel := context.WithTimeout(ctx, orderTimeout)
	defer cancel()
	commit, err := tx.SubmitWithContext(short)
	if err != nil {
		return 0, err
	}
	return statusOf(ctx, commit)
}

func statusOf(ctx context.Context, commit *client.Commit) (uint64, error) {
	short, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	status, err := commit.StatusWithContext(short)
	if err != nil {
		return 0, err
	}
	if status.Code != peer.TxValidationCode_VALID {
		return 0, fmt.Errorf("%w (%v)", errInvalid, status.Code)
	}
	return status.BlockNumber, nil
}
