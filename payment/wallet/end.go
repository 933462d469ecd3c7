package wallet

import (
	"bytes"
	"errors"
	"fmt"

	bolt "go.etcd.io/bbolt"

	"torrente/internal/failpoint"
	"torrente/payment"
)

// SignedClose keeps the receiver's last word on a commitment durably, before it
// is sent. From the moment it is called the commitment counts no link, also if
// it fails: then it may be called again. The final index is at least what was
// redeemed and at most the best link's (a loss of power may have taken a link
// that the ledger paid). The same close again changes nothing.
// The errors are ErrUnknown, ErrRange, ErrFinal for another close or after the
// end, and those of the disk.
func (w *Wallet) SignedClose(c *payment.SignedClose) error {
	return w.durably(func() error {
		closed, again, err := w.sold.close(c)
		if err != nil || again {
			return err
		}
		failpoint.Hit("wallet.close.write")
		if err := w.update(closed.fold); err != nil {
			return err
		}
		failpoint.Hit("wallet.close.written")
		w.sold.mu.Lock()
		defer w.sold.mu.Unlock()
		w.sold.claims[closed.id].Close = closed.Close
		return nil
	})
}

// close stops the counting and returns the claim as it is to be written.
func (s *sold) close(signed *payment.SignedClose) (closed claim, again bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.claims[signed.Commitment]
	switch {
	case c == nil:
		return closed, false, fmt.Errorf("%w: %s", ErrUnknown, signed.Commitment)
	case c.Close != nil && bytes.Equal(c.Close.Append(nil), signed.Append(nil)):
		return closed, true, nil
	case c.Close != nil || c.Ended:
		return closed, false, fmt.Errorf("%w: %s", ErrFinal, c.id)
	case signed.Final < c.Redeemed || signed.Final > max(c.Best.Index, c.Redeemed):
		return closed, false, fmt.Errorf("%w: close at %d of %s, of which %d are redeemed and %d paid",
			ErrRange, signed.Final, c.id, c.Redeemed, c.Best.Index)
	}
	c.final = true
	closed = *c
	own := *signed
	own.SPKI = bytes.Clone(signed.SPKI)
	closed.Close = &own
	return closed, false, nil
}

// Ended keeps durably that a commitment has ended on the ledger, after index
// units were paid: nothing is owed, counted or redeemed on it any more. What
// was owed stays on record until Forget, so that no unit is paid a second time
// on the next chain (P3). The errors are ErrUnknown, ErrRange, and those of the
// disk.
func (w *Wallet) Ended(id payment.CommitmentID, index uint32) error {
	return w.durably(func() error {
		if o, held := w.Opening(id); held {
			return w.endOpening(id, o, index)
		}
		if c, held := w.Claim(id); held {
			return w.endClaim(id, c, index)
		}
		return fmt.Errorf("%w: %s", ErrUnknown, id)
	})
}

func (w *Wallet) endOpening(id payment.CommitmentID, o Opening, index uint32) error {
	if index > o.Commitment.Links {
		return fmt.Errorf("%w: %d of %s", ErrRange, index, id)
	}
	o.Ended, o.Final = true, index
	failpoint.Hit("wallet.ended.write")
	err := w.update(func(tx *bolt.Tx) error { return put(tx, openingBucket, id[:], o.append(nil)) })
	if err != nil {
		return err
	}
	w.bought.mu.Lock()
	defer w.bought.mu.Unlock()
	held := w.bought.openings[id]
	held.Ended, held.Final = true, index
	return nil
}

func (w *Wallet) endClaim(id payment.CommitmentID, c Claim, index uint32) error {
	if index > c.Commitment.Links {
		return fmt.Errorf("%w: %d of %s", ErrRange, index, id)
	}
	c.Ended, c.Redeemed = true, max(c.Redeemed, index)
	ended := claim{Claim: c, id: id}
	if err := w.update(ended.fold); err != nil {
		return err
	}
	w.sold.mu.Lock()
	defer w.sold.mu.Unlock()
	held := w.sold.claims[id]
	held.Ended, held.final, held.Redeemed = true, true, c.Redeemed
	return nil
}

// Forget drops all that is known of a commitment that has ended, durably: of a
// claim as soon as the caller likes, of an opening when its torrent is gone. One
// that was forgotten is no error, one that has not ended is.
func (w *Wallet) Forget(id payment.CommitmentID) error {
	return w.durably(func() error {
		o, isOpening := w.Opening(id)
		c, isClaim := w.Claim(id)
		if isOpening && !o.Ended || isClaim && !c.Ended {
			return fmt.Errorf("the commitment has not ended: %s", id)
		}
		// No record of it may stay in the logs: they would not be understood.
		if err := w.fold(0); err != nil {
			return err
		}
		if err := w.update(func(tx *bolt.Tx) error { return forget(tx, id) }); err != nil {
			return err
		}
		w.bought.mu.Lock()
		delete(w.bought.openings, id)
		w.bought.mu.Unlock()
		w.sold.mu.Lock()
		delete(w.sold.claims, id)
		w.sold.mu.Unlock()
		return nil
	})
}

func forget(tx *bolt.Tx, id payment.CommitmentID) error {
	err := errors.Join(remove(tx, openingBucket, id[:]), remove(tx, claimBucket, id[:]))
	rows := tx.Bucket(owedBucket).Cursor()
	for k, _ := rows.Seek(id[:]); bytes.HasPrefix(k, id[:]); k, _ = rows.Seek(id[:]) {
		err = errors.Join(err, rows.Delete())
	}
	return err
}
