package contract

import (
	"slices"

	"pgregory.net/rapid"

	"torrente/payment"
)

// The part of the model that is about organisations and what they decide.

func (m *model) isAdministrator(who string) bool { return slices.Contains(m.council, who) }

// administrator is that of an organisation; empty: there is no such one.
func (m *model) administrator(msp string) string {
	for _, who := range m.council {
		if people()[who].MSP == msp {
			return who
		}
	}
	return ""
}

func (m *model) actsFor(who, owner string) bool { return who == owner || m.heir[owner] == who }

func (m *model) mayRedeem(who, receiver string) bool {
	own := m.isAdministrator(who) && people()[who].MSP == people()[receiver].MSP
	return m.actsFor(who, receiver) || m.delegate[receiver] == people()[who].Account() || own && m.revoked[receiver] != ""
}

// possible says whether a decision could be done now, and whether it is so
// already.
func (m *model) possible(d Decision) (can, is bool) {
	switch d := d.(type) {
	case *SetPrice:
		return true, m.prices[m.epoch] == uint64(d.Price)
	case *Mint:
		sum := m.minted + uint64(d.Coins)
		return d.Coins > 0 && !d.Account.IsZero() && sum >= m.minted, false
	case *Revoke:
		who := nameOf(payment.AccountOf(d.MSP, d.SPKI))
		return m.administrator(d.MSP) != "" && !m.isAdministrator(who), m.revoked[who] == "all"
	case *Reinstate:
		who := nameOf(d.Account)
		return m.heir[who] == "", m.revoked[who] == ""
	case *Admit:
		before := m.administrator(d.MSP)
		is = before != "" && before == nameOf(d.Administrator)
		return is || before == "" && len(d.Roots) > 0, is
	case *Reassign:
		from, to := nameOf(payment.AccountOf(d.MSP, d.Old)), nameOf(payment.AccountOf(d.MSP, d.New))
		heir := m.heir[from]
		is = heir != "" && heir == to
		lost := heir == "" || is || m.heir[heir] != ""
		return from != to && !m.isAdministrator(from) && m.revoked[to] == "" && m.heir[to] == "" && lost, is
	}
	panic("a decision that the model does not know")
}

// decide does what was decided, and returns the coins that it moved.
func (m *model) decide(d Decision, tx TxID) (coins uint64) {
	switch d := d.(type) {
	case *SetPrice:
		m.epoch++
		m.prices[m.epoch] = uint64(d.Price)
	case *Mint:
		m.minted += uint64(d.Coins)
		m.give(nameOf(d.Account), tx, uint64(d.Coins))
		return uint64(d.Coins)
	case *Revoke:
		m.revoked[nameOf(payment.AccountOf(d.MSP, d.SPKI))] = "all"
	case *Reinstate:
		delete(m.revoked, nameOf(d.Account))
	case *Admit:
		m.council = append(m.council, nameOf(d.Administrator))
	case *Reassign:
		from, to := nameOf(payment.AccountOf(d.MSP, d.Old)), nameOf(payment.AccountOf(d.MSP, d.New))
		m.revoked[from], m.heir[from] = "all", to
		coins, m.balance[from] = m.balance[from], 0
		if coins > 0 {
			m.give(to, tx, coins)
		}
	}
	return coins
}

func (m *model) propose(who string, tx *Transaction, a *Propose) modelAnswer {
	id := tx.ID(people()[who].Account())
	if !m.isAdministrator(who) {
		return modelAnswer{}
	}
	if m.proposals[id] != nil {
		return modelAnswer{ok: true}
	}
	if can, is := m.possible(a.Decision); !can || is {
		return modelAnswer{ok: is && can}
	}
	m.proposals[id] = &modelProposal{a.Decision, tx.Time, map[string]bool{}, false, 0}
	return m.agree(who, m.proposals[id], id)
}

func (m *model) approve(who string, tx *Transaction, a *Approve) modelAnswer {
	p := m.proposals[a.Proposal]
	switch {
	case !m.isAdministrator(who) || p == nil:
		return modelAnswer{}
	case p.passed:
		return modelAnswer{ok: true}
	case tx.Time > p.at+7*24*hour:
		return modelAnswer{}
	case p.agree[who]:
		return modelAnswer{ok: true}
	}
	return m.agree(who, p, tx.ID(people()[who].Account()))
}

// agree counts a vote, unless it decides for what cannot be done.
func (m *model) agree(who string, p *modelProposal, tx TxID) modelAnswer {
	decides := 2*(len(p.agree)+1) > len(m.council)
	can, is := m.possible(p.Decision)
	if decides && !can {
		return modelAnswer{}
	}
	p.agree[who] = true
	answer := modelAnswer{ok: true}
	p.voters = len(m.council)
	if p.passed = decides; decides && !is {
		answer.coins = m.decide(p.Decision, tx)
	}
	return answer
}

