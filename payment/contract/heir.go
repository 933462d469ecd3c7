package contract

import "torrente/payment"

// heir returns the account to which another's coins were reassigned.
func (r *run) heir(of payment.Account) (heir payment.Account, has bool) {
	var d digest
	has = r.read(keyHeir(of), &d)
	return payment.Account(d), has
}

// actsFor reports whether the creator may free what an account has frozen: as
// the account itself, or as its heir. What comes free is the creator's: an
// account whose key is lost could not give it on.
func (r *run) actsFor(account payment.Account) bool {
	if account == r.creator {
		return true
	}
	heir, has := r.heir(account)
	return has && heir == r.creator
}

// takeBalance empties an account.
func (r *run) takeBalance(account payment.Account) payment.Amount {
	var c coins
	if r.read(keyAccount(account), &c) && c > 0 {
		r.put(keyAccount(account), coins(0))
	}
	return payment.Amount(c)
}

// inherit gives the creator what an account that was reassigned to it has come
// by: its balance and the credits named.
func (r *run) inherit() Code {
	a := r.tx.Args.(*Inherit)
	if a.From == r.creator || !r.actsFor(a.From) {
		return NotHeir
	}
	if !distinct(a.Credits, func(id *TxID) TxID { return *id }) {
		return Duplicate
	}
	keys := []string{keyAccount(r.creator), keyAccount(a.From)}
	for _, id := range a.Credits {
		keys = append(keys, keyCredit(a.From, id))
	}
	r.load(keys...)
	balance := r.takeBalance(a.From)
	r.credit(balance)
	r.moved(balance)
	code := r.each(len(a.Credits), func(i int) Code { return r.sweepCredit(keys[i+2]) })
	switch {
	case balance > 0:
		code = OK
	case len(a.Credits) == 0:
		return Already
	}
	if code == OK {
		r.emit(payment.LedgerEvent{Kind: payment.EventSwept, Account: r.creator, Coins: r.result.Coins})
	}
	return code
}
