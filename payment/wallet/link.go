package wallet

import (
	"fmt"

	"torrente/internal/failpoint"
	"torrente/payment"
)

// Paid is a link that was received and verified.
type Paid struct {
	Commitment payment.CommitmentID
	payment.Claim
}

// Link keeps a link of a commitment before it is counted. When it returns the
// link survives the death of the process; it is synced at most SyncEvery later.
// An index that is not deeper than the best one changes nothing. The caller has
// verified the link. The errors are ErrUnknown, ErrFinal, ErrRange, and those of
// the disk.
func (w *Wallet) Link(id payment.CommitmentID, c payment.Claim) error {
	one := [1]Paid{{id, c}}
	return w.Links(one[:])
}

// Links is Link for a batch, with one write. After an error none of them is
// kept.
func (w *Wallet) Links(batch []Paid) error {
	s := &w.sold
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log.begin()
	for i := range batch {
		if err := s.add(&batch[i]); err != nil {
			return err
		}
	}
	failpoint.Hit("wallet.link.write")
	if err := s.log.commit(); err != nil {
		return err
	}
	failpoint.Hit("wallet.link.written")
	for i := range batch {
		s.claims[batch[i].Commitment].raise(batch[i].Claim)
	}
	return nil
}

// add puts a record into the batch, if the link is deeper than those before.
func (s *sold) add(p *Paid) error {
	c := s.claims[p.Commitment]
	switch {
	case c == nil:
		return fmt.Errorf("%w: %s", ErrUnknown, p.Commitment)
	case c.final:
		return fmt.Errorf("%w: %s", ErrFinal, p.Commitment)
	case p.Index > c.Commitment.Links:
		return fmt.Errorf("%w: %d of %s", ErrRange, p.Index, p.Commitment)
	case p.Index > c.Best.Index:
		s.log.addLink((*[32]byte)(&p.Commitment), p.Index, (*[32]byte)(&p.Link))
	}
	return nil
}

// raise counts a link that is on record.
func (c *claim) raise(to payment.Claim) {
	if to.Index > c.Best.Index {
		c.Best, c.dirty = to, true
	}
}
