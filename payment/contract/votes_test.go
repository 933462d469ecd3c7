package contract

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"torrente/identity"
	"torrente/payment"
)

// proposed returns the id of a new proposal.
func (w *world) proposed(who string, d Decision) TxID {
	w.t.Helper()
	w.ok(who, &Propose{d})
	return w.last.ID(people()[who].Account())
}

func (w *world) info(id TxID) ProposalInfo {
	w.t.Helper()
	list := must[Answer](w.t)(Ask(w.state.memory, Query{Kind: QueryProposal, Proposal: id})).Proposals
	if len(list) != 1 {
		w.t.Fatalf("%d proposals %v", len(list), id)
	}
	return list[0]
}

func (w *world) ledgerInfo() LedgerInfo {
	w.t.Helper()
	return *must[Answer](w.t)(Ask(w.state.memory, Query{Kind: QueryLedger})).Ledger
}

// decided has so many organisations agree that a decision passes.
func (w *world) decided(organisations int, d Decision) TxID {
	w.t.Helper()
	id := w.proposed("admin", d)
	for i := 2; i <= organisations/2+1; i++ {
		w.ok(adminOf(i), &Approve{id})
	}
	if w.info(id).Passed == 0 {
		w.t.Fatalf("%+v has not passed", w.info(id))
	}
	return id
}

// L9: more than half of the organisations, each counted once, whoever begins,
// and however often one says the same.
func TestMajorityDecides(t *testing.T) {
	for n := 1; n <= maxCouncil; n++ {
		t.Run(fmt.Sprintf("%d organisations", n), func(t *testing.T) {
			w := newCouncil(t, n)
			first := 1 + n/3
			id := w.proposed(adminOf(first), &SetPrice{price + 5})
			agree := 1
			for i := 1; i <= n; i++ {
				if i == first {
					continue
				}
				passed := w.info(id).Passed != 0
				if passed != (2*agree > n) || (w.ledgerInfo().Price == price+5) != passed {
					t.Fatalf("%d agree: %+v", agree, w.info(id))
				}
				w.refused(adminOf(first), &Approve{id}, Already)
				if passed {
					w.refused(adminOf(i), &Approve{id}, Already)
					continue
				}
				w.ok(adminOf(i), &Approve{id})
				w.refused(adminOf(i), &Approve{id}, Already)
				agree++
			}
			info := w.info(id)
			if info.Needed != n/2+1 || len(info.Approved) != n/2+1 || info.Organisations != n || info.Passed != w.now {
				t.Errorf("%+v", info)
			}
			if l := w.ledgerInfo(); l.Epoch != 2 || l.Price != price+5 || l.Before != price {
				t.Errorf("%+v", l)
			}
		})
	}
}

func TestProposalsAreForAdministrators(t *testing.T) {
	w := newCouncil(t, 3)
	w.refused("alice", &Propose{&SetPrice{1}}, NotAdmin)
	w.refused("guest", &Propose{&SetPrice{1}}, NotAdmin)
	id := w.proposed("admin", &SetPrice{1})
	for _, who := range []string{"alice", "guest"} {
		w.refused(who, &Approve{id}, NotAdmin)
	}
	w.refused("stranger", &Approve{id}, UnknownMember)
	w.refused(adminOf(4), &Approve{id}, UnknownMember) // not of this federation
	w.refused("admin2", &Approve{TxID{1}}, NoProposal)
	if info := w.info(id); len(info.Approved) != 1 || info.By != "Org1MSP" {
		t.Errorf("%+v", info)
	}
	w.ok("admin2", &Approve{id})
}

func TestProposalsLapse(t *testing.T) {
	w := newCouncil(t, 3)
	late, inTime := w.proposed("admin", &SetPrice{1}), w.proposed("admin", &SetPrice{2})
	w.now += proposalLife
	if info := w.info(inTime); !info.Open(w.now) || info.Open(w.now+1) {
		t.Errorf("%+v", info)
	}
	w.ok("admin2", &Approve{inTime})
	w.now++
	w.refused("admin3", &Approve{late}, Lapsed)
	w.refused("admin", &Approve{late}, Lapsed)
	w.refused("admin3", &Approve{inTime}, Already)
	if w.ledgerInfo().Price != 2 {
		t.Errorf("%+v", w.ledgerInfo())
	}
}

