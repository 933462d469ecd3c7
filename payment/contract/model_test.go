package contract

import (
	"bytes"
	"maps"
	"slices"

	"torrente/payment"
)

// model is the ledger as plain sums over lists: slow, and written to be
// believed by reading. It predicts whether each call succeeds and what it
// moves, and every account's coins.
type model struct {
	film        payment.TorrentID
	units       uint64
	epoch       uint64
	prices      map[uint64]uint64
	balance     map[string]uint64
	credits     map[string]map[TxID]uint64
	intentions  map[payment.IntentionID]*modelIntention
	commitments map[payment.CommitmentID]*modelCommitment
	order       []payment.CommitmentID // as opened
	delegate    map[string]payment.Account
	revoked     map[string]string // by whom: a name, or "all"
	heir        map[string]string
	council     []string // the names of the administrators
	proposals   map[TxID]*modelProposal
	minted      uint64
	requests    map[string]modelRequest
	ledger      payment.LedgerID
}

type modelIntention struct {
	payer                            string
	epoch, price, funds, back, since uint64
	closed                           bool
}

type modelCommitment struct {
	payment.Commitment
	caps              []uint32
	redeemed          uint32
	released, settled bool
	final             uint32
}

type modelProposal struct {
	Decision
	at     uint64
	agree  map[string]bool // administrators
	passed bool
	voters int // organisations when it passed
}

type modelRequest struct {
	args   []byte
	answer modelAnswer
}

// modelAnswer is what a call should answer: success of it and of each item.
type modelAnswer struct {
	ok    bool
	coins uint64
	items []bool
}

var names = []string{
	"admin", "alice", "bob", "mallory", "other", "seller", "stranger", "guest",
	"admin2", "admin3", "admin4", "admin5", "admin6", "admin7", "admin8", "admin9",
}

func nameOf(a payment.Account) string {
	for _, n := range names {
		if people()[n].Account() == a {
			return n
		}
	}
	return ""
}

func (m *model) opened(i payment.IntentionID) (all []*modelCommitment) {
	for _, id := range m.order {
		if c := m.commitments[id]; c.Intention == i {
			all = append(all, c)
		}
	}
	return all
}

// held is how many units a receiver may have of the commitment.
func (c *modelCommitment) held() uint64 {
	switch {
	case c.settled:
		return uint64(c.redeemed)
	case c.released:
		return uint64(c.final)
	}
	return uint64(slices.Max(c.caps))
}

// free is the coins of an intention that nobody may redeem.
func (m *model) free(id payment.IntentionID) uint64 {
	i := m.intentions[id]
	held := uint64(0)
	for _, c := range m.opened(id) {
		held += c.held()
	}
	return i.funds - i.back - held*i.price
}

func (m *model) frozen(who string) (sum uint64) {
	for _, id := range slices.SortedFunc(maps.Keys(m.intentions), func(a, b payment.IntentionID) int { return bytes.Compare(a[:], b[:]) }) {
		i := m.intentions[id]
		if i.payer != who {
			continue
		}
		sum += i.funds - i.back
		for _, c := range m.opened(id) {
			sum -= uint64(c.redeemed) * i.price
		}
	}
	return sum
}

func (m *model) unswept(who string) (sum uint64) {
	for _, c := range m.credits[who] {
		sum += c
	}
	return sum
}

// payBack returns what came free in closed intentions.
func (m *model) payBack(who string, id payment.IntentionID) uint64 {
	i := m.intentions[id]
	if !i.closed {
		return 0
	}
	free := m.free(id)
	i.back += free
	m.balance[who] += free
	return free
}

// apply predicts a transaction of who, and does to the model what it should do.
func (m *model) apply(who string, tx *Transaction) modelAnswer {
	if m.administrator(people()[who].MSP) == "" || tx.Ledger != m.ledger {
		return modelAnswer{}
	}
	args := tx.Args.append([]byte{byte(tx.Args.Call())})
	key := who + tx.Request.String()
	switch tx.Args.(type) {
	case *Declare, *AddFunds, *Transfer, *OpenMany, *TopUpMany:
		if m.revoked[who] != "" {
			return modelAnswer{}
		}
	}
	switch tx.Args.(type) {
	case *Declare, *AddFunds, *Transfer:
		if before, done := m.requests[key]; done {
			if !bytes.Equal(before.args, args) {
				return modelAnswer{}
			}
			return before.answer
		}
		answer := m.do(who, tx)
		if answer.ok {
			m.requests[key] = modelRequest{args, answer}
		}
		return answer
	}
	return m.do(who, tx)
}

