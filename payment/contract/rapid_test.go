package contract

import (
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"torrente/payment"
)

// play is the real contract, on a backend that hides a transaction's own
// writes and on one that shows them, beside the model.
type play struct {
	*world
	plain   memory // the same calls, with writes seen at once
	model   *model
	chains  map[payment.CommitmentID]*payment.Chain
	history []sent
	intents []payment.IntentionID
	serial  byte
}

type sent struct {
	who string
	tx  *Transaction
}

// newPlay begins with so many organisations as the world has.
func newPlay(t *rapid.T, begin *world, organisations int) *play {
	w := &world{t: t, ledger: begin.ledger, now: start, film: begin.film}
	w.state = newCommitted(maps.Clone(begin.state.memory))
	p := &play{
		world: w, plain: maps.Clone(begin.state.memory), chains: map[payment.CommitmentID]*payment.Chain{},
		model: &model{
			film: w.film, units: 100, epoch: 1, prices: map[uint64]uint64{1: price}, ledger: w.ledger,
			balance: map[string]uint64{"alice": 10_000, "bob": 10_000, "mallory": 10_000},
			credits: map[string]map[TxID]uint64{}, intentions: map[payment.IntentionID]*modelIntention{},
			commitments: map[payment.CommitmentID]*modelCommitment{}, delegate: map[string]payment.Account{},
			revoked: map[string]string{}, requests: map[string]modelRequest{},
			heir: map[string]string{}, proposals: map[TxID]*modelProposal{}, minted: 30_000,
		},
	}
	for i := 1; i <= organisations; i++ {
		p.model.council = append(p.model.council, adminOf(i))
	}
	return p
}

// send executes one transaction everywhere and compares all answers and books.
func (p *play) send(t *rapid.T, who string, tx *Transaction) {
	p.t = t
	got := p.apply(who, tx)
	plain, err := Apply(p.plain, people()[who].Creator, tx)
	if err != nil || !cmp.Equal(got, plain) {
		t.Fatalf("%s by %s depends on the backend: %v\n%s", tx.Args.Call(), who, err, cmp.Diff(got, plain))
	}
	if !maps.EqualFunc(p.plain, p.state.memory, func(a, b []byte) bool { return string(a) == string(b) }) {
		t.Fatalf("%s by %s: the backends differ:\n%s", tx.Args.Call(), who, cmp.Diff(p.plain, p.state.memory))
	}
	want := p.model.apply(who, tx)
	items := make([]bool, len(got.Items))
	for i, code := range got.Items {
		items[i] = code.Success()
	}
	if got.Code.Success() != want.ok || want.ok && (uint64(got.Coins) != want.coins || len(want.items) > 0 && !cmp.Equal(items, want.items)) {
		t.Fatalf("%s by %s: %v, %s coins, %v; the model says %+v\n%+v", tx.Args.Call(), who, got.Code, got.Coins, got.Items, want, tx.Args)
	}
	if got.Code == OK && tx.Args.Call() == CallDeclare {
		p.intents = append(p.intents, payment.IntentionOf(p.ledger, people()[who].Account(), p.film, tx.Request))
	}
	p.history = append(p.history, sent{who, tx})
	p.compare(t)
}

// compare checks L1 to L3 by the audit, and every account against the model.
func (p *play) compare(t *rapid.T) {
	p.checkVotes(t)
	for _, who := range names {
		a := p.account(who)
		m := p.model
		if uint64(a.Balance) != m.balance[who] || uint64(a.Unswept) != m.unswept(who) || uint64(a.Frozen) != m.frozen(who) {
			t.Fatalf("%s has %+v; the model %d, %d, %d", who, a, m.balance[who], m.unswept(who), m.frozen(who))
		}
	}
}

func (p *play) who(t *rapid.T) string { return rapid.SampledFrom(names).Draw(t, "who") }

// payer is an honest one most of the time.
func (p *play) payer(t *rapid.T) string {
	return rapid.SampledFrom([]string{"alice", "alice", "alice", "bob", "bob", "mallory", "stranger"}).Draw(t, "payer")
}

