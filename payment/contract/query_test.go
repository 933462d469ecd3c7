package contract

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"torrente/payment"
)

func TestQueries(t *testing.T) {
	w := newWorld(t)
	ask := func(q Query) Answer {
		t.Helper()
		a := must[Answer](t)(Ask(w.state.memory, q))
		var again Answer
		if err := json.Unmarshal(must[[]byte](t)(json.Marshal(a)), &again); err != nil || !cmp.Equal(a, again) {
			t.Errorf("as JSON: %v %s", err, cmp.Diff(a, again))
		}
		return a
	}
	i := w.declare("alice", 100)
	c, chain := w.opened("alice", "seller", i, 64, 20)
	w.ok("seller", redeemOf(&c, chain, 0, 7))
	w.ok("alice", &TopUpMany{[]TopUp{{c.ID(), 1, 30}}})
	w.ok("alice", &ReleaseMany{[]Release{{w.closeOf(&c, "seller", 9), 1}}})
	l := ask(Query{Kind: QueryLedger}).Ledger
	if l.ID != w.ledger || l.Name != "test" || l.Minted != 30_000 || l.Price != price || l.Epoch != 1 || l.Organisations != 1 {
		t.Errorf("%+v", l)
	}
	link, _ := chain.Link(7)
	want := CommitmentInfo{ID: c.ID(), K: 1, Cap: 30, Redeemed: 7, Link: link, Released: true, Final: 9}
	got := ask(Query{Kind: QueryCommitment, Commitment: c.ID()}).Commitments[0]
	if parsed := must[*payment.Commitment](t)(got.Parse()); *parsed != c {
		t.Errorf("%+v", parsed)
	}
	got.Commitment = ""
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	in := ask(Query{Kind: QueryIntention, Intention: i}).Intentions[0]
	if in.Funds != 1000 || in.Redeemed != 70 || in.Frozen != 930 || in.Free != 910 || in.Open != 1 || in.Closed {
		t.Errorf("%+v", in)
	}
	if n := len(ask(Query{Kind: QueryReceived, Account: people()["seller"].Account()}).Commitments); n != 1 {
		t.Errorf("%d received", n)
	}
	w.ok("admin", &Revoke{"Org1MSP", people()["bob"].SPKI})
	if r := ask(Query{Kind: QueryRevoked}).Revoked; len(r) != 1 || r[0].Account != people()["bob"].Account() || len(r[0].Key) != 64 {
		t.Errorf("%+v", r)
	}
}