// A proposal is executed once, also if its transactions come again, and is
// another one than the same that is made anew.
func TestProposalsPassOnce(t *testing.T) {
	w := newCouncil(t, 3)
	seller := people()["seller"].Account()
	propose := w.transaction(&Propose{&Mint{seller, 500}})
	w.expect(w.apply("admin", propose), OK)
	id := w.last.ID(people()["admin"].Account())
	approve := w.transaction(&Approve{id})
	w.expect(w.apply("admin2", approve), OK)
	for range 2 {
		w.expect(w.apply("admin", propose), Already)
		w.expect(w.apply("admin2", approve), Already)
		w.expect(w.apply("admin3", w.transaction(&Approve{id})), Already)
	}
	w.has("seller", 500, 0)
	w.decided(3, &Mint{seller, 500})
	w.has("seller", 1000, 0)
	if b := w.audit(); b.Minted != 31_000 || w.ledgerInfo().Minted != 31_000 {
		t.Errorf("%+v", b)
	}
}

// L1: no coin appears but by a passed mint, and no sum can wrap.
func TestMintsAreBounded(t *testing.T) {
	w := newCouncil(t, 2)
	bob := people()["bob"].Account()
	w.refused("admin", &Propose{&Mint{bob, 0}}, BadArguments)
	w.refused("admin", &Propose{&Mint{payment.Account{}, 1}}, BadArguments)
	w.refused("admin", &Propose{&Mint{bob, 1<<64 - 1}}, Overflow)
	most := payment.Amount(1<<64 - 1 - 30_000)
	half, all := w.proposed("admin", &Mint{bob, most / 2}), w.proposed("admin", &Mint{bob, most})
	w.has("bob", 10_000, 0)
	w.ok("admin2", &Approve{half})
	w.refused("admin2", &Approve{all}, Overflow) // it fitted when it was proposed
	if info := w.info(all); len(info.Approved) != 1 || info.Passed != 0 {
		t.Errorf("%+v", info)
	}
	w.decided(2, &Mint{bob, most - most/2})
	w.refused("admin", &Propose{&Mint{bob, 1}}, Overflow)
	if b := w.audit(); b.Minted != 1<<64-1 {
		t.Errorf("%+v", b)
	}
}

// An administrator manages the keys and roots of its own organisation, and of
// no other; and alone it undoes nothing that several have decided.
func TestAdministratorsManageTheirOwn(t *testing.T) {
	w := newCouncil(t, 3)
	bob, guest := people()["bob"], people()["guest"]
	w.ok("admin", &Revoke{bob.MSP, bob.SPKI})
	w.refused("admin2", &Reinstate{bob.Account()}, NoMajority)
	w.ok("admin", &Reinstate{bob.Account()})
	w.refused("admin", &Revoke{guest.MSP, guest.SPKI}, NoMajority)
	w.refused("admin", &AddRoot{guest.MSP, authorityRoot()}, NoMajority)
	w.refused("admin", &RemoveRoot{guest.MSP, [32]byte{1}}, NoMajority)
	w.ok("admin2", &AddRoot{guest.MSP, authorityRoot()})
	w.ok("admin2", &Revoke{guest.MSP, guest.SPKI})
	w.decided(3, &Revoke{guest.MSP, guest.SPKI}) // of admin and admin2
	w.refused("admin2", &Reinstate{guest.Account()}, NoMajority)
	w.refused("admin2", &Revoke{guest.MSP, guest.SPKI}, Already)
	w.refused("admin", &Propose{&Revoke{guest.MSP, guest.SPKI}}, Already)
	w.decided(3, &Reinstate{guest.Account()})
	w.refused("admin", &Propose{&Reinstate{guest.Account()}}, Already)
	w.ok("guest", &SetDelegate{bob.Account()})
	for i := 1; i <= 3; i++ {
		a := people()[adminOf(i)]
		w.refused("admin", &Propose{&Revoke{a.MSP, a.SPKI}}, IsAdministrator)
	}
	w.refused("admin", &Propose{&Revoke{"Org9MSP", bob.SPKI}}, UnknownMember)
	revoked := must[Answer](t)(Ask(w.state.memory, Query{Kind: QueryRevoked})).Revoked
	if len(revoked) != 0 {
		t.Errorf("%+v", revoked)
	}
}