// next makes a transaction with a new request id.
func (p *play) next(args Arguments) *Transaction {
	p.serial++
	return &Transaction{p.ledger, p.now, payment.RequestID{p.serial, byte(len(p.history))}, args}
}

func (p *play) intention(t *rapid.T) payment.IntentionID {
	if len(p.intents) == 0 {
		return payment.IntentionID{1}
	}
	return rapid.SampledFrom(p.intents).Draw(t, "intention")
}

// some picks commitments; now and then one twice, or one that does not exist.
func (p *play) some(t *rapid.T) []payment.CommitmentID {
	all := append([]payment.CommitmentID{{1}}, p.model.order...)
	return rapid.SliceOfN(rapid.SampledFrom(all), 1, 3).Draw(t, "commitments")
}

// commitment makes one that is nearly always well formed.
func (p *play) commitment(t *rapid.T, who string, intention payment.IntentionID) Open {
	links := rapid.Uint32Range(1, 40).Draw(t, "links")
	c, chain := p.promise(who, "seller", intention, links)
	if i := p.model.intentions[intention]; i != nil {
		c.Price, c.Epoch = payment.Amount(i.price), i.epoch
	}
	switch rapid.IntRange(0, 12).Draw(t, "change") {
	case 0:
		c.Receiver = people()["other"].Account()
	case 1:
		c.Payer = people()["bob"].Account()
	case 2:
		c.Price++
	case 3:
		c.Slot = 1
	case 4:
		c.Expiry = p.now + hour
	case 5:
		if len(p.model.order) > 0 {
			c.Root = p.model.commitments[p.model.order[0]].Root
		}
	case 6:
		if len(p.model.order) > 0 {
			c = p.model.commitments[p.model.order[0]].Commitment
			chain = p.chains[c.ID()]
		}
	}
	// At price 0 sellers freeze and open too. One who pays itself has no encoding.
	for _, receiver := range []string{"other", "seller"} {
		if c.Payer == c.Receiver {
			c.Receiver = people()[receiver].Account()
		}
	}
	p.chains[c.ID()] = chain
	return Open{c, rapid.Uint32Range(0, links+1).Draw(t, "cap")}
}

func (p *play) opens(t *rapid.T, who string, intention payment.IntentionID) []Open {
	var opens []Open
	for range rapid.IntRange(1, 3).Draw(t, "opens") {
		opens = append(opens, p.commitment(t, who, intention))
	}
	return opens
}

// bound is a price that a payer agrees to: about that of now, or any.
func (p *play) bound(t *rapid.T) payment.Amount {
	now := p.model.prices[p.model.epoch]
	return payment.Amount(rapid.OneOf(
		rapid.Uint64Range(now, now+3), rapid.Uint64Range(0, now), rapid.Just(uint64(1<<64-1)),
	).Draw(t, "max price"))
}

func (p *play) declareAny(t *rapid.T) {
	who := p.payer(t)
	tx := p.next(nil)
	a := &Declare{
		Torrent: p.film, Units: rapid.Uint64Range(0, 101).Draw(t, "units"),
		Margin: uint16(rapid.IntRange(99, 151).Draw(t, "margin")), MaxPrice: p.bound(t),
		Credits: p.credits(t, who, 0),
	}
	if rapid.Bool().Draw(t, "with opens") && people()[who].MSP == "Org1MSP" {
		id := payment.IntentionOf(p.ledger, people()[who].Account(), p.film, tx.Request)
		a.Opens = p.opens(t, who, id)
		for i := range a.Opens {
			a.Opens[i].Commitment.Price = payment.Amount(p.model.prices[p.model.epoch])
			a.Opens[i].Commitment.Epoch = p.model.epoch
			p.chains[a.Opens[i].Commitment.ID()] = must[*payment.Chain](t)(payment.NewChain(payment.Seed{}, a.Opens[i].Commitment.Chain, a.Opens[i].Commitment.Links))
		}
	}
	tx.Args = a
	p.send(t, who, tx)
}

