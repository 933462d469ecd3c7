package ledger

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"torrente/identity"
	"torrente/payment"
	"torrente/payment/admission"
	"torrente/payment/contract"
)

// request is a transaction on its way through the committer.
type request struct {
	*admission.Candidate
	trust *identity.Trust // by which its certificate was verified
	reply chan reply      // buffered: the committer never waits for a client
}

type reply struct {
	receipt Receipt
	err     error
}

// Submit executes a transaction and returns when its block is on the disk.
func (e *Embedded) Submit(ctx context.Context, s *contract.Signed) (Receipt, error) {
	c, err := admission.Identify(s)
	if err != nil {
		return Receipt{}, err
	}
	// A transaction that was taken before has its receipt, however old its
	// certificate and its time are by now.
	if r, found, err := e.receipt(c.ID); err != nil || found {
		return r, err
	}
	trust := e.trust.Load()
	if err := c.Trusted(trust); err != nil {
		return Receipt{}, err
	}
	r := &request{c, trust, make(chan reply, 1)}
	select {
	case e.requests <- r:
	case <-e.stop:
		return Receipt{}, ErrClosed
	case <-ctx.Done():
		return Receipt{}, ctx.Err()
	}
	select {
	case answer := <-r.reply:
		return answer.receipt, answer.err
	case <-ctx.Done():
		return Receipt{}, fmt.Errorf("transaction %v may be final yet: %w", c.ID, ctx.Err())
	case <-e.stopped:
	}
	// The committer answers whatever it took before it ends.
	select {
	case answer := <-r.reply:
		return answer.receipt, answer.err
	default:
		return Receipt{}, ErrClosed
	}
}

func (e *Embedded) receipt(id contract.TxID) (r Receipt, found bool, err error) {
	err = e.read(func(v *snapshot) (err error) {
		r, found, err = v.receipt(id)
		return err
	})
	return r, found, err
}

// size is at least what the transaction takes of a block.
func (r *request) size() int {
	const rest = 4 + 4 + 1 + payment.SignatureBytes // lengths, number of certificates
	n := rest + len(r.Signed.Body)
	for _, der := range r.Signed.Chain {
		n += 2 + len(der)
	}
	return n
}

// commitAll is the committer: one goroutine, owned by Open and Close.
func (e *Embedded) commitAll() {
	defer close(e.stopped)
	for {
		select {
		case first := <-e.requests:
			e.commit(e.gather(first))
		case <-e.stop:
			return
		}
	}
}

// gather takes what has arrived during the last sync.
func (e *Embedded) gather(first *request) []*request {
	all := []*request{first}
	for bytes := first.size(); len(all) < maxBlockTxs && bytes < fullBlockBytes; {
		select {
		case r := <-e.requests:
			all = append(all, r)
			bytes += r.size()
		default:
			return all
		}
	}
	return all
}

// commit makes one block of the requests and answers them. Nobody is answered
// before the block is on the disk: even a refusal may be due to another
// transaction in it.
func (e *Embedded) commit(all []*request) {
	for len(all) > 0 {
		b := &batch{replies: make([]reply, 0, len(all))}
		err := e.failure()
		if err == nil {
			err = e.build(b, all)
		}
		if err == nil && len(b.txs) > 0 {
			err = e.write(b)
		}
		taken := all[:max(1, len(b.replies))]
		for i, r := range taken {
			if err != nil {
				r.reply <- reply{err: err}
			} else {
				r.reply <- b.replies[i]
			}
		}
		all = all[len(taken):]
	}
}

// batch is a block in the making.
type batch struct {
	block   block
	stage   *stage
	txs     []*admission.Candidate // those that changed something
	results []contract.Result
	replies []reply // to each request looked at
	events  int
}

// build executes requests until the block is full.
func (e *Embedded) build(b *batch, all []*request) error {
	return e.rows.read(func(v *snapshot) error {
		last, _, err := v.tip()
		if err != nil {
			return err
		}
		b.stage = newStage(v)
		b.block = block{height: last.height + 1, previous: last.hash, time: uint64(max(0, e.config.Now().Unix()))}
		for _, r := range all {
			if b.events >= maxBlockEvents {
				return nil
			}
			answer, err := e.execute(b, r)
			if err != nil {
				return err
			}
			b.replies = append(b.replies, answer)
		}
		return nil
	})
}

// execute judges one request on what the block has changed so far. Its error
// is the ledger's own; the request's is in the reply.
func (e *Embedded) execute(b *batch, r *request) (reply, error) {
	receipt, done, err := b.stage.receipt(r.ID)
	if err != nil || done {
		return reply{receipt: receipt}, err
	}
	if now := e.trust.Load(); now != r.trust {
		if err := r.Trusted(now); err != nil {
			return reply{err: err}, nil
		}
	}
	if err := admission.CheckClock(r.Tx.Time, b.block.time); err != nil {
		return reply{err: err}, nil
	}
	result, err := contract.Apply(b.stage, r.Creator, r.Tx)
	if err != nil {
		return reply{}, err
	}
	if !result.Wrote {
		return reply{receipt: receiptOf(r.ID, b.block.height-1, result)}, nil
	}
	b.stage.putReceipt(r.ID, b.block.height, &result)
	b.txs, b.results = append(b.txs, r.Candidate), append(b.results, result)
	b.block.txs = append(b.block.txs, r.Signed)
	b.events += len(result.Events)
	return reply{receipt: receiptOf(r.ID, b.block.height, result)}, nil
}

// write puts the block on the disk, and then in front of everybody.
func (e *Embedded) write(b *batch) error {
	b.block.results = hashResults(b.results)
	payload := b.block.append(nil)
	hash := sha256.Sum256(payload)
	if err := b.stage.record(&b.block, hash, e.id, b.txs, b.results); err != nil {
		return err
	}
	if err := e.log.append(payload); err != nil {
		if errors.Is(err, ErrBroken) {
			e.fail(err)
		}
		return err
	}
	// From here on the block is final: whatever fails now is made good from
	// the log by the next start.
	e.rows.apply(b.stage.writes)
	if err := e.after(b); err != nil {
		e.fail(err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.last = Status{Height: b.block.height, Hash: fmt.Sprintf("%x", hash)}
	close(e.change)
	e.change = make(chan struct{})
	return nil
}

// after follows the roots and writes down what changed, now and then.
func (e *Embedded) after(b *batch) error {
	if changesRoots(b.results) {
		err := e.rows.read(func(v *snapshot) error {
			trust, err := admission.TrustOf(contractReader{v})
			e.trust.Store(trust)
			return err
		})
		if err != nil {
			return err
		}
	}
	return e.rows.flushIfFull()
}

// fail ends the taking of transactions, for good.
func (e *Embedded) fail(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.broken == nil {
		e.broken = err
		e.config.Log.Error("the ledger takes no more transactions", "reason", err)
	}
}

func (e *Embedded) failure() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.broken
}
