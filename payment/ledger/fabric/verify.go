package fabric

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/hyperledger/fabric-gateway/pkg/client"
	"github.com/hyperledger/fabric-protos-go-apiv2/common"

	"torrente/payment/contract"
	"torrente/payment/ledger"
)

// Verify reads all blocks of the channel, and executes the transactions of our
// chaincode anew, believing neither the endorsers nor the peer that tells the
// blocks: their chain of hashes, every certificate and signature of our own
// transactions, what each of them wrote and answered, and the books of the result
// (L1 to L3). What the ledger became is held in memory: about a kilobyte for
// each account, intention and commitment that it keeps. The errors are
// ledger.ErrDamaged and contract.ErrBooks with the block, and *Unreachable.
//
// The next gateway is asked when one does not answer, or is silent for as long as
// a call may take.
//
// The report's Hash covers all blocks and which of their transactions are valid,
// which no block's own hash does. Who compares Hash and Height with other
// organisations knows that all have the same ledger.
func (c *Client) Verify(ctx context.Context) (report ledger.Report, err error) {
	call, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.closed, cancel)()
	first := c.preferred.first()
	for i := range c.gateways {
		g := c.gateway(first, i)
		report, err = c.verifyAt(call, g)
		if _, far := errors.AsType[*Unreachable](err); !far {
			return report, err
		}
		if call.Err() != nil {
			return ledger.Report{}, c.ended(ctx, g, err)
		}
	}
	return report, err
}

// verifyAt verifies what one gateway tells. The error is *Unreachable if it tells
// too little.
func (c *Client) verifyAt(ctx context.Context, g *gateway) (ledger.Report, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	end, err := c.height(ctx, g)
	if err != nil {
		return ledger.Report{}, &Unreachable{g.address, err}
	}
	blocks, err := g.network.BlockEvents(ctx, client.WithStartBlock(0))
	if err != nil {
		return ledger.Report{}, &Unreachable{g.address, err}
	}
	defer drain(cancel, blocks)
	silent := time.NewTimer(c.patience)
	defer silent.Stop()
	r := newReplay(c.profile.Chaincode, c.ID())
	for r.next <= end {
		silent.Reset(c.patience)
		select {
		case b, more := <-blocks:
			if !more {
				return ledger.Report{}, &Unreachable{g.address, errEnded}
			}
			if err := r.block(b); err != nil {
				return ledger.Report{}, fmt.Errorf("block %d: %w", b.GetHeader().GetNumber(), err)
			}
		case <-silent.C:
			return ledger.Report{}, &Unreachable{g.address, fmt.Errorf("it tells no block for %s", c.patience)}
		}
	}
	return r.report()
}

var errEnded = errors.New("the stream of blocks ended")

// drain ends a stream of blocks: whoever sends them waits until they are taken.
func drain[B any](cancel context.CancelFunc, blocks <-chan B) {
	cancel()
	for range blocks {
	}
}

// follows checks that a block comes behind the one whose hash is previous, and
// holds the data that its header says. It returns the block's own hash, which is
// SHA-256 of the header's DER (Fabric, "protoutil").
func follows(b *common.Block, number uint64, previous []byte) ([]byte, error) {
	h := b.GetHeader()
	data := sha256.New()
	for _, envelope := range b.GetData().GetData() {
		data.Write(envelope)
	}
	switch {
	case h.GetNumber() != number || number > 0 && !bytes.Equal(h.GetPreviousHash(), previous):
		return nil, fmt.Errorf("%w (it does not follow block %d)", ledger.ErrDamaged, number-1)
	case !bytes.Equal(h.GetDataHash(), data.Sum(nil)):
		return nil, fmt.Errorf("%w (its transactions are not those that it had)", ledger.ErrDamaged)
	}
	der, err := asn1.Marshal(struct {
		Number                 *big.Int
		PreviousHash, DataHash []byte
	}{new(big.Int).SetUint64(h.GetNumber()), h.GetPreviousHash(), h.GetDataHash()})
	sum := sha256.Sum256(der)
	return sum[:], err
}

// report adds up what all blocks did.
func (r *replay) report() (report ledger.Report, err error) {
	report = ledger.Report{Ledger: r.ledger, Height: r.next - 1, Hash: fmt.Sprintf("%x", r.digest), Transactions: r.txs}
	if r.trust == nil {
		return report, contract.ErrNoLedger
	}
	a, err := contract.Ask(r.state, contract.Query{Kind: contract.QueryLedger})
	if err != nil {
		return report, err
	}
	report.Name = a.Ledger.Name
	report.Books, err = contract.Audit(r.state)
	report.Available, report.Conserved = report.Books.Available(), report.Books.Conserved()
	return report, err
}
