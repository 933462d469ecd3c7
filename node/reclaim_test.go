package node

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"torrente/payment"
	"torrente/payment/contract"
	"torrente/payment/wallet"
)

// copyOf is the same account with an empty wallet, as after a restore or on
// another machine.
func (d *dealing) copyOf(m *Membership) *Membership {
	d.t.Helper()
	key, err := wallet.DeriveKey(m.Identity.Key())
	if err != nil {
		d.t.Fatal(err)
	}
	w, err := wallet.Open(d.t.TempDir(), wallet.Config{Account: m.account(), Ledger: d.club.ledger.ID(), Key: key})
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { w.Close() })
	return &Membership{Identity: m.Identity, Trust: m.Trust, Ledger: m.Ledger, Wallet: w}
}

// funds is what the buyer of a dealing begins with.
const funds = 1000

func (d *dealing) expect(available, frozen payment.Amount) {
	d.t.Helper()
	if a, f := d.has(d.buyer); a != available || f != frozen {
		d.t.Errorf("the buyer has %s and %s frozen, want %s and %s", a, f, available, frozen)
	}
}

// A node that runs takes back by itself what expired, also what a seller closed
// and never redeemed; what the user did not close stays frozen.
func TestReclaimByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := startDealing(t)
		silent, closed, redeemed := d.open(10, 4*time.Hour), d.open(10, 4*time.Hour), d.open(10, 4*time.Hour)
		closed.pay(6)
		closed.close(6)
		redeemed.pay(10)
		if _, err := d.seller.Redeem(t.Context(), time.Now()); err != nil { // of closed as well
			t.Fatal(err)
		}
		lazy := d.open(10, 4*time.Hour)
		lazy.pay(6)
		lazy.close(6)
		d.do(d.buyer, &contract.Close{Intention: d.intention})
		const spent, left = 16 * clubPrice, (10 + 6) * clubPrice // left: of silent and lazy
		d.expect(funds-spent-left, left)
		n, _ := d.run(d.buyer)
		defer n.Close()
		pass(4*time.Hour + 29*time.Minute)
		d.expect(funds-spent-left, left)
		pass(time.Hour)
		d.expect(funds-spent, 0)
		for _, s := range []*sale{silent, closed, redeemed, lazy} {
			if o, _ := d.buyer.Wallet.Opening(s.id); !o.Ended {
				t.Errorf("%v has not ended", s.id)
			}
		}
		if got := told(t, d.buyer); !slices.Equal(got, []string{wallet.EventReclaimed, wallet.EventReclaimed}) {
			t.Errorf("history: %v", got)
		}
	})
}

// By hand it closes what is not in use; a download that runs keeps its coins.
func TestReclaimByHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := startDealing(t)
		d.open(10, 4*time.Hour)
		n, _ := d.run(d.buyer)
		defer n.Close()
		dl := add(t, n, Options{Torrent: d.goods.torrent})
		if got, err := n.Reclaim(t.Context()); err != nil || got != 0 {
			t.Errorf("reclaimed %s while it downloads, %v", got, err)
		}
		if err := dl.Close(); err != nil {
			t.Fatal(err)
		}
		const want = (testFunds - 10) * clubPrice
		for _, want := range []payment.Amount{want, 0} {
			if got, err := d.buyer.Reclaim(t.Context(), time.Now()); err != nil || got != want {
				t.Errorf("reclaimed %s, %v, want %s", got, err, want)
			}
		}
		d.expect(funds-10*clubPrice, 10*clubPrice)
		pass(5 * time.Hour)
		if _, err := d.buyer.Reclaim(t.Context(), time.Now()); err != nil {
			t.Error(err)
		}
		d.expect(funds, 0)
	})
}

