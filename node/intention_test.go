package node

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"

	"torrente/payment"
	"torrente/payment/contract"
	"torrente/payment/ledger"
)

// rising is a ledger whose price rises between a quote and what is declared on
// it. It was met before, at the price that it has then.
type rising struct {
	ledger.Ledger

	mu       sync.Mutex // guards the following
	met      bool
	declares int
}

func (r *rising) Query(ctx context.Context, q contract.Query) (contract.Answer, error) {
	a, err := r.Ledger.Query(ctx, q)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil && q.Kind == contract.QueryLedger {
		if r.met && r.declares == 0 {
			before := *a.Ledger
			before.Price--
			a.Ledger = &before
		}
		r.met = true
	}
	return a, err
}

func (r *rising) Submit(ctx context.Context, tx *contract.Signed) (ledger.Receipt, error) {
	if parsed, err := contract.ParseTransaction(tx.Body); err == nil && parsed.Args.Call() == contract.CallDeclare {
		r.mu.Lock()
		r.declares++
		r.mu.Unlock()
	}
	return r.Ledger.Submit(ctx, tx)
}

// What was quoted at one price is not frozen at a higher one, although it would
// be within what was allowed; the user is told once and for all of the run.
func TestPriceThatRises(t *testing.T) {
	c := newClub(t, "club")
	g := makeGoods(t, 1<<20, c.price())
	shop := add(t, startNode(t, c.member(t, "seller")), Options{Torrent: g.torrent, Dir: g.dir, SeedOnly: true})
	within(t, "the check", shop.Opened())
	if err := shop.node.Register(t.Context(), g.torrent.Info.Raw); err != nil {
		t.Fatal(err)
	}
	m := c.member(t, "buyer")
	c.fund(t, m, 1000)
	r := &rising{Ledger: c.ledger}
	m.Ledger = r
	buyer := add(t, startNode(t, m), Options{Torrent: g.torrent, Peers: []netip.AddrPort{at(shop.node)}, Consent: Consent{1000, clubPrice - 1}})
	eventually(t, "the trouble", func() bool { return buyer.PaymentTrouble() != nil })
	const want = "the price rose from 1 to 2 coins a unit meanwhile: run the command again to see the new cost"
	if err := buyer.PaymentTrouble(); err.Error() != want || !errors.Is(err, contract.PriceRose) {
		t.Errorf("%q, want %q", err, want)
	}
	f := buyer.node.purse.intentionOf(payment.TorrentID(g.torrent.Info.ID()))
	f.mu.Lock()
	err := buyer.node.purse.freeze(t.Context(), buyer, payment.TorrentID(g.torrent.Info.ID()), f, 1)
	f.mu.Unlock()
	if !errors.Is(err, contract.PriceRose) || r.declares != 1 {
		t.Errorf("the second try ended with %v, after %d calls", err, r.declares)
	}
	a, err := c.ledger.Query(t.Context(), contract.Query{Kind: contract.QueryAccount, Account: m.account()})
	if err != nil || a.Account.Available != 1000 || a.Account.Frozen != 0 || len(m.Wallet.Intentions()) != 0 {
		t.Errorf("%+v, %v, %d intentions", a.Account, err, len(m.Wallet.Intentions()))
	}
}

// A price that rose after the user had agreed, and before there was a seller, is
// refused, although what it costs is within what was allowed. Nothing is sent.
func TestPriceThatWasAgreed(t *testing.T) {
	c := newClub(t, "club")
	g := makeGoods(t, 1<<20, c.price())
	m := c.member(t, "buyer")
	c.fund(t, m, 1000)
	r := &rising{Ledger: c.ledger, declares: 1} // it has risen
	m.Ledger = r
	n := startNode(t, m)
	if err := n.Register(t.Context(), g.torrent.Info.Raw); err != nil {
		t.Fatal(err)
	}
	for name, x := range map[string]struct {
		agreed payment.Amount
		rose   bool
	}{"too low": {clubPrice - 1, true}, "the same": {clubPrice, false}, "higher": {clubPrice + 1, false}} {
		torrent := payment.TorrentID(g.torrent.Info.ID())
		buyer := add(t, n, Options{Torrent: g.torrent, AskFirst: true})
		buyer.Allow(Consent{1000, x.agreed})
		before := r.declares
		err := n.purse.declare(t.Context(), buyer, torrent, &frozen{}, 64)
		const want = "the price rose from 1 to 2 coins a unit meanwhile: run the command again to see the new cost"
		rose := err != nil && err.Error() == want && errors.Is(err, contract.PriceRose)
		if rose != x.rose || err != nil && !rose || rose == (r.declares > before) {
			t.Errorf("%s: %v, %d calls", name, err, r.declares-before)
		}
		buyer.Close()
	}
}
