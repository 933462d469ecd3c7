package node

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"torrente/payment"
	"torrente/payment/contract"
	"torrente/payment/ledger"
	"torrente/swarm"
)

// skewed is a ledger whose clock is off by so many nanoseconds.
type skewed struct {
	ledger.Ledger
	by atomic.Int64
}

func (s *skewed) Query(ctx context.Context, q contract.Query) (contract.Answer, error) {
	a, err := s.Ledger.Query(ctx, q)
	a.Time += uint64(time.Duration(s.by.Load()) / time.Second)
	return a, err
}

func (s *skewed) set(by time.Duration) { s.by.Store(int64(by)) }

func isWrongClock(err error) bool {
	_, ok := errors.AsType[*ledger.WrongClock](err)
	return ok
}

// With a wrong clock nothing is registered, frozen, opened or raised. It is said
// once to who sells, and what had to wait is done when the clock is right.
func TestWrongClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := startDealing(t)
		s := d.open(10, 24*time.Hour)
		clock := &skewed{Ledger: d.club.ledger}
		d.seller.Ledger = clock
		other := makeGoods(t, 1<<19, d.club.price())
		clock.set(ledger.ClockTolerance + 2*time.Second)
		n, said := d.run(d.seller)
		defer n.Close()
		synctest.Wait()
		if len(said()) != 0 {
			t.Errorf("said to who sells nothing: %v", said())
		}
		tr := add(t, n, Options{Torrent: other.torrent})
		if _, err := n.Quote(t.Context(), 1); !isWrongClock(err) {
			t.Errorf("a price: %v", err)
		}
		if _, err := n.purse.buy(t.Context(), tr, swarm.Purchase{Account: d.buyer.account(), Units: 1}); !isWrongClock(err) {
			t.Errorf("a purchase: %v", err)
		}
		if err := n.purse.raise(t.Context(), swarm.Raise{Commitment: s.commit.ID(), Cap: 11}); !isWrongClock(err) {
			t.Errorf("a raise: %v", err)
		}
		if err := tr.PaymentTrouble(); !isWrongClock(err) {
			t.Errorf("what the user is told: %v", err)
		}
		for range 2 {
			if err := n.Register(t.Context(), other.torrent.Info.Raw); !isWrongClock(err) {
				t.Errorf("a registration: %v", err)
			}
			pass(attendEvery)
		}
		if got := said(); len(got) != 1 || !strings.HasPrefix(got[0], "the clock of this machine is 2m2s behind the ledger's") {
			t.Errorf("said: %q", got)
		}
		registered := func() bool {
			a, err := d.club.ledger.Query(t.Context(), contract.Query{Kind: contract.QueryTorrent, Torrent: payment.TorrentID(tr.Info().ID())})
			return err == nil && a.Torrent != nil
		}
		if registered() || len(d.seller.Wallet.Intentions()) != 0 {
			t.Error("something was done on the ledger")
		}
		clock.set(-ledger.ClockTolerance)
		pass(attendSoon)
		if n.purse.wrongClock() == nil || registered() || len(said()) != 1 {
			t.Errorf("at the limit it counts as right: said %q", said())
		}
		clock.set(clockMargin + time.Second - ledger.ClockTolerance)
		pass(attendSoon)
		if !registered() || !slices.Equal(said()[1:], []string{"the clock of this machine is right again: what is sold is served again"}) {
			t.Errorf("registered %v, said %q", registered(), said())
		}
		if err := tr.PaymentTrouble(); err != nil {
			t.Error(err)
		}
		clock.set(time.Hour) // and wrong again: within a minute it is noticed
		pass(attendEvery)
		if n.purse.wrongClock() == nil {
			t.Error("nobody looks any more")
		}
	})
}

// A torrent that waited for the clock, and could not be registered when it was
// right since the ledger did not answer, is registered later. It is said once.
func TestRegisteredInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := startDealing(t)
		clock, deaf := &skewed{Ledger: d.club.ledger}, &moody{Ledger: d.club.ledger}
		other := makeGoods(t, 1<<19, d.club.price())
		clock.set(time.Hour)
		d.seller.Ledger = &readsAndWrites{clock, deaf}
		n, said := d.run(d.seller)
		defer n.Close()
		synctest.Wait()
		if err := n.Register(t.Context(), other.torrent.Info.Raw); !isWrongClock(err) {
			t.Fatal(err)
		}
		deaf.set(true)
		clock.set(0)
		pass(3 * ledgerTime)
		if got := said(); len(got) != 3 || !strings.HasPrefix(got[2], "a torrent that is sold is not known to the ledger yet") {
			t.Errorf("said: %q", got)
		}
		deaf.set(false)
		pass(2 * ledgerTime)
		a, err := d.club.ledger.Query(t.Context(), contract.Query{Kind: contract.QueryTorrent, Torrent: payment.TorrentID(other.torrent.Info.ID())})
		if err != nil || a.Torrent == nil || len(said()) != 3 {
			t.Errorf("it is not known to the ledger: %v, said %q", err, said())
		}
	})
}

// readsAndWrites is a ledger whose queries and calls go different ways.
type readsAndWrites struct {
	ledger.Ledger
	writes ledger.Ledger
}

func (l *readsAndWrites) Submit(ctx context.Context, tx *contract.Signed) (ledger.Receipt, error) {
	return l.writes.Submit(ctx, tx)
}

// Connections on which payment was agreed end when a clock proves wrong, and
// those on which it was not end when it is right again.
func TestWrongClockReconnects(t *testing.T) {
	c := newClub(t, "club")
	g := makeGoods(t, 1<<20, c.price())
	clock := &skewed{Ledger: c.ledger}
	m := c.member(t, "seller")
	m.Ledger = clock
	shop := add(t, startNode(t, m), Options{Torrent: g.torrent, Dir: g.dir, SeedOnly: true})
	within(t, "the check", shop.Opened())
	if err := shop.node.Register(t.Context(), g.torrent.Info.Raw); err != nil {
		t.Fatal(err)
	}
	buyer := c.member(t, "buyer")
	c.fund(t, buyer, 1000)
	b := add(t, startNode(t, buyer), Options{Magnet: g.torrent.Magnet()})
	compare := func(by time.Duration) {
		clock.set(by)
		_, _ = shop.node.Quote(t.Context(), 1) // it notices
	}
	compare(time.Hour)
	b.Found([]netip.AddrPort{at(shop.node)}, swarm.FromUser)
	within(t, "the metadata", b.Opened())
	eventually(t, "interest", func() bool { return b.Status().WantPayment == 1 })
	if authenticated(b) != 0 || authenticated(shop) != 0 {
		t.Error("payment was agreed on with a wrong clock")
	}
	compare(0)
	eventually(t, "authentication", func() bool { return authenticated(b) == 1 && authenticated(shop) == 1 })
	compare(-time.Hour)
	eventually(t, "a plain connection", func() bool { return b.Status().Peers == 1 && authenticated(b) == 0 && authenticated(shop) == 0 })
	if n := shop.Status().Uploaded; n != 0 {
		t.Errorf("%d bytes were given away", n)
	}
}
