package contract

import "torrente/payment"

func (r *run) releaseMany() Code {
	a := r.tx.Args.(*ReleaseMany)
	if !distinct(a.Releases, func(l *Release) payment.CommitmentID { return l.Close.Commitment }) {
		return Duplicate
	}
	var keys []string
	for i := range a.Releases {
		keys = append(keys, keysOfEnd(a.Releases[i].Close.Commitment, a.Releases[i].K)...)
	}
	r.load(keys...)
	return r.each(len(a.Releases), func(i int) Code { return r.release(&a.Releases[i]) })
}

// keysOfEnd names what Release and Refund read of a commitment.
func keysOfEnd(id payment.CommitmentID, k uint8) []string {
	keys := []string{keyCommitment(id), keyCap(id, k+1), keyRedeemed(id)}
	if k > firstCap {
		keys = append(keys, keyCap(id, k))
	}
	return keys
}

// release files a receiver's signed close. Only the payer calls it, whose rows
// it writes, or its heir.
func (r *run) release(l *Release) Code {
	id := l.Close.Commitment
	var c commitment
	if code := r.ownCommitment(id, &c); code != OK {
		return code
	}
	if l.Close.Ledger != r.tx.Ledger || l.Close.Verify(c.Receiver) != nil {
		return BadClose
	}
	if c.ended() {
		if c.final == l.Close.Final {
			return Already
		}
		return Ended
	}
	limit, code := r.lastCap(&c, id, l.K)
	if code != OK {
		return code
	}
	switch {
	case l.Close.Final > limit:
		return OverCap
	case l.Close.Final < r.redeemed(id).Index:
		return BelowRedeemed
	}
	r.endCommitment(&c, id, endReleased, limit, l.Close.Final)
	r.emit(payment.LedgerEvent{
		Kind: payment.EventReleased, Account: c.Payer, Receiver: c.Receiver, Torrent: c.Torrent,
		Commitment: id, Index: l.Close.Final,
	})
	return OK
}

func (r *run) refund() Code {
	a := r.tx.Args.(*Refund)
	if !distinct(a.Settles, func(s *Settle) payment.CommitmentID { return s.Commitment }) {
		return Duplicate
	}
	var keys []string
	for _, s := range a.Settles {
		keys = append(keys, keysOfEnd(s.Commitment, s.K)...)
	}
	r.load(keys...)
	return r.each(len(a.Settles), func(i int) Code { return r.settle(&a.Settles[i]) })
}

// settle frees what was not redeemed of an expired commitment. Between the
// last instant of a redeem and the first of a refund lie 30 minutes (L6).
func (r *run) settle(s *Settle) Code {
	id := s.Commitment
	var c commitment
	if code := r.ownCommitment(id, &c); code != OK {
		return code
	}
	if c.end == endSettled {
		return Already
	}
	if r.tx.Time < c.Expiry+refundAfter {
		return TooEarly
	}
	reserved := c.final
	if !c.ended() {
		var code Code
		if reserved, code = r.lastCap(&c, id, s.K); code != OK {
			return code
		}
	}
	final := r.redeemed(id).Index
	r.endCommitment(&c, id, endSettled, reserved, final)
	coins, _ := c.Price.Mul(uint64(reserved - final)) // the whole chain's worth fits
	r.moved(coins)
	r.emit(payment.LedgerEvent{
		Kind: payment.EventRefunded, Account: c.Payer, Receiver: c.Receiver, Torrent: c.Torrent,
		Commitment: id, Index: final, Coins: coins,
	})
	return OK
}

// endCommitment writes how it ended and frees the units between final and what was
// reserved. A release at exactly what was redeemed settles it: nothing is left
// to redeem.
func (r *run) endCommitment(c *commitment, id payment.CommitmentID, kind uint8, reserved, final uint32) {
	var i intention
	if !r.read(keyIntention(c.Intention), &i) || i.reserved < uint64(reserved-final) || i.open == 0 {
		if r.err == nil {
			r.err = ErrDamaged
		}
		return
	}
	if final == r.redeemed(id).Index {
		kind = endSettled
	}
	c.end, c.final = kind, final
	r.put(keyCommitment(id), c)
	i.reserved -= uint64(reserved - final)
	if kind == endSettled {
		i.open--
		r.delete(hexed2(byReceiver, c.Receiver, id))
	}
	r.settleIntention(c.Intention, &i)
}

// ownCommitment reads a commitment whose payer, or payer's heir, the creator is.
func (r *run) ownCommitment(id payment.CommitmentID, c *commitment) Code {
	if !r.read(keyCommitment(id), c) {
		return NoCommitment
	}
	if !r.actsFor(c.Payer) {
		return NotPayer
	}
	return OK
}

// lastCap returns cap number k, if there is none after it. The payer names it:
// a writing call reads no ranges.
func (r *run) lastCap(c *commitment, id payment.CommitmentID, k uint8) (uint32, Code) {
	limit, known := r.cap(c, id, k)
	if !known || r.has(keyCap(id, k+1)) {
		return 0, BadCap
	}
	return limit, OK
}

func (r *run) redeemed(id payment.CommitmentID) claim {
	var done claim
	r.read(keyRedeemed(id), &done)
	return done
}
