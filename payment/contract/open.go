package contract

import "torrente/payment"

// The times of section 5, in seconds.
const (
	minLife      = 2 * 60 * 60
	maxLife      = 7 * 24 * 60 * 60
	maxAge       = 7 * 24 * 60 * 60 // of an intention that is opened on
	refundAfter  = 30 * 60          // after expiry
	firstCap     = 0                // its number
	maxEpochsOld = 1
)

func (r *run) openMany() Code {
	a := r.tx.Args.(*OpenMany)
	if code := r.checkOpens(a.Opens); code != OK {
		return code
	}
	return r.each(len(a.Opens), func(i int) Code { return r.open(&a.Opens[i]) })
}

// checkOpens refuses a list that names a commitment or a root twice, and reads
// the rows that the others need.
func (r *run) checkOpens(opens []Open) Code {
	id := func(o *Open) payment.CommitmentID { return o.Commitment.ID() }
	root := func(o *Open) payment.Link { return o.Commitment.Root }
	if !distinct(opens, id) || !distinct(opens, root) {
		return Duplicate
	}
	keys := []string{keyPriceNow}
	for i := range opens {
		c := &opens[i].Commitment
		id := c.ID()
		keys = append(keys, keyIntention(c.Intention), keyCommitment(id), keyRoot(c.Payer, c.Root), keySlot(c),
			hexed2(byIntention, c.Intention, id), hexed2(byReceiver, c.Receiver, id))
	}
	r.load(keys...)
	return OK
}

// open registers one commitment. Creator, commitment and intention must have
// the same payer: a commitment by a stranger over a victim's coins is nothing.
func (r *run) open(o *Open) Code {
	c := &o.Commitment
	id := c.ID()
	var before commitment
	switch {
	case c.Ledger != r.tx.Ledger:
		return OtherLedger
	case c.Payer != r.creator:
		return NotPayer
	case r.read(keyCommitment(id), &before):
		return sameCap(before.cap, o.Cap)
	}
	var i intention
	if code := r.ownIntention(c.Intention, &i); code != OK {
		return code
	}
	if code := r.checkOpen(o, &i); code != OK {
		return code
	}
	i.reserved += uint64(o.Cap)
	i.open++
	r.put(keyIntention(c.Intention), &i)
	r.put(keyCommitment(id), commitment{Commitment: c, cap: o.Cap})
	r.put(keyRoot(c.Payer, c.Root), digest(id))
	r.put(keySlot(c), digest(id))
	r.put(hexed2(byIntention, c.Intention, id), present{})
	r.put(hexed2(byReceiver, c.Receiver, id), present{})
	r.emit(payment.LedgerEvent{
		Kind: payment.EventOpened, Account: c.Payer, Receiver: c.Receiver, Torrent: c.Torrent,
		Intention: c.Intention, Commitment: id, Cap: o.Cap, Price: c.Price, Epoch: c.Epoch,
	})
	return OK
}

func (r *run) checkOpen(o *Open, i *intention) Code {
	c, now := &o.Commitment, r.tx.Time
	epochNow, _ := r.priceNow()
	switch {
	case i.closed:
		return Closed
	case c.Torrent != i.torrent:
		return OtherTorrent
	case c.Price != i.price || c.Epoch != i.epoch:
		return OtherPrice
	case i.epoch+maxEpochsOld < epochNow || now > i.declared+maxAge:
		return Stale
	case c.Expiry < now+minLife || c.Expiry > now+maxLife:
		return BadExpiry
	case o.Cap == 0 || o.Cap > c.Links:
		return BadCap
	case r.has(keyRoot(c.Payer, c.Root)):
		return RootUsed
	case r.has(keySlot(c)):
		return SlotUsed
	case !i.covers(uint64(o.Cap)):
		return NoFunds
	}
	return OK
}

// sameCap answers a call that was made before.
func sameCap(before, want uint32) Code {
	if before == want {
		return Already
	}
	return Conflict
}

// cap reads a commitment's cap number k.
func (r *run) cap(c *commitment, id payment.CommitmentID, k uint8) (limit uint32, known bool) {
	if k == firstCap {
		return c.cap, true
	}
	known = r.read(keyCap(id, k), (*units)(&limit))
	return limit, known
}

func (r *run) topUpMany() Code {
	a := r.tx.Args.(*TopUpMany)
	if !distinct(a.TopUps, func(t *TopUp) payment.CommitmentID { return t.Commitment }) {
		return Duplicate
	}
	var keys []string
	for _, t := range a.TopUps {
		keys = append(keys, keyCommitment(t.Commitment), keyCap(t.Commitment, t.K))
		if t.K-1 > firstCap {
			keys = append(keys, keyCap(t.Commitment, t.K-1))
		}
	}
	r.load(keys...)
	return r.each(len(a.TopUps), func(i int) Code { return r.topUp(&a.TopUps[i]) })
}

// topUp writes the next cap. The rows of caps are never changed, so a redeem
// that names an older one is not disturbed.
func (r *run) topUp(t *TopUp) Code {
	var c commitment
	if !r.read(keyCommitment(t.Commitment), &c) {
		return NoCommitment
	}
	if c.Payer != r.creator {
		return NotPayer
	}
	if same, known := r.cap(&c, t.Commitment, t.K); known {
		return sameCap(same, t.Cap)
	}
	before, known := r.cap(&c, t.Commitment, t.K-1)
	switch {
	case !known || t.Cap <= before || t.Cap > c.Links:
		return BadCap
	case c.ended():
		return Ended
	case r.tx.Time >= c.Expiry:
		return Expired
	}
	var i intention
	more := uint64(t.Cap - before)
	switch code := r.ownIntention(c.Intention, &i); {
	case code != OK:
		return code
	case i.closed:
		return Closed
	case !i.covers(more):
		return NoFunds
	}
	i.reserved += more
	r.put(keyIntention(c.Intention), &i)
	r.put(keyCap(t.Commitment, t.K), units(t.Cap))
	r.emit(payment.LedgerEvent{
		Kind: payment.EventCap, Account: c.Payer, Receiver: c.Receiver, Torrent: c.Torrent, Commitment: t.Commitment, Cap: t.Cap,
	})
	return OK
}
