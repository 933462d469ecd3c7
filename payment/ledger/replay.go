package ledger

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"torrente/identity"
	"torrente/payment"
	"torrente/payment/admission"
	"torrente/payment/contract"
)

// replayer executes the blocks of a log on rows that lack them.
type replayer struct {
	rows   *rows
	log    *logReader
	ledger payment.LedgerID
	// strict verifies certificates and signatures again. They were when the
	// transactions were taken; only Verify does not believe it.
	strict bool
	trust  *identity.Trust // as of the last block executed
	last   tip             // of the log, executed or not
	txs    uint64
}

// begin fills empty rows from the genesis document.
func (r *rows) begin(genesis []byte) error {
	id := contract.GenesisID(genesis)
	var writes map[string][]byte
	err := r.read(func(v *snapshot) error {
		s := newStage(v)
		writes = s.writes
		s.putTip(tip{0, id, id})
		return contract.Init(s, genesis)
	})
	if err != nil {
		return err
	}
	r.apply(writes)
	return r.flush()
}

// run walks the log to its end and executes what the rows lack. It returns
// errTorn, after all whole blocks, if a last one is not whole.
func (p *replayer) run() error {
	var known tip
	err := p.rows.read(func(v *snapshot) (err error) {
		known, _, err = v.tip()
		if err == nil {
			p.trust, err = admission.TrustOf(contractReader{v})
		}
		return err
	})
	if err != nil {
		return err
	}
	p.last = tip{0, p.ledger, p.ledger}
	for {
		payload, err := p.log.next()
		if errors.Is(err, io.EOF) || errors.Is(err, errTorn) {
			return p.finish(known, err)
		}
		if err != nil {
			return err
		}
		if err := p.block(payload, known); err != nil {
			return err
		}
	}
}

// finish compares the end of the log with what the rows knew before.
func (p *replayer) finish(known tip, end error) error {
	if p.last.height < known.height {
		return fmt.Errorf("%w (it ends at block %d, but block %d was there)", ErrDamaged, p.last.height, known.height)
	}
	if errors.Is(end, errTorn) {
		return errTorn
	}
	return nil
}

func (p *replayer) block(payload []byte, known tip) error {
	b, err := parseBlock(payload)
	if err != nil {
		return err
	}
	if b.height != p.last.height+1 || b.previous != p.last.hash {
		return fmt.Errorf("%w (block %d does not follow block %d)", ErrDamaged, b.height, p.last.height)
	}
	p.last = tip{b.height, sha256.Sum256(payload), p.ledger}
	p.txs += uint64(len(b.txs))
	switch {
	case b.height < known.height:
		return nil
	case b.height == known.height:
		if p.last != known {
			return fmt.Errorf("%w (it has another block %d than the state)", errRows, b.height)
		}
		return nil
	}
	if err := p.execute(b); err != nil {
		return fmt.Errorf("block %d: %w", b.height, err)
	}
	return p.rows.flushIfFull()
}

// execute does again what a block's transactions did, and compares.
func (p *replayer) execute(b *block) error {
	var writes map[string][]byte
	var rootsChanged bool
	err := p.rows.read(func(v *snapshot) error {
		s := newStage(v)
		writes = s.writes
		var txs []*admission.Candidate
		var results []contract.Result
		for _, signed := range b.txs {
			c, result, err := p.transaction(s, signed, b.time)
			if err != nil {
				return err
			}
			// The block's later transactions must see that this one is there.
			s.putReceipt(c.ID, b.height, &result)
			txs, results = append(txs, c), append(results, result)
		}
		if hashResults(results) != b.results {
			return fmt.Errorf("%w (its results are not those it had)", ErrDamaged)
		}
		rootsChanged = changesRoots(results)
		return s.record(b, p.last.hash, p.ledger, txs, results)
	})
	if err != nil {
		return err
	}
	p.rows.apply(writes)
	if !rootsChanged {
		return nil
	}
	return p.rows.read(func(v *snapshot) (err error) {
		p.trust, err = admission.TrustOf(contractReader{v})
		return err
	})
}

func (p *replayer) transaction(s *stage, signed *contract.Signed, at uint64) (*admission.Candidate, contract.Result, error) {
	c, err := admission.Identify(signed)
	if err != nil {
		return nil, contract.Result{}, fmt.Errorf("%w (a transaction: %w)", ErrDamaged, err)
	}
	if p.strict {
		if err := c.Trusted(p.trust); err != nil {
			return nil, contract.Result{}, fmt.Errorf("%w (transaction %v: %w)", ErrDamaged, c.ID, err)
		}
	}
	if err := admission.CheckClock(c.Tx.Time, at); err != nil {
		return nil, contract.Result{}, fmt.Errorf("%w (transaction %v: %w)", ErrDamaged, c.ID, err)
	}
	if _, twice, err := s.receipt(c.ID); err != nil || twice {
		return nil, contract.Result{}, errors.Join(err, fmt.Errorf("%w (transaction %v is there twice)", ErrDamaged, c.ID))
	}
	result, err := contract.Apply(s, c.Creator, c.Tx)
	if err == nil && !result.Wrote {
		err = fmt.Errorf("%w (transaction %v changes nothing: %w)", ErrDamaged, c.ID, result.Code)
	}
	return c, result, err
}
