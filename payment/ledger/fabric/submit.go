package fabric

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

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
	said := refusals{}
	var last error
	for first, failures, conflicts := c.preferred.first(), 0, 0; ; {
		g := c.gateway(first, failures)
		r, err := c.takeOver(call, g, failures, function, argument)
		if err == nil {
			if failures > 0 {
				c.prefer(g)
			}
			c.noteHeight(r.Height)
			return r, nil
		}
		if call.Err() != nil {
			return ledger.Receipt{}, c.ended(ctx, g, cmp.Or(last, err))
		}
		last = err
		conflict := errors.Is(err, errInvalid)
		if conflict {
			conflicts++
			c.conflicts.Add(1)
		}
		if !conflict || !g.own { // a gateway of ours that tells of a conflict is well
			failures++
		}
		said.note(g, err)
		if err := said.believed(c.profile, failures >= len(c.gateways)); err != nil {
			return ledger.Receipt{}, err
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

// attempt has a function endorsed, and ordered if it writes. What a gateway of
// ours tells is what a majority endorsed. What another tells is that if the
// transaction was committed, for the envelope has our signature; if nothing was
// to be written it is asked for again.
func (c *Client) attempt(ctx context.Context, g *gateway, function string, argument []byte) (ledger.Receipt, error) {
	c.attempts.Add(1)
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
	var out invocation.Outcome
	if err := parse(tx.Result(), &out); err != nil {
		return ledger.Receipt{}, err
	}
	r := receiptOf(&out)
	switch {
	case out.Wrote:
		r.Height, err = c.order(ctx, g, tx)
	case !g.own:
		return c.attested(ctx, argument)
	default:
		r.Height, err = c.judgedAt(ctx, g, &out)
	}
	return r, err
}

func receiptOf(out *invocation.Outcome) ledger.Receipt {
	return ledger.Receipt{Tx: out.Tx, Code: out.Code, Items: out.Items, Coins: out.Coins}
}

// judgedAt returns the height of an outcome that writes nothing: of the block
// that holds the transaction, or the last that it was judged by.
func (c *Client) judgedAt(ctx context.Context, g *gateway, out *invocation.Outcome) (uint64, error) {
	if out.Done != "" {
		return c.heightOf(ctx, g, out.Done)
	}
	return c.height(ctx, g)
}

// order sends an endorsed transaction to the orderers until it is committed,
// and returns its block. That a send succeeded proves nothing, and that it
// failed as little: the commit status is asked for, of those who are believed,
// and if none comes the same bytes are sent again, by the next gateway.
func (c *Client) order(ctx context.Context, g *gateway, tx *client.Transaction) (uint64, error) {
	var last error
	began := time.Now()
	for n := 1; ; n++ {
		height, err := c.send(ctx, g, tx, n > 1)
		if err == nil {
			c.pace.took(time.Since(began))
		}
		if err == nil && !g.own {
			height, err = c.committed(ctx, tx.TransactionID())
		}
		switch {
		case err == nil || errors.Is(err, errInvalid):
			return height, err
		case ctx.Err() != nil:
			return 0, cmp.Or(last, err)
		case refusalOf(err, g.msp) != nil:
			return 0, fmt.Errorf("%s: %w", g.address, err) // execute knows whether to believe it
		}
		last = err
		pause(ctx, n)
		signed, err := tx.Bytes() // with the signature, since send
		if err != nil {
			return 0, err
		}
		next := c.instead(g, err)
		if tx, err = next.client.NewTransaction(signed); err != nil {
			return 0, fmt.Errorf("%s: %w", next.address, err)
		}
		g = next
	}
}

// instead returns the gateway by which a transaction is sent again. If it alone was not
// told of, by a peer that told of others, the orderers have lost it; else nobody
// needs to find out once more that the peer does not answer.
func (c *Client) instead(g *gateway, err error) *gateway {
	if _, height := g.commits.reached(); height > 0 && errors.Is(err, errSilent) {
		return g
	}
	next := c.after(g)
	c.prefer(next)
	return next
}

// send sends a transaction once and waits for its commit. A stream of blocks may
// have told already of what was sent before: that is asked for.
func (c *Client) send(ctx context.Context, g *gateway, tx *client.Transaction, before bool) (uint64, error) {
	if before || !g.own {
		return c.sendAndAsk(ctx, tx)
	}
	expected := g.commits.expect(tx.TransactionID())
	if expected == nil {
		height, err := c.sendAndAsk(ctx, tx)
		if err == nil {
			g.commits.open(c.closed, height)
		}
		return height, err
	}
	defer expected.forget()
	commit, err := submit(ctx, tx)
	if err != nil {
		return 0, err
	}
	became, told, err := expected.wait(ctx, c.pace.silence())
	switch {
	case err != nil:
		return 0, err
	case !told:
		return c.statusOf(ctx, commit)
	}
	return became.valid()
}

// sendAndAsk sends a transaction once and asks the gateway for its commit status.
func (c *Client) sendAndAsk(ctx context.Context, tx *client.Transaction) (uint64, error) {
	commit, err := submit(ctx, tx)
	if err != nil {
		return 0, err
	}
	return c.statusOf(ctx, commit)
}

func submit(ctx context.Context, tx *client.Transaction) (*client.Commit, error) {
	short, cancel := context.WithTimeout(ctx, orderTimeout)
	defer cancel()
	return tx.SubmitWithContext(short)
}

func (c *Client) statusOf(ctx context.Context, commit *client.Commit) (uint64, error) {
	short, cancel := context.WithTimeout(ctx, c.pace.silence())
	defer cancel()
	status, err := commit.StatusWithContext(short)
	if err != nil {
		return 0, err
	}
	return verdict{status.BlockNumber, status.Code}.valid()
}

// valid returns the block, or errInvalid.
func (v verdict) valid() (uint64, error) {
	if v.code != peer.TxValidationCode_VALID {
		return 0, fmt.Errorf("%w (%v)", errInvalid, v.code)
	}
	return v.height, nil
}