// In a federation of one organisation every proposal passes at once, and its
// administrator may undo it.
func TestOneOrganisationIsTheMajority(t *testing.T) {
	w := newWorld(t)
	bob := people()["bob"]
	id := w.proposed("admin", &Revoke{bob.MSP, bob.SPKI})
	if info := w.info(id); info.Passed != w.now || !cmp.Equal(info.Approved, []string{"Org1MSP"}) {
		t.Errorf("%+v", info)
	}
	w.refused("bob", &Transfer{people()["alice"].Account(), 1}, Revoked)
	w.ok("admin", &Reinstate{bob.Account()})
	w.ok("bob", &Transfer{people()["alice"].Account(), 1})
	w.refused("admin", &Propose{&SetPrice{price}}, Already)
}

// A proposal that cannot be done any more when it would pass is refused, vote
// and all; one that is done already passes.
func TestOvertakenProposals(t *testing.T) {
	w := newCouncil(t, 3)
	bob := people()["bob"]
	w.ok("admin", &Revoke{bob.MSP, bob.SPKI})
	reinstate := w.proposed("admin", &Reinstate{bob.Account()})
	w.ok("admin", &Reinstate{bob.Account()})
	w.ok("admin2", &Approve{reinstate})
	if w.info(reinstate).Passed == 0 {
		t.Error("what is so already does not pass")
	}
	one, two := w.proposed("admin", &SetPrice{7}), w.proposed("admin2", &SetPrice{7})
	w.ok("admin2", &Approve{one})
	w.ok("admin3", &Approve{two})
	if l := w.ledgerInfo(); l.Epoch != 2 || w.info(two).Passed == 0 {
		t.Errorf("%+v, %+v", l, w.info(two))
	}
}

// Reassign: the balance moves at once, credits by Inherit, what is frozen is
// freed by the heir or by the old key, and is the heir's either way; the old
// key spends nothing ever after, and no receiver loses what it was promised.
func TestReassign(t *testing.T) {
	w := newCouncil(t, 3)
	bob, heir := people()["bob"], people()["other"]
	i := w.declare("bob", 100)
	mine, chain := w.opened("bob", "seller", i, 64, 20)
	done, _ := w.opened("bob", "seller", i, 64, 20)
	gone, _ := w.opened("bob", "seller", i, 64, 20)
	earned, theirs := w.opened("alice", "bob", w.declare("alice", 50), 64, 30)
	w.ok("alice", &Transfer{bob.Account(), 700})
	gift := w.last.ID(people()["alice"].Account())
	w.refused("other", &Inherit{bob.Account(), []TxID{gift}}, NotHeir)
	w.refused("other", &Close{i}, NotPayer)

	got := w.decided(3, &Reassign{bob.MSP, bob.SPKI, heir.SPKI})
	if d := w.info(got).Decision; d.Account != bob.Account() || d.To != heir.Account() || d.Kind != DecideReassign {
		t.Errorf("%+v", d)
	}
	if a := w.account("bob"); !a.Revoked || a.Heir != heir.Account() || a.Balance != 0 || a.Unswept != 700 {
		t.Errorf("%+v", a)
	}
	w.has("other", 9000, 0)
	w.refused("bob", &AddFunds{i, 1, 100}, Revoked)
	w.refused("other", &AddFunds{i, 1, 100}, NotPayer)
	w.refused("other", &TopUpMany{[]TopUp{{mine.ID(), 1, 30}}}, NotPayer)
	w.ok("other", &Inherit{bob.Account(), []TxID{gift}})
	w.has("other", 9700, 0)
	w.refused("other", &Inherit{bob.Account(), nil}, Already)
	w.refused("other", &Inherit{bob.Account(), []TxID{gift}}, NoCredit)
	w.refused("other", &Inherit{bob.Account(), []TxID{gift, gift}}, Duplicate)

	// What was promised stays the seller's; the rest of the frozen is freed.
	w.ok("other", &Close{i})
	w.ok("seller", redeemOf(&mine, chain, 0, 5))
	w.ok("other", &ReleaseMany{[]Release{{w.closeOf(&done, "seller", 0), 0}}})
	w.has("other", 9700+400+200, 0)
	// What bob earned is redeemed by the heir, or by the organisation.
	w.ok("other", redeemOf(&earned, theirs, 0, 10))
	first := w.last.ID(heir.Account())
	w.refused("admin2", redeemOf(&earned, theirs, 0, 20), NotReceiver)
	w.ok("admin", redeemOf(&earned, theirs, 0, 20))
	second := w.last.ID(people()["admin"].Account())
	w.ok("other", &Inherit{bob.Account(), []TxID{first, second}})
	w.has("other", 9700+400+200+200, 0)
	// The old key can do what costs nobody anything: the heir has it again.
	w.now = mine.Expiry + hour
	w.ok("bob", &Refund{[]Settle{{mine.ID(), 0}}})
	w.ok("other", &Refund{[]Settle{{gone.ID(), 0}}})
	w.ok("other", &Inherit{bob.Account(), nil})
	w.has("other", 9700+400+200+200+150+200, 0)
	w.has("bob", 0, 0)
	w.refused("admin", &Reinstate{bob.Account()}, NoMajority)
	w.refused("admin", &Propose{&Reinstate{bob.Account()}}, Reassigned)
}

