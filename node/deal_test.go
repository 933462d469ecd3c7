package node

import (
	"errors"
	"testing"
	"time"

	"torrente/metainfo"
	"torrente/payment"
	"torrente/swarm"
)

// A commitment whose links are all released is not gone on with, also if it is
// not the one that was used up last: without that, who has used up two would
// show the first one again on the connection on which it was shown already.
func TestUsedUpCommitmentsAreNotGoneOnWith(t *testing.T) {
	d := startDealing(t)
	n := startNode(t, d.buyer)
	tr := add(t, n, Options{Torrent: d.goods.torrent, Consent: Consent{1000, clubPrice}})
	within(t, "the check", tr.Opened())
	used, fresh := d.open(4, 24*time.Hour), d.open(4, 24*time.Hour)
	if err := d.buyer.Wallet.Released(used.id, 4); err != nil {
		t.Fatal(err)
	}
	for _, last := range []payment.CommitmentID{{}, used.id} {
		deal, err := n.purse.goOn(t.Context(), tr, d.torrent(), swarm.Purchase{Account: d.seller.account(), Units: 1, Refused: last})
		if err != nil || deal == nil || deal.Commit.Commitment.ID() != fresh.id {
			t.Errorf("goes on with %+v, %v", deal, err)
		}
	}
	deal, err := n.purse.goOn(t.Context(), tr, d.torrent(), swarm.Purchase{Account: d.seller.account(), Units: 1, Refused: fresh.id})
	if deal != nil || err != nil {
		t.Errorf("goes on with a commitment that is used up: %+v, %v", deal, err)
	}
}

// A seller that was paid for a whole piece and more is no stranger, although a
// loss of power took the records of what it delivered; else its own cap would
// keep it from another one for ever.
func TestPaidSellerIsNoStranger(t *testing.T) {
	d := startDealing(t)
	n := startNode(t, d.buyer)
	f := &frozen{intention: d.intention, units: testFunds}
	s := d.open(testFunds, 24*time.Hour)
	account := d.seller.account()
	proven := provenAbove(true, 4*payment.UnitBytes)
	if _, err := n.purse.first(f, account, 8, proven); err == nil {
		t.Error("a stranger has a cap beyond its share")
	}
	if err := d.buyer.Wallet.Released(s.id, proven); err != nil {
		t.Fatal(err)
	}
	if _, err := n.purse.first(f, account, 8, proven); err == nil {
		t.Error("a stranger that was paid for a piece ahead has another cap")
	}
	if err := d.buyer.Wallet.Released(s.id, proven+1); err != nil {
		t.Fatal(err)
	}
	if cap, err := n.purse.first(f, account, 8, proven); err != nil || cap != 8 {
		t.Errorf("a seller that was paid for more has a cap of %d, %v", cap, err)
	}
	if got := provenAbove(false, metainfo.MaxSoldPieceLengthV1); got != 1 {
		t.Errorf("%d units may be paid ahead where leaves prove them", got)
	}
}

// Whoever has delivered is promised as much as that at once, and no more than half
// of what is free; and that once for a download.
func TestFirstCapOfWhoHasDelivered(t *testing.T) {
	d := startDealing(t)
	n := startNode(t, d.buyer)
	s, account := d.open(testFunds, 24*time.Hour), d.seller.account()
	owed := uint32(0)
	for _, c := range []struct{ owed, free, links, want uint32 }{
		{0, 4000, 5000, 100}, // a stranger: half a twentieth of what is frozen
		{1, 4000, 5000, firstCap},
		{firstCap, 4000, 5000, firstCap},
		{100, 4000, 5000, 100},
		{100, 180, 5000, 90},
		{100, 20, 20, 20},
		{100, 100, 5000, firstCap},
		{100, 4000, 80, 80},
	} {
		for ; owed < c.owed; owed++ {
			if _, err := d.buyer.Wallet.Owed(s.id, owed); err != nil {
				t.Fatal(err)
			}
		}
		f := &frozen{units: 4000, free: uint64(c.free)} // of another torrent
		if got, err := n.purse.first(f, account, c.links, 1); err != nil || got != c.want {
			t.Errorf("after %d units the first cap of %d links, with %d free, is %d, %v, want %d", c.owed, c.links, c.free, got, err, c.want)
		}
		f.intention = d.intention // of this one: it has a cap here already
		if got, err := n.purse.first(f, account, c.links, 1); c.owed > 0 && (err != nil || got != min(firstCap, c.links)) {
			t.Errorf("after %d units the second cap of %d links is %d, %v", c.owed, c.links, got, err)
		}
	}
}

