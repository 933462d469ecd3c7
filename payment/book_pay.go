package payment

import "time"

// Counted is what links were worth to the torrent that they came in.
type Counted struct {
	// Paid is how many more units are paid for: the links' units without those
	// that went to debts.
	Paid uint64
	// Window is how many units the swarm may have unpaid at once now: its lease,
	// and what it can still be lent.
	Window uint64
	// Recalled is how many units the swarm's lease has shrunk by, because the
	// window no longer covers it.
	Recalled uint64
}

// Count takes a link of c, whose index the ledger covers up to registeredCap.
// What min(index, cap) grew by since the last call earns credit and pays: debts
// first, this torrent's before others. A repeated or smaller index counts
// nothing, so links may be counted again after a crash. A commitment between
// other accounts counts nothing.
func (b *Book) Count(now time.Time, c *Commitment, index, registeredCap uint32) Counted {
	if c.Receiver != b.config.Me || c.Payer != b.config.Them {
		return Counted{}
	}
	id := c.ID()
	deepest, before := min(index, registeredCap, c.Links), b.counted[id]
	if deepest <= before || (before == 0 && len(b.counted) >= maxCommitments) {
		return Counted{}
	}
	b.counted[id] = deepest
	units := uint64(deepest - before)
	b.earn(now, c.Price, units)
	if t := b.tabs[c.Torrent]; t != nil {
		t.hold = time.Time{}
	}
	var recalled uint64
	paid := b.payDebts(c.Torrent, units)
	if t := b.tabs[c.Torrent]; t != nil {
		recalled = min(b.Recall(c.Torrent), paid)
		t.leased -= recalled
		b.tidy(c.Torrent)
	}
	return Counted{Paid: paid, Recalled: recalled, Window: b.Room(c.Torrent)}
}

// Recount takes, after a crash, a link that is on record and that the book may
// not have counted. It earns credit, and pays debts that were known before it
// came; what was in doubt since is not paid by it, nor is anything paid ahead.
func (b *Book) Recount(now time.Time, c *Commitment, index, registeredCap uint32) {
	if c.Receiver != b.config.Me || c.Payer != b.config.Them {
		return
	}
	id := c.ID()
	deepest, before := min(index, registeredCap, c.Links), b.counted[id]
	if deepest <= before || (before == 0 && len(b.counted) >= maxCommitments) {
		return
	}
	b.counted[id] = deepest
	units := uint64(deepest - before)
	b.earn(now, c.Price, units)
	for _, torrent := range b.torrents(c.Torrent) {
		t := b.tabs[torrent]
		known := min(units, t.debt)
		t.debt -= known
		t.ages.pay(known)
		t.units = newest(t.units, t.debt)
		units -= known
		b.tidy(torrent)
	}
	b.unsafe = true
}

// Paid takes units that Count said are paid for, and that the torrent's swarm
// could not take since its connection had ended: they pay debts, and the rest
// is served later.
func (b *Book) Paid(torrent TorrentID, units uint64) {
	rest := b.payDebts(torrent, units)
	if rest == 0 {
		return
	}
	if t := b.tab(torrent); t != nil {
		t.ahead += rest
	}
}

// Forget drops what was counted of a commitment that has ended on the ledger:
// nothing can be counted on it again.
func (b *Book) Forget(c CommitmentID) { delete(b.counted, c) }

// Counts returns how far a commitment was counted.
func (b *Book) Counts(c CommitmentID) uint32 { return b.counted[c] }

func (b *Book) earn(now time.Time, price Amount, units uint64) {
	b.halve(now)
	coins, ok := price.Mul(units)
	if !ok {
		return // no valid commitment is worth so much
	}
	if b.credit == 0 {
		b.halved = now
	}
	b.credit = addSaturated(b.credit, coins)
}

