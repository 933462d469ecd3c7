package contract

import (
	"math/bits"

	"torrente/payment"
)

// cost returns units x price x margin / 100, rounded up, and false if that
// does not fit. The ledger computes it: a client that chose how much to freeze
// could open what it cannot pay.
func cost(units uint64, price payment.Amount, margin uint16) (payment.Amount, bool) {
	high, parts := bits.Mul64(units, uint64(margin))
	if high != 0 {
		return 0, false
	}
	high, low := bits.Mul64(parts, uint64(price))
	low, carry := bits.Add64(low, 99, 0)
	high += carry
	if high >= 100 {
		return 0, false
	}
	quotient, _ := bits.Div64(high, low, 100)
	return payment.Amount(quotient), true
}

// priceNow returns the current epoch and its price.
func (r *run) priceNow() (uint64, payment.Amount) {
	var now epoch
	var price coins
	r.read(keyPriceNow, &now)
	if !r.read(keyPrice(uint64(now)), &price) && r.err == nil {
		r.err = ErrNoLedger // Init wrote both
	}
	return uint64(now), payment.Amount(price)
}

func (r *run) declare() Code {
	a := r.tx.Args.(*Declare)
	id := payment.IntentionOf(r.tx.Ledger, r.creator, a.Torrent, r.tx.Request)
	var t torrent
	if !distinct(a.Credits, func(id *TxID) TxID { return *id }) {
		return Duplicate
	}
	r.load(declareKeys(r.creator, a)...)
	if !r.read(keyTorrent(a.Torrent), &t) {
		return NoTorrent
	}
	if code := checkAmounts(a.Units, t.units, a.Margin); code != OK {
		return code
	}
	r.takeCredits(a.Credits)
	now, price := r.priceNow()
	if price > a.MaxPrice {
		return PriceRose
	}
	i := intention{payer: r.creator, torrent: a.Torrent, epoch: now, price: price, declared: r.tx.Time}
	if code := r.freeze(&i, a.Units, a.Margin); code != OK {
		return code
	}
	r.put(keyIntention(id), &i)
	r.put(hexed2(byPayer, r.creator, id), present{})
	r.emit(payment.LedgerEvent{
		Kind: payment.EventDeclared, Account: r.creator, Torrent: a.Torrent, Intention: id, Coins: i.funds,
	})
	if code := r.checkOpens(a.Opens); code != OK {
		return code
	}
	r.each(len(a.Opens), func(n int) Code { return r.open(&a.Opens[n]) })
	return OK
}

// declareKeys are the rows that Declare reads whatever they say.
func declareKeys(creator payment.Account, a *Declare) []string {
	keys := []string{keyTorrent(a.Torrent), keyPriceNow, keyAccount(creator)}
	for _, id := range a.Credits {
		keys = append(keys, keyCredit(creator, id))
	}
	return keys
}

func checkAmounts(units, most uint64, margin uint16) Code {
	if units == 0 || units > most {
		return BadUnits
	}
	if margin < MinMargin || margin > MaxMargin {
		return BadMargin
	}
	return OK
}

// freeze moves coins from the payer's balance into the intention. What is
// redeemed later comes out of the intention alone.
func (r *run) freeze(i *intention, units uint64, margin uint16) Code {
	amount, ok := cost(units, i.price, margin)
	if !ok {
		return Overflow
	}
	funds, ok := i.funds.Add(amount)
	if !ok {
		return Overflow
	}
	if code := r.debit(amount); code != OK {
		return code
	}
	i.funds = funds
	r.moved(amount)
	return OK
}

func (r *run) addFunds() Code {
	a := r.tx.Args.(*AddFunds)
	var i intention
	var t torrent
	if code := r.ownIntention(a.Intention, &i); code != OK {
		return code
	}
	if i.closed {
		return Closed
	}
	if !r.read(keyTorrent(i.torrent), &t) {
		return NoTorrent
	}
	if code := checkAmounts(a.Units, t.units, a.Margin); code != OK {
		return code
	}
	before := i.funds
	if code := r.freeze(&i, a.Units, a.Margin); code != OK {
		return code
	}
	r.put(keyIntention(a.Intention), &i)
	r.emit(payment.LedgerEvent{
		Kind: payment.EventDeclared, Account: r.creator, Torrent: i.torrent, Intention: a.Intention, Coins: i.funds - before,
	})
	return OK
}

// ownIntention reads an intention of the creator.
func (r *run) ownIntention(id payment.IntentionID, i *intention) Code {
	if !r.read(keyIntention(id), i) {
		return NoIntention
	}
	if i.payer != r.creator {
		return NotPayer
	}
	return OK
}

// unreserved returns the coins that no receiver may have. L2 says that they
// are not negative; a state in which they are is damaged.
func (i *intention) unreserved() (payment.Amount, bool) {
	reserved, fits := i.price.Mul(i.reserved)
	used, ok := reserved.Add(i.returned)
	free, enough := i.funds.Sub(used)
	return free, fits && ok && enough
}

// covers reports whether so many more units can be reserved.
func (i *intention) covers(units uint64) bool {
	free, ok := i.unreserved()
	need, fits := i.price.Mul(units)
	return ok && fits && need <= free
}

func (r *run) close() Code {
	a := r.tx.Args.(*Close)
	var i intention
	switch {
	case !r.read(keyIntention(a.Intention), &i):
		return NoIntention
	case !r.actsFor(i.payer):
		return NotPayer
	case i.closed:
		return Already
	}
	i.closed = true
	before := i.returned
	r.settleIntention(a.Intention, &i)
	r.emit(payment.LedgerEvent{
		Kind: payment.EventClosed, Account: r.creator, Torrent: i.torrent, Intention: a.Intention, Coins: i.returned - before,
	})
	r.moved(i.returned - before)
	return OK
}

// settleIntention writes an intention after units came free: once it is
// closed they return to the payer at once (L7).
func (r *run) settleIntention(id payment.IntentionID, i *intention) {
	if i.closed {
		free, ok := i.unreserved()
		if !ok {
			r.err = ErrDamaged
			return
		}
		i.returned += free // at most funds
		r.credit(free)
		if i.open == 0 {
			r.delete(hexed2(byPayer, i.payer, id))
		}
	}
	r.put(keyIntention(id), i)
}
