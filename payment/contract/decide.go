package contract

import (
	"bytes"
	"crypto/sha256"
	"slices"

	"torrente/payment"
)

// What the decisions of a majority do.

// execute begins an epoch. Intentions keep the price at which they were
// declared: it is theirs.
func (d *SetPrice) execute(r *run) Code {
	now, price := r.priceNow()
	if price == d.Price {
		return Already
	}
	r.put(keyPriceNow, epoch(now+1))
	r.put(keyPrice(now+1), coins(d.Price))
	r.emit(payment.LedgerEvent{Kind: payment.EventPrice, Price: d.Price, Epoch: now + 1, Before: price})
	return OK
}

// execute makes coins, as a credit of the account, whose balance has one
// writer. All coins there ever were fit 64 bits, so that no sum of them wraps.
func (m *Mint) execute(r *run) Code {
	if m.Account.IsZero() || m.Coins == 0 {
		return BadArguments
	}
	var l ledgerRow
	var before coins
	r.read(keyLedger, &l)
	r.read(keyMinted, &before)
	sum, ok := payment.Amount(before).Add(m.Coins)
	_, fits := l.minted.Add(sum)
	if !ok || !fits {
		return Overflow
	}
	r.put(keyMinted, coins(sum))
	r.give(m.Account, m.Coins)
	r.moved(m.Coins)
	r.emit(payment.LedgerEvent{Kind: payment.EventMinted, Receiver: m.Account, Coins: m.Coins})
	return OK
}

func (a *Revoke) execute(r *run) Code { return r.revokeKey(a.MSP, a.SPKI, true) }

func (a *Reinstate) execute(r *run) Code { return r.reinstateKey(a.Account, true) }

// execute names the heir. An account that has one stays without a key of its
// own for good, and is nobody's heir: so there are no circles. If the heir was
// reassigned too, the account may be given another.
func (d *Reassign) execute(r *run) Code {
	from, to := d.accounts()
	var org organisation
	switch {
	case !r.read(keyOrganisation(d.MSP), &org):
		return UnknownMember
	case from == to:
		return SameAccount
	case !validKey(d.New):
		return BadArguments // nobody could ever move the coins
	case org.administrator == from:
		return IsAdministrator
	case r.has(keyRevoked(to)):
		return Revoked
	}
	if r.has(keyHeir(to)) {
		return Reassigned
	}
	if heir, has := r.heir(from); has {
		if heir == to {
			return Already
		}
		if _, over := r.heir(heir); !over {
			return Reassigned
		}
	}
	if code := r.revokeKey(d.MSP, d.Old, true); !code.Success() {
		return code
	}
	r.put(keyHeir(from), digest(to))
	coins := r.takeBalance(from)
	r.give(to, coins)
	r.moved(coins)
	r.emit(payment.LedgerEvent{Kind: payment.EventReassigned, Account: from, Receiver: to, Coins: coins})
	return OK
}

// execute adds the organisation to those that are counted. It has no coins, and what
// was decided before stays as it is.
func (a *Admit) execute(r *run) Code {
	all := r.organisations()
	if slices.Contains(all, a.MSP) {
		return r.admitted(a)
	}
	switch {
	case slices.ContainsFunc(a.Roots, func(der []byte) bool { return !validRoot(der) }):
		return BadRoot
	case a.Check() != nil || a.Administrator.IsZero():
		return BadArguments
	case len(all) >= maxOrganisations:
		return ManyOrganisations
	}
	all = append(slices.Clone(all), a.MSP)
	slices.Sort(all)
	r.put(keyOrganisations, organisationList(all))
	r.found(r.tx.Ledger, &a.Organisation)
	r.emit(payment.LedgerEvent{Kind: payment.EventRoots})
	return OK
}

// admitted says whether an organisation that is there is the one of a proposal.
func (r *run) admitted(a *Admit) Code {
	var o organisation
	r.read(keyOrganisation(a.MSP), &o)
	unknown := func(der []byte) bool {
		return !slices.ContainsFunc(o.roots, func(other []byte) bool { return bytes.Equal(other, der) })
	}
	if o.administrator != a.Administrator || slices.ContainsFunc(a.Roots, unknown) {
		return Conflict
	}
	return Already
}

func validKey(spki []byte) bool {
	_, err := payment.ParseKey(spki)
	return err == nil
}

// revokeKey stops an account from freezing, opening and transferring (L10). The
// key is given whole, so that the row also names it as certificates are revoked
// between nodes. What a majority revoked the organisation alone cannot undo.
func (r *run) revokeKey(msp string, spki []byte, byAll bool) Code {
	account := payment.AccountOf(msp, spki)
	var org organisation
	if !r.read(keyOrganisation(msp), &org) {
		return UnknownMember
	}
	if org.administrator == account {
		return IsAdministrator // or its organisation could not be heard any more
	}
	var before revocation
	was := r.read(keyRevoked(account), &before)
	if was && (before.byAll || !byAll) {
		return Already
	}
	if code := r.countRevocation(msp, &before, was, !byAll); code != OK {
		return code
	}
	r.put(keyRevoked(account), &revocation{sha256.Sum256(spki), byAll, msp})
	if !was {
		r.emit(payment.LedgerEvent{Kind: payment.EventRevoked, Account: account})
	}
	return OK
}

func (r *run) reinstateKey(account payment.Account, byAll bool) Code {
	var before revocation
	switch {
	case !r.read(keyRevoked(account), &before):
		return Already
	case !byAll && (before.msp != r.msp || before.byAll && !r.majority(1)):
		return NoMajority
	case r.has(keyHeir(account)):
		return Reassigned
	}
	r.countRevocation(before.msp, &before, true, false)
	r.delete(keyRevoked(account))
	r.emit(payment.LedgerEvent{Kind: payment.EventReinstated, Account: account})
	return OK
}

// countRevocation keeps the number of keys that an organisation alone has revoked,
// which it must not pile up: they need not even exist.
func (r *run) countRevocation(msp string, before *revocation, was, will bool) Code {
	counted := was && !before.byAll
	if counted == will {
		return OK
	}
	var had pile
	r.read(keyPile(msp), &had)
	switch {
	case !will && had.revocations == 0:
		return OK // revoked before they were counted
	case !will:
		had.revocations--
	case had.revocations >= maxRevocations:
		return ManyRevoked
	default:
		had.revocations++
	}
	r.put(keyPile(msp), had)
	return OK
}