func TestReassignRefuses(t *testing.T) {
	w := newWorld(t)
	p := people()
	move := func(from, to string) *Propose { return &Propose{&Reassign{"Org1MSP", p[from].SPKI, p[to].SPKI}} }
	w.refused("admin", move("bob", "bob"), SameAccount)
	w.refused("admin", move("admin", "bob"), IsAdministrator)
	w.refused("admin", &Propose{&Reassign{"Org9MSP", p["bob"].SPKI, p["other"].SPKI}}, UnknownMember)
	w.refused("admin", &Propose{&Reassign{"Org1MSP", p["bob"].SPKI, []byte{1}}}, BadArguments)
	w.ok("admin", &Revoke{"Org1MSP", p["mallory"].SPKI})
	w.refused("admin", move("bob", "mallory"), Revoked)
	w.ok("admin", move("bob", "other"))
	moved := w.last.ID(p["admin"].Account())
	w.refused("admin", move("bob", "other"), Already)
	w.refused("admin", move("bob", "alice"), Reassigned) // the heir's are its own
	w.refused("admin", move("other", "bob"), Revoked)    // no circle
	w.refused("admin", &Reinstate{p["bob"].Account()}, Reassigned)
	w.ok("admin", move("other", "alice")) // the heir's key is lost too
	w.ok("alice", &Inherit{p["other"].Account(), []TxID{moved}})
	w.has("alice", 20_000, 0)
	w.ok("admin", move("bob", "alice"))
	w.ok("alice", &Transfer{p["bob"].Account(), 5})
	w.ok("alice", &Inherit{p["bob"].Account(), []TxID{w.last.ID(p["alice"].Account())}})
	w.has("alice", 20_000, 0)
}

// The receiver's organisation may redeem for a revoked key, and for no other.
func TestOrganisationRedeemsForTheRevoked(t *testing.T) {
	w := newCouncil(t, 3)
	bob, guest := people()["bob"], people()["guest"]
	c, chain := w.opened("alice", "bob", w.declare("alice", 50), 64, 30)
	d, other := w.opened("alice", "guest", w.declare("alice", 50), 64, 30)
	w.refused("admin", redeemOf(&c, chain, 0, 10), NotReceiver)
	w.ok("admin", &Revoke{bob.MSP, bob.SPKI})
	w.decided(3, &Revoke{guest.MSP, guest.SPKI})
	w.refused("admin2", redeemOf(&c, chain, 0, 10), NotReceiver)
	w.refused("admin", redeemOf(&d, other, 0, 10), NotReceiver)
	w.refused("alice", redeemOf(&c, chain, 0, 10), NotReceiver)
	w.ok("admin", redeemOf(&c, chain, 0, 10))
	w.ok("admin2", redeemOf(&d, other, 0, 10))
	w.has("bob", 10_100, 0)
	w.has("guest", 100, 0)
}