func (p *play) redeemAny(t *rapid.T) {
	var redeems []Redeem
	for _, id := range p.some(t) {
		d := Redeem{Commitment: id, K: uint8(rapid.IntRange(0, 2).Draw(t, "k")), Index: 1}
		if c := p.model.commitments[id]; c != nil {
			d.K = uint8(min(int(d.K), len(c.caps)-1))
			d.Index = rapid.Uint32Range(1, min(c.Links, c.caps[d.K]+1)).Draw(t, "index")
			d.Link, _ = p.chains[id].Link(d.Index)
			if rapid.IntRange(0, 9).Draw(t, "spoil") == 0 {
				d.Link[0] ^= 1
			}
		}
		redeems = append(redeems, d)
	}
	who := rapid.SampledFrom([]string{"seller", "seller", "seller", "other", "alice", "stranger"}).Draw(t, "who")
	p.send(t, who, p.next(&RedeemMany{redeems}))
}

func (p *play) releaseAny(t *rapid.T) {
	var releases []Release
	for _, id := range p.some(t) {
		signer, final, k := "seller", uint32(0), 0
		if c := p.model.commitments[id]; c != nil {
			k = len(c.caps) - 1
			final = rapid.Uint32Range(c.redeemed-min(c.redeemed, 2), c.caps[k]+1).Draw(t, "final")
			if rapid.IntRange(0, 5).Draw(t, "exact") == 0 {
				final = c.redeemed
			}
		}
		if rapid.IntRange(0, 9).Draw(t, "forge") == 0 {
			signer = "alice"
		}
		s := people()[signer]
		signed, err := payment.Close{Ledger: p.ledger, Commitment: id, Final: final}.Sign(s.key, s.MSP, s.SPKI)
		if err != nil {
			t.Fatal(err)
		}
		releases = append(releases, Release{signed, uint8(k)})
	}
	p.send(t, p.payer(t), p.next(&ReleaseMany{releases}))
}

func (p *play) topUpAny(t *rapid.T) {
	var ups []TopUp
	for _, id := range p.some(t) {
		u := TopUp{id, 1, 5}
		if c := p.model.commitments[id]; c != nil {
			u.K = uint8(max(1, len(c.caps)+rapid.IntRange(-1, 1).Draw(t, "k")))
			u.Cap = rapid.Uint32Range(c.caps[0], c.Links+1).Draw(t, "cap")
		}
		ups = append(ups, u)
	}
	p.send(t, p.payer(t), p.next(&TopUpMany{ups}))
}

func (p *play) refundAny(t *rapid.T) {
	var settles []Settle
	for _, id := range p.some(t) {
		s := Settle{Commitment: id}
		if c := p.model.commitments[id]; c != nil {
			s.K = uint8(max(0, len(c.caps)-1-rapid.IntRange(0, 4).Draw(t, "old")/4))
		}
		settles = append(settles, s)
	}
	p.send(t, p.payer(t), p.next(&Refund{settles}))
}

func (p *play) sweepAny(t *rapid.T) {
	who := p.who(t)
	p.send(t, who, p.next(&Sweep{p.credits(t, who, 1)}))
}

// credits are some that somebody has, or had, or never had.
func (p *play) credits(t *rapid.T, who string, least int) []TxID {
	ids := []TxID{{1}}
	for _, s := range p.history {
		id := s.tx.ID(people()[s.who].Account())
		if _, mine := p.model.credits[who][id]; mine || len(ids) < 2 {
			ids = append(ids, id)
		}
	}
	return rapid.SliceOfN(rapid.SampledFrom(ids), least, 4).Draw(t, "credits")
}