func (m *model) do(who string, tx *Transaction) modelAnswer {
	switch a := tx.Args.(type) {
	case *Declare:
		return m.declare(who, tx, a)
	case *AddFunds:
		return m.addFunds(who, a)
	case *OpenMany:
		return list(a.Opens, func(o Open) any { return o.Commitment.Root }, func(o Open) (bool, uint64) { return m.open(who, tx, o), 0 })
	case *TopUpMany:
		return list(a.TopUps, func(u TopUp) any { return u.Commitment }, func(u TopUp) (bool, uint64) { return m.topUp(who, tx, u), 0 })
	case *RedeemMany:
		return list(a.Redeems, func(d Redeem) any { return d.Commitment }, func(d Redeem) (bool, uint64) { return m.redeem(who, tx, d) })
	case *ReleaseMany:
		return list(a.Releases, func(l Release) any { return l.Close.Commitment }, func(l Release) (bool, uint64) { return m.release(who, l), 0 })
	case *Refund:
		return list(a.Settles, func(s Settle) any { return s.Commitment }, func(s Settle) (bool, uint64) { return m.settle(who, tx, s) })
	case *Sweep:
		return list(a.Credits, func(id TxID) any { return id }, func(id TxID) (bool, uint64) { return m.sweep(who, id) })
	case *Close:
		i := m.intentions[a.Intention]
		if i == nil || !m.actsFor(who, i.payer) {
			return modelAnswer{}
		}
		if i.closed {
			return modelAnswer{ok: true}
		}
		i.closed = true
		return modelAnswer{ok: true, coins: m.payBack(who, a.Intention)}
	case *Transfer:
		return m.transfer(who, tx, a)
	case *SetDelegate:
		m.delegate[who] = a.Delegate
		return modelAnswer{ok: a.Delegate != people()[who].Account()}
	case *Inherit:
		return m.inherit(who, a)
	case *Propose:
		return m.propose(who, tx, a)
	case *Approve:
		return m.approve(who, tx, a)
	case *Revoke:
		account := nameOf(payment.AccountOf(a.MSP, a.SPKI))
		if !m.isAdministrator(who) || people()[account].MSP != people()[who].MSP || m.isAdministrator(account) {
			return modelAnswer{}
		}
		if m.revoked[account] == "" {
			m.revoked[account] = who
		}
		return modelAnswer{ok: true}
	case *Reinstate:
		name := nameOf(a.Account)
		by := m.revoked[name]
		if m.isAdministrator(who) && by == "" {
			return modelAnswer{ok: true} // already
		}
		if by == "" || !m.isAdministrator(who) || people()[name].MSP != people()[who].MSP || by == "all" && len(m.council) > 1 || m.heir[name] != "" {
			return modelAnswer{}
		}
		delete(m.revoked, name)
		return modelAnswer{ok: true}
	}
	panic("a call that the model does not know")
}

// list is a call with items, of which none comes twice.
func list[T any](items []T, key func(T) any, one func(T) (bool, uint64)) modelAnswer {
	seen := map[any]bool{}
	for _, item := range items {
		if seen[key(item)] {
			return modelAnswer{}
		}
		seen[key(item)] = true
	}
	var answer modelAnswer
	for _, item := range items {
		ok, coins := one(item)
		answer.items = append(answer.items, ok)
		answer.ok = answer.ok || ok
		answer.coins += coins
	}
	return answer
}

func (m *model) declare(who string, tx *Transaction, a *Declare) modelAnswer {
	funds := (a.Units*m.prices[m.epoch]*uint64(a.Margin) + 99) / 100
	if a.Torrent != m.film || a.Units == 0 || a.Units > m.units || a.Margin < 100 || a.Margin > 150 || m.prices[m.epoch] > uint64(a.MaxPrice) {
		return modelAnswer{}
	}
	had, twice := m.balance[who], map[TxID]bool{}
	for _, id := range a.Credits {
		if twice[id] {
			return modelAnswer{}
		}
		twice[id] = true
		had += m.credits[who][id]
	}
	if funds > had {
		return modelAnswer{}
	}
	roots := map[payment.Link]bool{}
	for _, o := range a.Opens {
		if roots[o.Commitment.Root] {
			return modelAnswer{}
		}
		roots[o.Commitment.Root] = true
	}
	for _, id := range a.Credits {
		m.sweep(who, id)
	}
	m.balance[who] -= funds
	id := payment.IntentionOf(m.ledger, people()[who].Account(), a.Torrent, tx.Request)
	m.intentions[id] = &modelIntention{payer: who, epoch: m.epoch, price: m.prices[m.epoch], funds: funds, since: tx.Time}
	answer := modelAnswer{ok: true, coins: funds}
	for _, o := range a.Opens {
		answer.items = append(answer.items, m.open(who, tx, o))
	}
	return answer
}

func (m *model) addFunds(who string, a *AddFunds) modelAnswer {
	i := m.intentions[a.Intention]
	if i == nil || i.payer != who || i.closed || a.Units == 0 || a.Units > m.units || a.Margin < 100 || a.Margin > 150 {
		return modelAnswer{}
	}
	funds := (a.Units*i.price*uint64(a.Margin) + 99) / 100
	if funds > m.balance[who] {
		return modelAnswer{}
	}
	m.balance[who] -= funds
	i.funds += funds
	return modelAnswer{ok: true, coins: funds}
}