// payDebts pays the debts with units and returns what is left of them.
func (b *Book) payDebts(first TorrentID, units uint64) uint64 {
	if b.Owed() == 0 {
		return units // nearly always
	}
	for _, torrent := range b.torrents(first) {
		units = b.tabs[torrent].settle(units)
		b.tidy(torrent)
		if units == 0 {
			break
		}
	}
	return units
}

// settle takes the oldest units out of what is owed and returns how many more
// there were.
func (t *tab) settle(units uint64) (rest uint64) {
	known := min(units, t.debt)
	doubted := min(units-known, t.doubt)
	t.debt, t.doubt = t.debt-known, t.doubt-doubted
	t.ages.pay(known + doubted)
	t.units = newest(t.units, t.debt)
	t.repaid(known + doubted) // after a crash the links pay it again
	return units - known - doubted
}

// repaid lowers what records that are or will be on disk make safe: after a crash
// so many units of what they say are paid or forgiven once more.
func (t *tab) repaid(units uint64) {
	t.safe -= min(units, t.safe)
	t.begun -= min(units, t.begun)
}

// Advance lets time pass: credit halves, debts that are too old are written off,
// and what is too long on hold is a default.
func (b *Book) Advance(now time.Time) {
	b.halve(now)
	for _, torrent := range b.torrents(TorrentID{}) { // in order: they share the credit
		t := b.tabs[torrent]
		if until := t.heldUntil(); !until.IsZero() && !now.Before(until) {
			t.hold = time.Time{}
			b.failIn(t)
		}
		if units := t.ages.until(now.Add(-awayLimit)); units > 0 {
			b.writeOff(t, units)
			b.tidy(torrent)
		}
	}
}

// writeOff takes overdue units out of the debt, and 16 times their price out of
// the credit: what earned the loan. They may have been lost on their way to a
// buyer that has them from somebody else by now, so that nobody can pay them;
// and who had them gains nothing over a thief. What the credit does not cover is
// a default.
func (b *Book) writeOff(t *tab, units uint64) {
	var n uint64
	if !b.defaulted {
		n = min(units, b.earned())
	}
	cost, _ := b.config.Price.Mul(creditPerUnit * n) // earned says that it fits
	b.credit -= cost
	t.settle(n)
	b.unsafe = true
	if n < units {
		b.failIn(t)
	}
}

// Deadline returns when Advance has something to do next, or zero for never.
func (b *Book) Deadline() time.Time {
	var first time.Time
	if b.credit > 0 {
		first = b.halved.Add(creditHalves)
	}
	for _, t := range b.tabs {
		if due := t.due(); !due.IsZero() && (first.IsZero() || due.Before(first)) {
			first = due
		}
	}
	return first
}

// due returns when the tab is overdue, or zero: a debt is as old as its oldest
// unit, whatever connections there were since.
func (t *tab) due() (at time.Time) {
	if since := t.ages.oldest(); !since.IsZero() {
		at = since.Add(awayLimit)
	}
	if held := t.heldUntil(); !held.IsZero() && (at.IsZero() || held.Before(at)) {
		at = held
	}
	return at
}

// heldUntil returns when a hold is a default, or zero.
func (t *tab) heldUntil() time.Time {
	if t.hold.IsZero() || t.owed()+t.leased == 0 {
		return time.Time{}
	}
	return t.hold.Add(holdLimit)
}

// fail takes the credit away. The debt stays and is paid first.
func (b *Book) fail() { b.credit, b.defaulted, b.unsafe = 0, true, true }

// failIn is the default of a torrent's debt. Once is enough: the debt stays, and
// what is earned from now on is the account's own.
func (b *Book) failIn(t *tab) {
	b.fail()
	t.ages.failed()
}

// halve applies the halvings that are due. A clock that went back halves
// nothing twice.
func (b *Book) halve(now time.Time) {
	for b.credit > 0 && now.Sub(b.halved) >= creditHalves {
		b.credit /= 2
		b.unsafe = true
		b.halved = b.halved.Add(creditHalves)
	}
}