func TestWhatDoesNotExistIsNothing(t *testing.T) {
	w := newWorld(t)
	for _, kind := range []QueryKind{
		QueryTorrent, QueryIntention, QueryIntentions, QueryCommitment, QueryCommitments, QueryReceived, QueryCredits, QueryRevoked,
	} {
		if a := must[Answer](t)(Ask(w.state.memory, Query{Kind: kind})); !cmp.Equal(a, Answer{}) {
			t.Errorf("%s: %+v", kind, a)
		}
	}
	if a := must[Answer](t)(Ask(w.state.memory, Query{Kind: QueryAccount})); !cmp.Equal(*a.Account, AccountInfo{}) {
		t.Errorf("%+v", a.Account)
	}
	for _, bad := range []Query{
		{Kind: "x"},
		{},
		{Kind: QueryRoots, Limit: -1},
		{Kind: QueryRoots, Limit: MaxPage + 1},
		{Kind: QueryRoots, After: "acct/"},
		{Kind: QueryCredits, After: "cr/"},
		{Kind: QueryRoots, After: string(make([]byte, 513))},
	} {
		if _, err := Ask(w.state.memory, bad); !errors.Is(err, ErrQuery) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	if _, err := Ask(memory{}, Query{Kind: QueryLedger}); !errors.Is(err, ErrNoLedger) {
		t.Errorf("no ledger: %v", err)
	}
}

func TestPages(t *testing.T) {
	w := newWorld(t)
	for range 5 {
		w.ok("alice", &Transfer{people()["seller"].Account(), 1})
	}
	for limit := 1; limit <= 6; limit++ {
		q := Query{Kind: QueryCredits, Account: people()["seller"].Account(), Limit: limit}
		seen := map[TxID]bool{}
		pages := 0
		for more := true; more; pages++ {
			a := must[Answer](t)(Ask(w.state.memory, q))
			for _, c := range a.Credits {
				seen[c.Tx] = true
			}
			q.After, more = a.Next, a.Next != ""
		}
		if len(seen) != 5 || pages != 5/limit+1 {
			t.Errorf("limit %d: %d credits on %d pages", limit, len(seen), pages)
		}
	}
}

// The audit finds coins that appear or vanish, and every row of an intention
// that was tampered with.
func TestAuditFindsTampering(t *testing.T) {
	w := newWorld(t)
	i := w.declare("alice", 100)
	c, chain := w.opened("alice", "seller", i, 64, 20)
	w.ok("seller", redeemOf(&c, chain, 0, 7))
	d, _ := w.opened("alice", "seller", i, 64, 20)
	w.ok("alice", &ReleaseMany{[]Release{{w.closeOf(&d, "seller", 5), 0}}})
	var in intention
	if err := decodeRow("", w.state.memory[keyIntention(i)], &in); err != nil {
		t.Fatal(err)
	}
	changed := func(change func(i *intention)) []byte {
		c := in
		change(&c)
		return c.append(nil)
	}
	for what, row := range map[string]Row{
		"a coin more":        {keyAccount(people()["bob"].Account()), coins(10_001).append(nil)},
		"a coin less":        {keyAccount(people()["bob"].Account()), coins(9_999).append(nil)},
		"a credit":           {keyCredit(people()["bob"].Account(), TxID{1}), coins(1).append(nil)},
		"too many coins":     {keyAccount(people()["seller"].Account()), coins(math64).append(nil)},
		"redeemed more":      {keyRedeemed(c.ID()), claim{Index: 8}.append(nil)},
		"redeemed over cap":  {keyRedeemed(c.ID()), claim{Index: 21}.append(nil)},
		"redeemed over end":  {keyRedeemed(d.ID()), claim{Index: 6}.append(nil)},
		"a higher cap":       {keyCap(c.ID(), 1), units(30).append(nil)},
		"a cap over all":     {keyCap(c.ID(), 1), units(65).append(nil)},
		"another end":        {keyCommitment(d.ID()), commitment{&d, 20, endReleased, 6}.append(nil)},
		"not at its end":     {keyCommitment(d.ID()), commitment{&d, 20, endNone, 0}.append(nil)},
		"settled":            {keyCommitment(d.ID()), commitment{&d, 20, endSettled, 5}.append(nil)},
		"reserved":           {keyIntention(i), changed(func(i *intention) { i.reserved++ })},
		"open":               {keyIntention(i), changed(func(i *intention) { i.open++ })},
		"funds":              {keyIntention(i), changed(func(i *intention) { i.funds += 10 })},
		"returned":           {keyIntention(i), changed(func(i *intention) { i.returned += 10 })},
		"price":              {keyIntention(i), changed(func(i *intention) { i.price = 1000 })},
		"no index":           {hexed2(byIntention, i, c.ID()), nil},
		"no commitment":      {keyCommitment(c.ID()), nil},
		"an unknown one":     {hexed2(byIntention, i, [32]byte{9}), present{}.append(nil)},
		"no intention":       {keyIntention(i), nil},
		"not an intention":   {"int/x", []byte{1}},
		"a row cut off":      {keyIntention(i), in.append(nil)[:5]},
		"minted":             {keyLedger, ledgerRow{id: w.ledger, minted: 1, founders: 1, name: "x"}.append(nil)},
		"no ledger":          {keyLedger, nil},
		"another root":       {keyCA("Org1MSP", sha256.Sum256(secondRoot())), authority{true, secondRoot()}.append(nil)},
		"no root":            {keyCA("Org1MSP", sha256.Sum256(authorityRoot())), nil},
		"commitment changed": {keyCommitment(c.ID()), commitment{&d, 20, endNone, 0}.append(nil)},
	} {
		st := copyOf(w.state.memory)
		if row.Value == nil {
			delete(st, row.Key)
		} else {
			st[row.Key] = row.Value
		}
		if b, err := Audit(st); err == nil {
			t.Errorf("%s: %+v", what, b)
		}
	}
	w.audit()
}

const math64 = payment.Amount(1<<64 - 1)