func (m *model) open(who string, tx *Transaction, o Open) bool {
	c := o.Commitment
	if nameOf(c.Payer) != who || c.Ledger != m.ledger {
		return false
	}
	if old := m.commitments[c.ID()]; old != nil {
		return old.caps[0] == o.Cap
	}
	i := m.intentions[c.Intention]
	if i == nil || i.payer != who || i.closed || c.Torrent != m.film || uint64(c.Price) != i.price || c.Epoch != i.epoch {
		return false
	}
	if i.epoch+1 < m.epoch || tx.Time > i.since+7*24*hour || c.Expiry < tx.Time+2*hour || c.Expiry > tx.Time+7*24*hour {
		return false
	}
	for _, id := range m.order {
		old := m.commitments[id]
		sameSlot := old.Intention == c.Intention && old.Receiver == c.Receiver && old.Slot == c.Slot
		if old.Payer == c.Payer && old.Root == c.Root || sameSlot {
			return false
		}
	}
	if o.Cap == 0 || o.Cap > c.Links || uint64(o.Cap)*i.price > m.free(c.Intention) {
		return false
	}
	m.commitments[c.ID()] = &modelCommitment{Commitment: c, caps: []uint32{o.Cap}}
	m.order = append(m.order, c.ID())
	return true
}

func (m *model) topUp(who string, tx *Transaction, u TopUp) bool {
	c := m.commitments[u.Commitment]
	if c == nil || nameOf(c.Payer) != who {
		return false
	}
	if int(u.K) < len(c.caps) {
		return c.caps[u.K] == u.Cap
	}
	if int(u.K) > len(c.caps) || u.Cap <= c.caps[u.K-1] || u.Cap > c.Links || c.released || c.settled || tx.Time >= c.Expiry {
		return false
	}
	i := m.intentions[c.Intention]
	if i.closed || uint64(u.Cap-c.caps[u.K-1])*i.price > m.free(c.Intention) {
		return false
	}
	c.caps = append(c.caps, u.Cap)
	return true
}

func (m *model) redeem(who string, tx *Transaction, d Redeem) (bool, uint64) {
	c := m.commitments[d.Commitment]
	if c == nil || !m.mayRedeem(who, nameOf(c.Receiver)) {
		return false, 0
	}
	limit := uint32(0)
	if int(d.K) < len(c.caps) {
		limit = c.caps[d.K]
	}
	if c.released || c.settled {
		limit = min(limit, c.final)
	}
	if tx.Time >= c.Expiry || d.Index > limit {
		return false, 0
	}
	if d.Index < c.redeemed {
		return true, 0
	}
	if !c.Commitment.Verify(c.Start(), payment.Claim{Index: d.Index, Link: d.Link}) {
		return false, 0
	}
	coins := uint64(d.Index-c.redeemed) * uint64(c.Price)
	c.redeemed = d.Index
	if coins > 0 {
		m.give(nameOf(c.Receiver), tx.ID(people()[who].Account()), coins)
	}
	return true, coins
}

func (m *model) give(to string, tx TxID, coins uint64) {
	if m.credits[to] == nil {
		m.credits[to] = map[TxID]uint64{}
	}
	m.credits[to][tx] += coins
}

func (m *model) release(who string, l Release) bool {
	c := m.commitments[l.Close.Commitment]
	if c == nil || !m.actsFor(who, nameOf(c.Payer)) || l.Close.Ledger != m.ledger || l.Close.Verify(c.Receiver) != nil {
		return false
	}
	if c.released || c.settled {
		return c.final == l.Close.Final
	}
	if int(l.K) != len(c.caps)-1 || l.Close.Final > c.caps[l.K] || l.Close.Final < c.redeemed {
		return false
	}
	c.released, c.final, c.settled = true, l.Close.Final, l.Close.Final == c.redeemed
	m.payBack(who, c.Intention)
	return true
}

func (m *model) settle(who string, tx *Transaction, s Settle) (bool, uint64) {
	c := m.commitments[s.Commitment]
	switch {
	case c == nil || !m.actsFor(who, nameOf(c.Payer)):
		return false, 0
	case c.settled:
		return true, 0
	case tx.Time < c.Expiry+30*60, !c.released && int(s.K) != len(c.caps)-1:
		return false, 0
	}
	coins := (c.held() - uint64(c.redeemed)) * uint64(c.Price)
	c.settled, c.final = true, c.redeemed
	m.payBack(who, c.Intention)
	return true, coins
}

func (m *model) sweep(who string, id TxID) (bool, uint64) {
	coins, found := m.credits[who][id]
	delete(m.credits[who], id)
	m.balance[who] += coins
	return found, coins
}

func (m *model) transfer(who string, tx *Transaction, a *Transfer) modelAnswer {
	if a.To == people()[who].Account() || a.To.IsZero() || a.Coins == 0 || uint64(a.Coins) > m.balance[who] {
		return modelAnswer{}
	}
	m.balance[who] -= uint64(a.Coins)
	m.give(nameOf(a.To), tx.ID(people()[who].Account()), uint64(a.Coins))
	return modelAnswer{ok: true, coins: uint64(a.Coins)}
}
