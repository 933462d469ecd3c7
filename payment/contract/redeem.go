package contract

import "torrente/payment"

func (r *run) redeemMany() Code {
	a := r.tx.Args.(*RedeemMany)
	if !distinct(a.Redeems, func(d *Redeem) payment.CommitmentID { return d.Commitment }) {
		return Duplicate
	}
	r.load(redeemKeys(a)...)
	return r.each(len(a.Redeems), func(i int) Code { return r.redeem(&a.Redeems[i]) })
}

// redeemKeys are the rows that redeems read, each in one go with the others.
func redeemKeys(a *RedeemMany) (keys []string) {
	for _, d := range a.Redeems {
		keys = append(keys, keyCommitment(d.Commitment), keyRedeemed(d.Commitment))
		if d.K > firstCap {
			keys = append(keys, keyCap(d.Commitment, d.K))
		}
	}
	return keys
}

// redeem pays the receiver for the units between the last redeemed link and
// this one. It reads the commitment, one cap and what was redeemed, and
// writes rows of the receiver alone: the coins were reserved by the payer, so
// the intention is not touched.
func (r *run) redeem(d *Redeem) Code {
	var c commitment
	if !r.read(keyCommitment(d.Commitment), &c) {
		return NoCommitment
	}
	if !r.mayRedeem(c.Receiver) {
		return NotReceiver
	}
	if r.tx.Time >= c.Expiry {
		return Expired
	}
	if code := r.checkCap(&c, d); code != OK {
		return code
	}
	before := claim(c.Start())
	r.read(keyRedeemed(d.Commitment), &before)
	if d.Index < before.Index || d.Index == before.Index && d.Link == before.Link {
		return Already
	}
	if code := r.checkLink(&c, payment.Claim(before), payment.Claim{Index: d.Index, Link: d.Link}); code != OK {
		return code
	}
	paid, ok := c.Price.Mul(uint64(d.Index - before.Index))
	if !ok {
		return Overflow // no valid commitment is worth so much
	}
	r.put(keyRedeemed(d.Commitment), claim{Index: d.Index, Link: d.Link})
	r.give(c.Receiver, paid)
	r.moved(paid)
	r.emit(payment.LedgerEvent{
		Kind: payment.EventRedeemed, Account: c.Receiver, Torrent: c.Torrent,
		Commitment: d.Commitment, Index: d.Index, Coins: paid,
	})
	return OK
}

// mayRedeem reports whether the creator is the receiver, the delegate that it
// named on the ledger, or its heir (L5). For a revoked one its organisation's
// administrator may too: the key may be lost, or the network may refuse its
// certificate. The coins are the receiver's, whoever calls.
func (r *run) mayRedeem(receiver payment.Account) bool {
	var delegate digest
	var rev revocation
	return receiver == r.creator ||
		r.read(keyDelegate(receiver), &delegate) && payment.Account(delegate) == r.creator ||
		r.actsFor(receiver) ||
		r.org.administrator == r.creator && r.read(keyRevoked(receiver), &rev) && rev.msp == r.msp
}

// checkCap refuses an index beyond the cap that the call names, or beyond the
// final index of a close.
func (r *run) checkCap(c *commitment, d *Redeem) Code {
	limit, known := r.cap(c, d.Commitment, d.K)
	if !known || d.Index > limit || c.ended() && d.Index > c.final {
		return OverCap
	}
	return OK
}

// checkLink hashes from the link down to the one known, within what is left of
// the call's work.
func (r *run) checkLink(c *commitment, known, deeper payment.Claim) Code {
	work := deeper.Index - known.Index
	if work > MaxHashes-r.hashes {
		return TooMuchWork
	}
	r.hashes += work
	if !c.Verify(known, deeper) {
		return BadLink
	}
	return OK
}