// One vote writes its own row, so those of several organisations meet only
// where they decide; and no call reads a range (apply checks it).
func TestVotesHaveRowsOfTheirOwn(t *testing.T) {
	w := newCouncil(t, 5)
	id := w.proposed("admin", &SetPrice{1})
	state := newCommitted(w.state.memory)
	tx := w.transaction(&Approve{id})
	must[Result](t)(Apply(state, people()["admin3"].Creator, tx))
	if want := []string{keyVote(id, mspOf(3))}; !slices.Equal(state.wrote, want) {
		t.Errorf("it wrote %q, not %q", state.wrote, want)
	}
}

// watched notes which rows a transaction reads, as an endorser of Fabric does:
// there it is done anew if another of its block has written one of them.
type watched struct {
	*committed
	read map[string]bool
}

func (s *watched) Get(key string) ([]byte, error) {
	s.read[key] = true
	return s.committed.Get(key)
}

func (s *watched) GetMany(keys []string) ([][]byte, error) {
	for _, k := range keys {
		s.read[k] = true
	}
	return s.committed.GetMany(keys)
}

// reads executes a transaction beside others of its block, none of which it sees.
func (w *world) reads(who string, tx *Transaction) *watched {
	w.t.Helper()
	s := &watched{newCommitted(w.state.memory), map[string]bool{}}
	if got := must[Result](w.t)(Apply(s, people()[who].Creator, tx)); got.Code != OK {
		w.t.Fatalf("%s by %s: %v", tx.Args.Call(), who, got.Code)
	}
	return s
}

// disturbs reports whether one transaction writes what the other has read.
func (s *watched) disturbs(other *watched) bool {
	return slices.ContainsFunc(s.wrote, func(key string) bool { return other.read[key] })
}

// Two votes of one block, each of which takes itself for one too few, disturb
// each other: the second is done anew, and decides. What members do meanwhile
// is disturbed by a change of the price at most.
func TestVotesOfOneBlock(t *testing.T) {
	w := newCouncil(t, 5)
	i := w.declare("alice", 50)
	c, chain := w.opened("alice", "seller", i, 64, 20)
	d, _ := w.promise("alice", "other", i, 8)
	members := map[string]*watched{
		"redeem":   w.reads("seller", w.transaction(redeemOf(&c, chain, 0, 5))),
		"top up":   w.reads("alice", w.transaction(&TopUpMany{[]TopUp{{c.ID(), 1, 30}}})),
		"transfer": w.reads("bob", w.transaction(&Transfer{people()["other"].Account(), 1})),
		"open":     w.reads("alice", w.transaction(&OpenMany{[]Open{{d, 1}}})),
	}
	var deciding []*watched
	for _, decision := range []Decision{&SetPrice{1}, &Mint{people()["bob"].Account(), 5}} {
		id := w.proposed("admin", decision)
		first, second := w.reads("admin2", w.transaction(&Approve{id})), w.reads("admin3", w.transaction(&Approve{id}))
		if !first.disturbs(second) || !second.disturbs(first) {
			t.Errorf("%s: both would be counted short", decision.Kind())
		}
		w.ok("admin2", &Approve{id})
		deciding = append(deciding, w.reads("admin3", w.transaction(&Approve{id})))
		for what, m := range members {
			if first.disturbs(m) || m.disturbs(first) {
				t.Errorf("a vote on %s disturbs %s", decision.Kind(), what)
			}
		}
	}
	for what, m := range members {
		if deciding[1].disturbs(m) || m.disturbs(deciding[1]) || deciding[0].disturbs(m) != (what == "open") {
			t.Errorf("a decision disturbs %s, or does not", what)
		}
	}
}

func TestProposalsArePaged(t *testing.T) {
	w := newCouncil(t, 2)
	ids := map[TxID]bool{}
	for i := range 5 {
		ids[w.proposed("admin", &SetPrice{payment.Amount(20 + i)})] = true
	}
	q := Query{Kind: QueryProposals, Limit: 2}
	for more := true; more; more = q.After != "" {
		a := must[Answer](t)(Ask(w.state.memory, q))
		for _, p := range a.Proposals {
			if !ids[p.ID] || p.Decision.Kind != DecidePrice {
				t.Errorf("%+v", p)
			}
			delete(ids, p.ID)
		}
		q.After = a.Next
	}
	if len(ids) != 0 {
		t.Errorf("%d are left out", len(ids))
	}
}