// The first stranger is promised half of what strangers get together, so that it does
// not keep the others from the rest.
func TestFirstCapOfStrangers(t *testing.T) {
	d := startDealing(t)
	n := startNode(t, d.buyer)
	for _, c := range []struct{ units, taken, links, want uint64 }{
		{400, 0, 400, 20},         // a twentieth
		{2000, 0, 2000, firstCap}, // half of a twentieth is less
		{20_000, 0, 20_000, 500},  // half of a twentieth
		{20_000, 0, 100, 100},     // as long as the chain is
		{20_000, 20, 20_000, firstCap},
		{400, 20, 400, 0},
	} {
		f := &frozen{units: c.units, free: c.units, intention: payment.IntentionID{byte(c.taken)}}
		if c.taken > 0 {
			f.intention = d.intention
			d.openUpTo(uint32(c.taken), uint32(c.taken), 24*time.Hour)
		}
		got, err := n.purse.first(f, d.seller.account(), uint32(c.links), 1)
		if uint64(got) != c.want || (c.want == 0) != errors.Is(err, errCapsPromised) {
			t.Errorf("of %d units, %d taken, a stranger's first cap is %d, %v, want %d", c.units, c.taken, got, err, c.want)
		}
	}
}

// Whoever has delivered eight times what was lost is paid ahead all the same: it
// may have been lost by us.
func TestLostUnitsAreForgivenToWhoDelivers(t *testing.T) {
	d := startDealing(t)
	n := startNode(t, d.buyer)
	lost, good := d.open(8, 24*time.Hour), d.open(testFunds-8, 24*time.Hour)
	if err := d.buyer.Wallet.Released(lost.id, 4); err != nil { // of a piece of five
		t.Fatal(err)
	}
	for unit := range uint32(40) {
		if got := n.purse.awaits(d.seller.account(), payment.CommitmentID{}, 5); got != (unit < 4*lostShare) {
			t.Errorf("4 units lost and %d delivered: awaits %v", unit, got)
		}
		if _, err := d.buyer.Wallet.Owed(good.id, unit); err != nil {
			t.Fatal(err)
		}
	}
}

// A commitment that is used up, and on which less came than was paid, is shown
// first, and once on a connection: it ends what a seller that died believes to be
// owed. Who showed a new one alone waited for ever for a seller that had lent all.
func TestSpentCommitmentIsShownFirst(t *testing.T) {
	d := startDealing(t)
	n := startNode(t, d.buyer)
	tr := add(t, n, Options{Torrent: d.goods.torrent, Consent: Consent{1000, clubPrice}})
	within(t, "the check", tr.Opened())
	spent := d.open(4, 24*time.Hour)
	if err := d.buyer.Wallet.Released(spent.id, 4); err != nil {
		t.Fatal(err)
	}
	b := swarm.Purchase{Account: d.seller.account(), Units: 1}
	deal, err := n.purse.goOn(t.Context(), tr, d.torrent(), b)
	if err != nil || deal == nil || !deal.Spent || !deal.Resumed || deal.Commit.Commitment.ID() != spent.id {
		t.Fatalf("%+v, %v", deal, err)
	}
	b.Refused = spent.id
	if deal, err := n.purse.goOn(t.Context(), tr, d.torrent(), b); deal != nil || err != nil {
		t.Errorf("it is shown again: %+v, %v", deal, err)
	}
	for unit := range uint32(4) {
		if _, err := d.buyer.Wallet.Owed(spent.id, unit); err != nil {
			t.Fatal(err)
		}
	}
	b.Refused = payment.CommitmentID{}
	if deal, err := n.purse.goOn(t.Context(), tr, d.torrent(), b); deal != nil || err != nil {
		t.Errorf("one on which all came is shown: %+v, %v", deal, err)
	}
}

// A seller owes us no more than we pay ahead: what was paid beyond what we have a
// record of came, and power took the records. Who would pay nothing ahead for that
// would wait for ever for a seller that lends nothing.
func TestLostRecordsAreNoDebtOfTheSeller(t *testing.T) {
	d := startDealing(t)
	n := startNode(t, d.buyer)
	s, account := d.open(testFunds, 24*time.Hour), d.seller.account()
	for released, want := range []bool{false, true, false, false} { // one is paid ahead
		if err := d.buyer.Wallet.Released(s.id, uint32(released)); err != nil {
			t.Fatal(err)
		}
		if got := n.purse.awaits(account, payment.CommitmentID{}, 1); got != want {
			t.Errorf("%d paid and no record of any: awaits %v", released, got)
		}
	}
}