func (m *model) inherit(who string, a *Inherit) modelAnswer {
	from := nameOf(a.From)
	if m.heir[from] != who {
		return modelAnswer{}
	}
	balance := m.balance[from]
	answer := list(a.Credits, func(id TxID) any { return id }, func(id TxID) (bool, uint64) {
		coins, found := m.credits[from][id]
		if found {
			delete(m.credits[from], id)
			m.balance[who] += coins
		}
		return found, coins
	})
	if len(answer.items) != len(a.Credits) { // one comes twice
		return modelAnswer{}
	}
	m.balance[from] -= balance
	m.balance[who] += balance
	answer.coins += balance
	answer.ok = answer.ok || balance > 0 || len(a.Credits) == 0
	return answer
}

// decisionAny is one that often makes sense.
func (p *play) decisionAny(t *rapid.T) Decision {
	victims := []string{"bob", "mallory", "guest", "admin", "alice"}
	if len(p.model.council) < 2 { // guest's organisation is not there
		victims[2] = "bob"
	}
	a := people()[rapid.SampledFrom(victims).Draw(t, "whose")]
	switch rapid.IntRange(0, 7).Draw(t, "decision") {
	case 0, 1:
		return &SetPrice{payment.Amount(rapid.Uint64Range(0, 20).Draw(t, "price"))}
	case 2:
		return &Mint{a.Account(), payment.Amount(rapid.OneOf(
			rapid.Uint64Range(0, 5000), rapid.Just(uint64(1<<64-1)),
		).Draw(t, "coins"))}
	case 3:
		return &Revoke{a.MSP, a.SPKI}
	case 4:
		return &Reinstate{a.Account()}
	case 5:
		i := rapid.IntRange(1, maxCouncil).Draw(t, "newcomer")
		root := secondRoot()
		if i == 1 {
			root = authorityRoot()
		}
		return &Admit{Organisation{mspOf(i), people()[adminOf(i)].Account(), rapid.SampledFrom([][][]byte{{root}, {root}, {}}).Draw(t, "roots")}}
	}
	heir := people()[rapid.SampledFrom([]string{"other", "seller", "alice", "bob"}).Draw(t, "heir")]
	from := people()[rapid.SampledFrom([]string{"bob", "mallory", "admin", "alice", "seller"}).Draw(t, "old")]
	return &Reassign{"Org1MSP", from.SPKI, heir.SPKI}
}

// voter is an administrator nearly always.
func (p *play) voter(t *rapid.T) string {
	return rapid.SampledFrom(append([]string{"alice", "admin9"}, append(p.model.council, p.model.council...)...)).Draw(t, "voter")
}

func (p *play) proposeAny(t *rapid.T) {
	p.send(t, p.voter(t), p.next(&Propose{p.decisionAny(t)}))
}

func (p *play) approveAny(t *rapid.T) {
	id := TxID{1}
	var open []TxID
	for _, s := range p.history {
		if id := s.tx.ID(people()[s.who].Account()); p.model.proposals[id] != nil {
			open = append(open, id)
		}
	}
	if len(open) > 0 {
		id = rapid.SampledFrom(open).Draw(t, "proposal")
	}
	p.send(t, p.voter(t), p.next(&Approve{id}))
}

func (p *play) inheritAny(t *rapid.T) {
	from := rapid.SampledFrom([]string{"bob", "mallory", "alice", "seller"}).Draw(t, "from")
	who := rapid.SampledFrom([]string{"other", "alice", "bob"}).Draw(t, "who")
	if heir := p.model.heir[from]; heir != "" && rapid.Bool().Draw(t, "heir") {
		who = heir
	}
	var ids []TxID
	for _, s := range p.history {
		id := s.tx.ID(people()[s.who].Account())
		if _, theirs := p.model.credits[from][id]; theirs && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	if rapid.IntRange(0, 4).Draw(t, "one more") == 0 {
		ids = append(ids, TxID{1})
	}
	p.send(t, who, p.next(&Inherit{people()[from].Account(), ids}))
}

// checkVotes compares every proposal, and that no coin is there but the
// beginning's and those of mints that passed (L9).
func (p *play) checkVotes(t *rapid.T) {
	books := p.audit()
	if uint64(books.Minted) != p.model.minted {
		t.Fatalf("%s coins were minted, and by the model %d", books.Minted, p.model.minted)
	}
	price := p.ledgerInfo()
	if price.Organisations != len(p.model.council) {
		t.Fatalf("%d organisations; the model has %v", price.Organisations, p.model.council)
	}
	if price.Epoch != p.model.epoch || uint64(price.Price) != p.model.prices[p.model.epoch] {
		t.Fatalf("%+v; the model %d in epoch %d", price, p.model.prices[p.model.epoch], p.model.epoch)
	}
	for id, want := range p.model.proposals {
		got := p.info(id)
		if len(got.Approved) != len(want.agree) || (got.Passed != 0) != want.passed || want.passed && (2*len(want.agree) <= want.voters || got.Organisations != want.voters) {
			t.Fatalf("%+v; the model %+v", got, want)
		}
	}
	for id, i := range p.model.intentions {
		got := must[Answer](t)(Ask(p.state.memory, Query{Kind: QueryIntention, Intention: id})).Intentions[0]
		if uint64(got.Price) != i.price || got.Epoch != i.epoch {
			t.Fatalf("the price of %v moved from %d to %s", id, i.price, got.Price)
		}
	}
}