// auditRefuses writes rows, or deletes those that are nil, and has the audit find it.
func (w *world) auditRefuses(what string, rows []Row) {
	w.t.Helper()
	spoiled := copyOf(w.state.memory)
	for _, row := range rows {
		spoiled[row.Key] = row.Value
		if row.Value == nil {
			delete(spoiled, row.Key)
		}
	}
	if b, err := Audit(spoiled); err == nil {
		w.t.Fatalf("%s: %+v", what, b)
	}
}

// The audit finds what passed without a majority, and coins from nowhere.
func TestAuditFindsFalseVotes(t *testing.T) {
	w := newCouncil(t, 3)
	bob := people()["bob"].Account()
	id := w.decided(3, &Mint{bob, 100})
	open := w.proposed("admin", &Mint{bob, 100})
	credit := keyCredit(bob, TxID{5})
	for what, rows := range map[string][]Row{
		"a vote is missing":    {{keyVote(id, mspOf(2)), nil}},
		"passed by one":        {{keyPassed(open), passing{start, 3}.append(nil)}},
		"passed among fewer":   {{keyPassed(open), passing{start, 1}.append(nil)}},
		"passed among more":    {{keyPassed(id), passing{start, 4}.append(nil)}},
		"passed, and never is": {{keyPassed(TxID{1}), passing{start, 3}.append(nil)}},
		"minted by nobody":     {{keyMinted, coins(200).append(nil)}, {credit, coins(100).append(nil)}},
		"minted, not counted":  {{keyMinted, nil}},
		"a proposal cut off":   {{keyProposal(id), []byte{1, 'x'}}},
	} {
		w.auditRefuses(what, rows)
	}
}

func TestDecisionKinds(t *testing.T) {
	for k := range decisionKinds {
		kind := DecisionKind(k)
		text := must[[]byte](t)(kind.MarshalText())
		var again DecisionKind
		if err := again.UnmarshalText(text); (err == nil) != (newDecision(kind) != nil) || err == nil && again != kind {
			t.Errorf("%d became %d: %v", kind, again, err)
		}
	}
	if newDecision(200) != nil || DecisionKind(200).String() != "unknown" {
		t.Error("an unknown decision")
	}
}

// Rows of proposals decode from what they write, and from nothing else.
func FuzzProposalRow(f *testing.F) {
	p := people()
	for _, d := range []Decision{
		&SetPrice{1}, &Mint{p["bob"].Account(), 5}, &Revoke{"Org1MSP", p["bob"].SPKI},
		&Reinstate{p["bob"].Account()}, &Reassign{"Org1MSP", p["bob"].SPKI, p["other"].SPKI},
		&Admit{Organisation{mspOf(2), p["admin2"].Account(), [][]byte{{0x30, 0}}}},
	} {
		f.Add((&proposal{"Org1MSP", start, d}).append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var p proposal
		if decodeRow("prop/", b, &p) != nil {
			return
		}
		if again := p.append(nil); string(again) != string(b) {
			t.Fatalf("%x became %x", b, again)
		}
		Describe(p.decision)
	})
}

func FuzzRevocationRow(f *testing.F) {
	f.Add((&revocation{digest{1}, true, "Org1MSP"}).append(nil))
	f.Add((organisationList{"Org1MSP", "Org2MSP"}).append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		var v revocation
		if decodeRow("rev/", b, &v) == nil && string(v.append(nil)) != string(b) {
			t.Fatalf("%x became %x", b, v.append(nil))
		}
		var l organisationList
		if decodeRow("gen/", b, &l) == nil && string(l.append(nil)) != string(b) {
			t.Fatalf("%x became %x", b, l.append(nil))
		}
	})
}

