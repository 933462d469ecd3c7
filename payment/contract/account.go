package contract

import "torrente/payment"

func (r *run) balance() payment.Amount {
	var c coins
	r.read(keyAccount(r.creator), &c)
	return payment.Amount(c)
}

func (r *run) setBalance(a payment.Amount) {
	if a == 0 && !r.has(keyAccount(r.creator)) {
		return
	}
	r.put(keyAccount(r.creator), coins(a))
}

// debit takes coins from the creator's balance.
func (r *run) debit(amount payment.Amount) Code {
	rest, ok := r.balance().Sub(amount)
	if !ok {
		return NoCoins
	}
	if amount > 0 {
		r.setBalance(rest)
	}
	return OK
}

// credit adds coins to the creator's balance. All coins together fit 64 bits
// (Genesis, Mint), so a sum that does not is damage.
func (r *run) credit(amount payment.Amount) {
	sum, ok := r.balance().Add(amount)
	if !ok {
		r.err = ErrDamaged
		return
	}
	if amount > 0 {
		r.setBalance(sum)
	}
}

// give makes coins a credit of another account, named by this transaction. The
// other's balance is not touched: its row has one writer.
func (r *run) give(to payment.Account, amount payment.Amount) {
	var before coins
	key := keyCredit(to, r.id)
	r.read(key, &before)
	sum, ok := payment.Amount(before).Add(amount)
	if !ok {
		r.err = ErrDamaged
		return
	}
	if amount > 0 {
		r.put(key, coins(sum))
	}
}

func (r *run) transfer() Code {
	a := r.tx.Args.(*Transfer)
	switch {
	case a.To == r.creator:
		return ToOneself
	case a.To.IsZero() || a.Coins == 0:
		return BadArguments
	}
	if code := r.debit(a.Coins); code != OK {
		return code
	}
	r.give(a.To, a.Coins)
	r.moved(a.Coins)
	r.emit(payment.LedgerEvent{Kind: payment.EventTransfer, Account: r.creator, Receiver: a.To, Coins: a.Coins})
	return OK
}

// sweep adds named credits to the creator's balance. They are named because a
// range would conflict with every redeem.
func (r *run) sweep() Code {
	a := r.tx.Args.(*Sweep)
	if !distinct(a.Credits, func(id *TxID) TxID { return *id }) {
		return Duplicate
	}
	keys := []string{keyAccount(r.creator)}
	for _, id := range a.Credits {
		keys = append(keys, keyCredit(r.creator, id))
	}
	r.load(keys...)
	code := r.each(len(a.Credits), func(i int) Code { return r.sweepCredit(keys[i+1]) })
	if code == OK {
		r.emit(payment.LedgerEvent{Kind: payment.EventSwept, Account: r.creator, Coins: r.result.Coins})
	}
	return code
}

// sweepCredit adds a credit to the creator's balance, and to what the result reports.
func (r *run) sweepCredit(key string) Code {
	c, found := r.takeCredit(key)
	if !found {
		return NoCredit
	}
	r.moved(c)
	return OK
}

// takeCredit adds a credit's row, if it is there, to the creator's balance.
func (r *run) takeCredit(key string) (payment.Amount, bool) {
	var c coins
	if !r.read(key, &c) {
		return 0, false
	}
	r.delete(key)
	r.credit(payment.Amount(c))
	return payment.Amount(c), true
}

// takeCredits adds to the creator's balance those of some credits that are there.
func (r *run) takeCredits(credits []TxID) {
	var sum payment.Amount
	for _, id := range credits {
		c, _ := r.takeCredit(keyCredit(r.creator, id))
		sum += c // all coins together fit
	}
	if sum > 0 {
		r.emit(payment.LedgerEvent{Kind: payment.EventSwept, Account: r.creator, Coins: sum})
	}
}

func (r *run) setDelegate() Code {
	a := r.tx.Args.(*SetDelegate)
	key := keyDelegate(r.creator)
	var before digest
	r.read(key, &before)
	switch {
	case a.Delegate == r.creator:
		return ToOneself
	case before == digest(a.Delegate):
		return Already
	case a.Delegate.IsZero():
		r.delete(key)
	default:
		r.put(key, digest(a.Delegate))
	}
	r.emit(payment.LedgerEvent{Kind: payment.EventDelegate, Account: r.creator, Receiver: a.Delegate})
	return OK
}
