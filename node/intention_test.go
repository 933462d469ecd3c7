package node

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"torrente/payment"
	"torrente/payment/contract"
	"torrente/payment/ledger"
	"torrente/swarm"
)

// counting is a ledger that counts what is declared on it.
type counting struct {
	ledger.Ledger

	mu       sync.Mutex // guards the following
	declares int
	sweeps   int
	lose     int // so many Declares are lost on their way, for all that anybody knows
}

var errLost = errors.New("the answer was lost")

func (c *counting) Submit(ctx context.Context, tx *contract.Signed) (ledger.Receipt, error) {
	parsed, err := contract.ParseTransaction(tx.Body)
	if err != nil {
		return ledger.Receipt{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch parsed.Args.Call() {
	case contract.CallSweep:
		c.sweeps++
	case contract.CallDeclare:
		if c.declares++; c.declares <= c.lose {
			return ledger.Receipt{}, errLost
		}
	}
	return c.Ledger.Submit(ctx, tx)
}

// Coins are frozen at no higher price than the user agreed to, also if what is
// frozen is within what was allowed, and whether we have heard of the new price
// or not; the user is told once and for all of the run. At a lower one they are.
func TestPriceThatWasAgreed(t *testing.T) {
	c := newClub(t, "club")
	g := makeGoods(t, 1<<20, c.price())
	torrent := payment.TorrentID(g.torrent.Info.ID())
	seller := startNode(t, c.member(t, "seller"))
	if err := seller.Register(t.Context(), g.torrent.Info.Raw); err != nil {
		t.Fatal(err)
	}
	for name, x := range map[string]struct {
		agreed, heard payment.Amount
		rose          bool
		calls         int
	}{
		"too low":                    {clubPrice - 1, clubPrice, true, 0},
		"too low, and not yet heard": {clubPrice - 1, clubPrice - 1, true, 1},
		"the same":                   {clubPrice, clubPrice, false, 1},
		"higher":                     {clubPrice + 1, clubPrice, false, 1},
		"it fell, and not yet heard": {clubPrice + 1, clubPrice + 1, false, 1},
	} {
		m := c.member(t, "buyer "+name)
		c.fund(t, m, 1000)
		l := &counting{Ledger: c.ledger}
		m.Ledger = l
		n := startNode(t, m)
		p := n.purse
		eventually(t, "the price", func() bool { return p.priceEvent().Epoch != 0 })
		p.learnPrice(x.heard, 0, p.priceEvent().Epoch)
		buyer := add(t, n, Options{Torrent: g.torrent, AskFirst: true})
		buyer.Allow(Consent{1000, x.agreed})

		want := swarm.Purchase{Account: seller.purse.account, Units: 64}
		deal, err := p.buy(t.Context(), buyer, want)
		if x.rose {
			const sentence = "the price rose from 1 to 2 coins a unit meanwhile: run the command again to see the new cost"
			if !errors.Is(err, contract.PriceRose) || !strings.Contains(err.Error(), sentence) {
				t.Errorf("%s: %v, want %q", name, err, sentence)
			}
			if _, again := p.buy(t.Context(), buyer, want); !errors.Is(again, contract.PriceRose) {
				t.Errorf("%s: the second try ended with %v", name, again)
			}
		} else if err != nil || deal == nil || deal.Commit.Commitment.Price != clubPrice {
			t.Errorf("%s: %+v, %v", name, deal, err)
		}
		a, err := c.ledger.Query(t.Context(), contract.Query{Kind: contract.QueryAccount, Account: m.account()})
		if err != nil || (a.Account.Frozen == 0) != x.rose || a.Account.Available+a.Account.Frozen != 1000 || l.declares != x.calls {
			t.Errorf("%s: %+v, %v, %d calls", name, a.Account, err, l.declares)
		}
		if n := len(m.Wallet.Intentions()); (n == 0) != x.rose {
			t.Errorf("%s: the wallet has %d intentions", name, n)
		}
		i, err := c.ledger.Query(t.Context(), contract.Query{Kind: contract.QueryIntention, Intention: p.intentionOf(torrent).intention})
		if !x.rose && (err != nil || len(i.Intentions) != 1 || i.Intentions[0].Open != 1) {
			t.Errorf("%s: %+v, %v", name, i.Intentions, err)
		}
	}
}

// A Declare of which nothing was heard may be done yet: it is sent again, as it
// was, and nothing else is declared meanwhile.
func TestLostDeclare(t *testing.T) {
	c := newClub(t, "club")
	g := makeGoods(t, 1<<20, c.price())
	seller := startNode(t, c.member(t, "seller"))
	if err := seller.Register(t.Context(), g.torrent.Info.Raw); err != nil {
		t.Fatal(err)
	}
	m := c.member(t, "buyer")
	c.fund(t, m, 1000)
	l := &counting{Ledger: c.ledger, lose: 3}
	m.Ledger = l
	n := startNode(t, m)
	buyer := add(t, n, Options{Torrent: g.torrent, Consent: Consent{200, clubPrice}})
	want := swarm.Purchase{Account: seller.purse.account, Units: 64}
	for try, reason := range []error{errLost, errUnanswered, errUnanswered} {
		if d, err := n.purse.buy(t.Context(), buyer, want); d != nil || !errors.Is(err, reason) {
			t.Fatalf("try %d: %+v, %v, want %v", try, d, err, reason)
		}
	}
	d, err := n.purse.buy(t.Context(), buyer, want)
	if err != nil || d == nil || !d.Resumed {
		t.Fatalf("in the end %+v, %v", d, err)
	}
	a, err := c.ledger.Query(t.Context(), contract.Query{Kind: contract.QueryAccount, Account: m.account()})
	if err != nil || a.Account.Frozen != 64*clubPrice*margin/100 || len(m.Wallet.Intentions()) != 1 {
		t.Errorf("%+v, %v, %d intentions", a.Account, err, len(m.Wallet.Intentions()))
	}
}

// Who was given coins freezes them by one call, unless they are of more transactions
// than one call takes.
func TestFundsAreFrozenByOneCall(t *testing.T) {
	for _, gifts := range []int{2, contract.MaxPage + 1} {
		c := newClub(t, "club")
		g := makeGoods(t, 1<<20, c.price())
		seller := startNode(t, c.member(t, "seller"))
		if err := seller.Register(t.Context(), g.torrent.Info.Raw); err != nil {
			t.Fatal(err)
		}
		m := c.member(t, "buyer")
		for range gifts {
			c.fund(t, m, 500)
		}
		l := &counting{Ledger: c.ledger}
		m.Ledger = l
		n := startNode(t, m)
		buyer := add(t, n, Options{Torrent: g.torrent, Consent: Consent{1000, clubPrice}})
		want := swarm.Purchase{Account: seller.purse.account, Units: 64}
		if d, err := n.purse.buy(t.Context(), buyer, want); err != nil || d == nil {
			t.Fatalf("%+v, %v", d, err)
		}
		a, err := c.ledger.Query(t.Context(), contract.Query{Kind: contract.QueryAccount, Account: m.account()})
		if err != nil || a.Account.Unswept != 0 || l.declares != 1 || l.sweeps != gifts/contract.MaxPage {
			t.Errorf("%d gifts: %+v, %v after %d Declare and %d Sweep", gifts, a.Account, err, l.declares, l.sweeps)
		}
	}
}

// Coins that came after the torrent was opened are found.
func TestFundsThatComeLate(t *testing.T) {
	c := newClub(t, "club")
	g := makeGoods(t, 1<<20, c.price())
	seller := startNode(t, c.member(t, "seller"))
	if err := seller.Register(t.Context(), g.torrent.Info.Raw); err != nil {
		t.Fatal(err)
	}
	m := c.member(t, "buyer")
	n := startNode(t, m)
	buyer := add(t, n, Options{Torrent: g.torrent, Consent: Consent{1000, clubPrice}})
	within(t, "opening", buyer.Opened())
	f := n.purse.intentionOf(payment.TorrentID(g.torrent.Info.ID()))
	eventually(t, "the early question", func() bool { f.mu.Lock(); defer f.mu.Unlock(); return len(f.credits) == 1 })
	c.fund(t, m, 1000)
	want := swarm.Purchase{Account: seller.purse.account, Units: 64}
	if d, err := n.purse.buy(t.Context(), buyer, want); err != nil || d == nil {
		t.Errorf("%+v, %v", d, err)
	}
}