// One administrator alone cannot fill the ledger: roots stay when they are
// removed, and keys that are revoked need not exist.
func TestAdministratorsPilesAreBounded(t *testing.T) {
	w := newCouncil(t, 3)
	key := func(i int) []byte { return []byte{byte(i >> 8), byte(i), 7} }
	w.state.memory[keyPile("Org1MSP")] = pile{roots: maxRootsEver - 1, revocations: maxRevocations - 3}.append(nil)
	for i := range 3 {
		w.ok("admin", &Revoke{"Org1MSP", key(i)})
	}
	w.refused("admin", &Revoke{"Org1MSP", key(0)}, Already)
	w.refused("admin", &Revoke{"Org1MSP", key(3)}, ManyRevoked)
	w.ok("admin2", &Revoke{people()["admin2"].MSP, key(0)}) // its own number
	w.ok("admin", &Reinstate{payment.AccountOf("Org1MSP", key(0))})
	w.ok("admin", &Revoke{"Org1MSP", key(3)})
	w.refused("admin", &Revoke{"Org1MSP", key(0)}, ManyRevoked)
	w.decided(3, &Revoke{"Org1MSP", key(0)}) // a majority may
	w.decided(3, &Revoke{"Org1MSP", key(1)}) // and takes it over
	w.ok("admin", &Revoke{"Org1MSP", key(4)})
	w.refused("admin", &Revoke{"Org1MSP", key(5)}, ManyRevoked)

	root := secondRoot()
	for range 2 { // the same one again is not another
		w.ok("admin", &AddRoot{"Org1MSP", root})
		w.ok("admin", &RemoveRoot{"Org1MSP", sha256.Sum256(root)})
	}
	third := must[*identity.Authority](t)(identity.NewAuthority("Org1MSP", time.Unix(start, 0), time.Hour))
	w.refused("admin", &AddRoot{"Org1MSP", third.Root().Raw}, ManyRoots)
}

// An organisation that a majority admits certifies accounts and votes from then on; what
// was decided before stays decided.
func TestAdmit(t *testing.T) {
	w := newCouncil(t, 3)
	newcomer := Organisation{mspOf(4), people()[adminOf(4)].Account(), [][]byte{secondRoot()}}
	price, mint := w.proposed("admin", &SetPrice{price + 1}), w.decided(3, &Mint{people()["bob"].Account(), 5})
	w.refused(adminOf(4), &Transfer{people()["bob"].Account(), 1}, UnknownMember)
	id := w.proposed("admin2", &Admit{newcomer})
	w.refused(adminOf(4), &Approve{id}, UnknownMember)
	if d := w.info(id).Decision; d.MSP != newcomer.MSP || d.Account != newcomer.Administrator || len(d.Roots) != 1 || len(d.Roots[0]) != 64 {
		t.Errorf("%+v", d)
	}
	if e := w.ok("admin3", &Approve{id}).Events; len(e) != 1 || e[0].Kind != payment.EventRoots {
		t.Errorf("%+v", e)
	}
	if got := w.info(id); got.Passed == 0 || got.Organisations != 3 || got.Needed != 2 {
		t.Errorf("%+v", got)
	}
	if got := w.info(mint); got.Organisations != 3 || got.Needed != 2 {
		t.Errorf("what passed before: %+v", got)
	}
	if got := w.info(price); got.Organisations != 4 || got.Needed != 3 || w.ledgerInfo().Organisations != 4 {
		t.Errorf("what is open: %+v", got)
	}
	w.ok(adminOf(4), &Approve{price})
	if w.info(price).Passed != 0 {
		t.Error("two of four are a majority")
	}
	w.ok("admin3", &Approve{price})
	roots := must[[][]byte](t)(TrustedRoots(w.state.memory, newcomer.MSP))
	if w.info(price).Passed == 0 || len(roots) != 1 || string(roots[0]) != string(secondRoot()) {
		t.Errorf("%+v, %d roots", w.info(price), len(roots))
	}
	w.refused("admin", &Propose{&Admit{newcomer}}, Already)
	w.audit()
}