func (p *play) actions() map[string]func(t *rapid.T) {
	return map[string]func(t *rapid.T){
		"declare": p.declareAny,
		"open": func(t *rapid.T) {
			id, who := p.intention(t), p.payer(t)
			if i := p.model.intentions[id]; i != nil && rapid.IntRange(0, 5).Draw(t, "own") > 0 {
				who = i.payer
			}
			p.send(t, who, p.next(&OpenMany{p.opens(t, who, id)}))
		},
		"redeem": p.redeemAny, "redeem more": p.redeemAny, "release": p.releaseAny,
		"top up": p.topUpAny, "refund": p.refundAny, "sweep": p.sweepAny,
		"add funds": func(t *rapid.T) {
			p.send(t, p.payer(t), p.next(&AddFunds{p.intention(t), rapid.Uint64Range(0, 101).Draw(t, "units"), 125}))
		},
		"close": func(t *rapid.T) { p.send(t, p.payer(t), p.next(&Close{p.intention(t)})) },
		"transfer": func(t *rapid.T) {
			to := people()[p.who(t)].Account()
			p.send(t, p.who(t), p.next(&Transfer{to, payment.Amount(rapid.Uint64Range(0, 3000).Draw(t, "coins"))}))
		},
		"delegate": func(t *rapid.T) {
			p.send(t, rapid.SampledFrom([]string{"seller", "other"}).Draw(t, "receiver"), p.next(&SetDelegate{people()["alice"].Account()}))
		},
		"revoke": func(t *rapid.T) {
			v := people()[rapid.SampledFrom([]string{"bob", "mallory", "admin"}).Draw(t, "victim")]
			p.send(t, rapid.SampledFrom([]string{"admin", "alice", "admin2"}).Draw(t, "who"), p.next(&Revoke{v.MSP, v.SPKI}))
		},
		"reinstate": func(t *rapid.T) {
			p.send(t, rapid.SampledFrom([]string{"admin", "admin", "admin2"}).Draw(t, "who"), p.next(&Reinstate{people()[p.who(t)].Account()}))
		},
		"propose": p.proposeAny, "approve": p.approveAny, "approve more": p.approveAny, "inherit": p.inheritAny,
		"replay": func(t *rapid.T) {
			if len(p.history) > 0 {
				old := rapid.SampledFrom(p.history).Draw(t, "old")
				p.send(t, old.who, old.tx)
			}
		},
		"steal": func(t *rapid.T) { // somebody else's transaction, as one's own
			if len(p.history) > 0 {
				p.send(t, p.who(t), rapid.SampledFrom(p.history).Draw(t, "old").tx)
			}
		},
		"wait": func(t *rapid.T) {
			p.now += rapid.SampledFrom([]uint64{1, 600, hour, 23 * hour, 24*hour + 600, 24*hour + 30*60, 8 * 24 * hour}).Draw(t, "seconds")
		},
	}
}

// L1 to L10, for any order of calls by honest and hostile creators, with
// duplicates and replays, on both kinds of backend, with 1 to 9 organisations.
func TestContractAgreesWithTheModel(t *testing.T) {
	var begin [maxCouncil + 1]*world
	for n := 1; n <= maxCouncil; n++ {
		begin[n] = newCouncil(t, n)
	}
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, maxCouncil).Draw(t, "organisations")
		p := newPlay(t, begin[n], n)
		actions := p.actions()
		for range 2 {
			t.Repeat(actions)
		}
		p.finish(t)
	})
}

// finish closes and refunds everything, long after: L7, every payer has back
// exactly what was not redeemed, and nothing is frozen.
func (p *play) finish(t *rapid.T) {
	p.now += 30 * 24 * hour
	for _, id := range p.intents {
		p.send(t, p.model.intentions[id].payer, p.next(&Close{id}))
	}
	for _, id := range p.model.order {
		c := p.model.commitments[id]
		p.send(t, nameOf(c.Payer), p.next(&Refund{[]Settle{{id, uint8(len(c.caps) - 1)}}}))
	}
	for _, who := range names {
		if a := p.account(who); a.Frozen != 0 {
			t.Fatalf("%s has %s frozen after all is over", who, a.Frozen)
		}
	}
}