// What a crash cut off is finished before: coins that were about to be frozen
// are taken back too, and do not freeze later.
func TestReclaimAfterACrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := startDealing(t)
		m, request := d.buyer, newRequest()
		signed, err := contract.Sign(m.Identity.Key(), m.Identity.Chain(), &contract.Transaction{
			Ledger: d.club.ledger.ID(), Time: uint64(time.Now().Unix()), Request: request,
			Args: &contract.Declare{Torrent: d.torrent(), Units: 5, Margin: 100, MaxPrice: clubPrice},
		})
		if err != nil {
			t.Fatal(err)
		}
		id := payment.IntentionOf(d.club.ledger.ID(), m.account(), d.torrent(), request)
		reserve := wallet.Reservation{
			Request: request, Signed: signed.Append(nil),
			Intention: &wallet.Intention{ID: id, Torrent: d.torrent(), Request: request, Units: 5, Coins: 5 * clubPrice},
		}
		if err := m.Wallet.Reserve(reserve); err != nil {
			t.Fatal(err)
		}
		if _, err := m.Reclaim(t.Context(), time.Now()); err != nil {
			t.Fatal(err)
		}
		d.expect(funds, 0)
		if left, err := m.Wallet.PendingSubmissions(); err != nil || len(left) != 0 {
			t.Errorf("%d are pending, %v", len(left), err)
		}
		// One that is too old will never be taken, and is not kept for ever.
		reserve.Request, reserve.Intention = newRequest(), nil
		if err := m.Wallet.Reserve(reserve); err != nil {
			t.Fatal(err)
		}
		pass(time.Hour)
		if err := m.finish(t.Context()); err != nil {
			t.Fatal(err)
		}
		if left, err := m.Wallet.PendingSubmissions(); err != nil || len(left) != 0 {
			t.Errorf("%d are pending, %v", len(left), err)
		}
		d.expect(funds, 0)
	})
}

// A wallet that does not know what the ledger knows buys nothing, until it
// recovers: then free coins are back at once, and the rest after expiry.
func TestRecover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := startDealing(t)
		if err := d.buyer.CheckRecords(t.Context()); err != nil {
			t.Fatalf("its own records: %v", err)
		}
		paid, long := d.open(10, 4*time.Hour), d.open(20, 20*time.Hour)
		paid.pay(3)
		copied := d.copyOf(d.buyer)
		n, said := d.run(copied)
		defer n.Close()
		synctest.Wait()
		if got := said(); len(got) != 1 || !strings.HasPrefix(got[0], "this account has 1 download and 2 payments under way that the wallet here knows nothing of") {
			t.Errorf("it said %q", got)
		}
		for range 2 {
			if f, ok := errors.AsType[*Foreign](copied.CheckRecords(t.Context())); !ok || len(f.chains) != 2 {
				t.Fatalf("%v", f)
			}
		}
		r, err := copied.Recover(t.Context(), time.Now())
		free := payment.Amount(testFunds-30) * clubPrice
		if err != nil || r.Downloads != 1 || r.Payments != 2 || r.Coins != free {
			t.Fatalf("recovered %+v, %v", r, err)
		}
		at := func(s *sale) time.Time { return time.Unix(int64(s.commit.Expiry), 0).Add(refundAfter).UTC() }
		if want := []Return{{at(paid), 10 * clubPrice}, {at(long), 20 * clubPrice}}; !slices.Equal(r.Later, want) {
			t.Errorf("later: %+v, want %+v", r.Later, want)
		}
		if err := copied.CheckRecords(t.Context()); err != nil {
			t.Errorf("after it recovered: %v", err)
		}
		if err := d.copyOf(copied).CheckRecords(t.Context()); err == nil {
			t.Error("another copy may buy")
		}
		if r, err := copied.Recover(t.Context(), time.Now()); err != nil || r.Downloads+r.Payments != 0 || len(r.Later) != 2 {
			t.Errorf("recovered again: %+v, %v", r, err)
		}
		// The seller still gets what it was paid.
		if got, err := d.seller.Redeem(t.Context(), time.Now()); err != nil || got.Units != 3 {
			t.Errorf("redeemed %+v, %v", got, err)
		}
		pass(6 * time.Hour)
		d.expect(funds-(3+20)*clubPrice, 20*clubPrice)
		pass(16 * time.Hour)
		d.expect(funds-3*clubPrice, 0)
	})
}

// While the ledger is down nobody knows, so nothing is bought; then it is asked
// again.
func TestRecordsWithoutLedger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := startDealing(t)
		d.moody.set(true)
		if err := d.buyer.CheckRecords(t.Context()); !errors.Is(err, errDown) {
			t.Errorf("%v", err)
		}
		d.moody.set(false)
		if err := d.buyer.CheckRecords(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