// An organisation that is proposed again and again is admitted once.
func TestAdmitTwice(t *testing.T) {
	w := newCouncil(t, 2)
	newcomer := Organisation{mspOf(4), people()[adminOf(4)].Account(), [][]byte{secondRoot()}}
	other := newcomer
	other.Roots = [][]byte{authorityRoot()}
	var same []TxID
	for range 4 {
		same = append(same, w.proposed("admin", &Admit{newcomer}))
	}
	differs := w.proposed("admin", &Admit{other})
	for _, id := range same {
		w.ok("admin2", &Approve{id})
		w.call(adminOf(4), &Approve{id}) // from the second on two of three must agree, as they have
		if w.info(id).Passed == 0 {
			t.Errorf("%+v", w.info(id))
		}
		w.audit()
	}
	if got := w.call("admin2", &Approve{differs}).Code; got != Conflict || w.info(differs).Passed != 0 {
		t.Errorf("with other roots: %v", got)
	}
	if got := w.ledgerInfo().Organisations; got != 3 {
		t.Errorf("%d organisations", got)
	}
}

// The audit finds organisations that nobody admitted, and those that are gone.
func TestAuditFindsFalseOrganisations(t *testing.T) {
	w := newCouncil(t, 3)
	newcomer := Organisation{mspOf(4), people()[adminOf(4)].Account(), [][]byte{secondRoot()}}
	id := w.decided(3, &Admit{newcomer})
	price := w.proposed("admin", &SetPrice{77})
	row := organisation{w.ledger, newcomer.Administrator, newcomer.Roots}
	list := func(all ...string) []byte { return organisationList(all).append(nil) }
	three := []string{mspOf(2), mspOf(3), "Org1MSP"}
	root := func(msp string) string { return keyCA(msp, sha256.Sum256(secondRoot())) }
	other := row
	other.administrator = people()["bob"].Account()
	for what, rows := range map[string][]Row{
		"one that nobody admitted": {
			{keyOrganisations, list(mspOf(2), mspOf(3), mspOf(4), "Ghost", "Org1MSP")},
			{keyOrganisation("Ghost"), row.append(nil)},
			{root("Ghost"), authority{true, secondRoot()}.append(nil)},
		},
		"one that is gone":      {{keyOrganisations, list(three...)}, {keyOrganisation(mspOf(4)), nil}, {root(mspOf(4)), nil}},
		"only in the list":      {{keyOrganisations, list(mspOf(2), mspOf(3), mspOf(4), "Ghost", "Org1MSP")}},
		"another administrator": {{keyOrganisation(mspOf(4)), other.append(nil)}},
		"its admission is gone": {{keyPassed(id), nil}},
		"a stranger's vote":     {{keyVote(price, "Ghost"), present{}.append(nil)}, {keyPassed(price), passing{start, 3}.append(nil)}},
	} {
		w.auditRefuses(what, rows)
	}
	w.audit()
}

func TestWhoIsNotAdmitted(t *testing.T) {
	w := newCouncil(t, 1)
	good := Organisation{mspOf(4), people()[adminOf(4)].Account(), [][]byte{secondRoot()}}
	for what, one := range map[string]struct {
		change func(o *Organisation)
		want   Code
	}{
		"another administrator of one that is there": {func(o *Organisation) { o.MSP = "Org1MSP" }, Conflict},
		"no roots":            {func(o *Organisation) { o.Roots = nil }, BadArguments},
		"no administrator":    {func(o *Organisation) { o.Administrator = payment.Account{} }, BadArguments},
		"a root twice":        {func(o *Organisation) { o.Roots = [][]byte{secondRoot(), secondRoot()} }, BadArguments},
		"no authority's root": {func(o *Organisation) { o.Roots = [][]byte{{0x30, 0}} }, BadRoot},
	} {
		o := good
		one.change(&o)
		if got := w.call("admin", &Propose{&Admit{o}}); got.Code != one.want {
			t.Errorf("%s: %v, not %v", what, got.Code, one.want)
		}
	}
	g := testGenesis()
	for i := 2; i <= maxOrganisations; i++ {
		o := good
		o.MSP = fmt.Sprintf("Org%dMSP", i)
		g.Organisations = append(g.Organisations, o)
	}
	w = beginWorld(t, g)
	w.refused("admin", &Propose{&Admit{good}}, ManyOrganisations)
	if got := w.ledgerInfo().Organisations; got != maxOrganisations {
		t.Errorf("%d organisations", got)
	}
}
