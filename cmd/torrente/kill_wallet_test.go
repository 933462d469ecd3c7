package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"torrente/identity"
	"torrente/payment"
	"torrente/payment/wallet"
)

// memory is what was seen in wallets after kills: it may only grow.
type memory struct {
	counted map[payment.CommitmentID]uint32          // deepest link
	owed    map[payment.CommitmentID]map[uint32]bool // units
	closed  map[payment.CommitmentID]bool            // by the seller
	before  map[payment.CommitmentID]uint32          // deepest link before power was lost
}

func newMemory() memory {
	return memory{
		map[payment.CommitmentID]uint32{},
		map[payment.CommitmentID]map[uint32]bool{},
		map[payment.CommitmentID]bool{},
		map[payment.CommitmentID]uint32{},
	}
}

// open opens a copy of the wallet of a side that does not run, as its next
// process would find it.
func (v *victim) open() *wallet.Wallet {
	f := v.fair
	f.t.Helper()
	h, to := home(f.path(v.home)), home(f.t.TempDir())
	for _, name := range []string{"wallet.db", "links.log", "owed.log"} {
		b, err := os.ReadFile(h.path(name))
		f.fine(err)
		f.fine(os.WriteFile(to.path(name), b, 0o600))
	}
	id, err := identity.Load(h.path(keyFile), h.path(certificateFile), []byte(f.password))
	f.fine(err)
	d, err := readDirectory(string(h))
	f.fine(err)
	w, err := to.openWallet(id, d.LedgerID)
	f.fine(err)
	return w
}

// purses ends both sides and describes what they have promised and were
// promised, but for what is paid to the end.
func (f *fair) purses() string {
	var b strings.Builder
	for _, v := range []*victim{f.buyer, f.seller} {
		_ = v.last.cmd.Process.Kill()
		<-v.last.says.done
		fmt.Fprintf(&b, "the %s died at %q and said last: %s\n", v.home, v.deaths, v.last.said())
		w := v.open()
		for _, o := range w.Openings() {
			if o.Released < killUnits && !o.Ended {
				fmt.Fprintf(&b, "the buyer pays on %v: %d links, cap %d, %d released, %d owed\n",
					o.Commitment.ID(), o.Commitment.Links, o.Cap, o.Released, o.Owed)
			}
		}
		for _, c := range w.Claims() {
			if c.Redeemed < c.Best.Index {
				fmt.Fprintf(&b, "the seller has of %v: link %d, %d redeemed, closed: %v\n",
					c.Commitment.ID(), c.Best.Index, c.Redeemed, c.Close != nil)
			}
		}
		if err := w.Close(); err != nil {
			fmt.Fprintln(&b, err)
		}
	}
	return b.String()
}

// look opens the wallet of a side that was killed: it is not damaged, nothing
// that was there is lost, and every link is one of its chain.
func (r *round) look(v *victim) {
	r.t.Helper()
	w := v.open()
	defer func() { r.fine(w.Close()) }()
	for _, c := range w.Claims() {
		id := c.Commitment.ID()
		if c.Best.Index > 0 && !c.Commitment.Verify(c.Commitment.Start(), c.Best) {
			r.t.Errorf("link %d of %v is not of its chain", c.Best.Index, id)
		}
		if c.Best.Index < r.memory.counted[id] {
			r.t.Errorf("link %d of %v was counted, and %d is left", r.memory.counted[id], id, c.Best.Index)
		}
		r.memory.counted[id] = c.Best.Index
		if r.memory.closed[id] && c.Close == nil {
			r.t.Errorf("%v was closed, and is no more", id)
		}
		r.memory.closed[id] = c.Close != nil
	}
	for _, o := range w.Openings() {
		id := o.Commitment.ID()
		units, err := w.OwedUnits(id)
		r.fine(err)
		now := map[uint32]bool{}
		for _, u := range units {
			now[u] = true
		}
		for u := range r.memory.owed[id] {
			if !now[u] {
				r.t.Errorf("unit %d was owed on %v, and is no more", u, id)
			}
		}
		r.memory.owed[id] = now
	}
}

// account is how a torrent was paid, over all its commitments, in units.
type account struct {
	commitments int
	owed        uint64 // by the buyer's records
	counted     uint64 // links, by the seller's
	redeemed    uint64 // of those
	unpaid      uint64 // owed beyond what was redeemed
	ahead       uint64 // redeemed beyond what is owed
	twice       uint64 // owed on two commitments
	released    uint64 // links, by the buyer's records
}

// settle redeems what a round brought, and compares what both sides know.
func (r *round) settle() {
	r.t.Helper()
	same, err := sameFiles(r.path(r.name), filepath.Join(r.bought(), r.name))
	r.fine(err)
	if !same {
		r.t.Errorf("%s: the download differs from the goods", r.name)
	}
	r.killRedeems()
	r.run("wallet", "redeem", "--home", r.path("seller"))
	a := r.compare()
	r.earned += a.redeemed
	r.t.Logf("%s: %d kills, %d units, %+v, %+v", r.name, r.kills, killUnits, a, r.cut)
	if a.counted != a.redeemed {
		r.t.Errorf("%s: links for %d units were counted, %d redeemed", r.name, a.counted, a.redeemed)
	}
	r.judge(&a)
}

// judge wants the buyer to have paid what it got, once.
func (r *round) judge(a *account) {
	r.t.Helper()
	// A unit may be on the disk when its record is not: it was paid ahead, or its
	// seller sends another in place of it, or the record was lost with power.
	if different := a.owed - a.twice; different > killUnits || different+uint64(r.kills)*r.mayLose()+r.cut.forgotten < killUnits {
		r.t.Errorf("%s: %d different units are owed after %d kills, %+v", r.name, different, r.kills, r.cut)
	}
	// What power took from the disk is bought again.
	if a.twice > r.cut.units {
		r.t.Errorf("%s: %d units are owed twice, %+v", r.name, a.twice, r.cut)
	}
	// The last links are lost with a seller that dies just before it counts them,
	// no more than its window (P1), if the buyer has ended and never comes back;
	// so are those that power took.
	var lost uint64
	if r.deserted {
		lost = killUnits/16 + r.cut.links
	}
	if a.unpaid > lost {
		r.t.Errorf("%s: %d units are owed and not paid", r.name, a.unpaid)
	}
	// One unit is paid ahead on each commitment at most (P2); what came of a v1
	// piece that was not whole may be paid, and is lost with its buyer.
	ahead := uint64(a.commitments) + r.cut.units + r.cut.forgotten
	if r.v1 {
		ahead += uint64(r.kills) * r.mayLose()
	}
	if a.ahead > ahead {
		r.t.Errorf("%s: %d units were paid ahead on %d commitments, %+v", r.name, a.ahead, a.commitments, r.cut)
	}
	// What is on the disk is paid once, whatever the records say.
	if most := killUnits + ahead - r.cut.forgotten; a.redeemed > most {
		r.t.Errorf("%s: %d units were paid, at most %d are due, %+v", r.name, a.redeemed, most, r.cut)
	}
	// How far it has paid a buyer writes down lazily; the seller knows better.
	if a.released > a.redeemed+lost {
		r.t.Errorf("%s: links for %d units were released, %d redeemed", r.name, a.released, a.redeemed)
	}
}

// compare sets the buyer's commitments for the torrent against the seller's.
func (r *round) compare() (a account) {
	r.t.Helper()
	seller, buyer := r.seller.open(), r.buyer.open()
	defer func() {
		r.fine(seller.Close())
		r.fine(buyer.Close())
	}()
	torrent, err := readTorrent(r.torrent())
	r.fine(err)
	units := map[uint32]bool{}
	if pending, err := buyer.PendingSubmissions(); err != nil || len(pending) > 0 {
		r.t.Errorf("%s: %d transactions of the buyer's wait to be sent again, %v", r.name, len(pending), err)
	}
	for _, o := range buyer.Openings() {
		if o.Commitment.Torrent != payment.TorrentID(torrent.Info.ID()) {
			continue
		}
		a.commitments++
		id := o.Commitment.ID()
		c, _ := seller.Claim(id) // one that it never heard of pays nothing
		if counted := max(r.memory.counted[id], r.memory.before[id]); c.Redeemed < counted && !r.deserted {
			r.t.Errorf("%v: link %d was counted, %d redeemed", id, counted, c.Redeemed)
		}
		owed := uint64(o.Owed)
		a.owed += owed
		a.counted += uint64(c.Best.Index)
		a.redeemed += uint64(c.Redeemed)
		a.released += uint64(o.Released)
		a.unpaid += owed - min(owed, uint64(c.Redeemed))
		a.ahead += uint64(c.Redeemed) - min(owed, uint64(c.Redeemed))
		list, err := buyer.OwedUnits(id)
		r.fine(err)
		for _, u := range list {
			if units[u] {
				a.twice++
			}
			units[u] = true
		}
	}
	return a
}

// checkBooks wants every unit redeemed to be a coin of the seller's, and all
// coins to be somewhere.
func (f *fair) checkBooks() {
	f.t.Helper()
	var balance balanceFacts
	f.fine(f.doJSON(&balance, "wallet", "balance", "--home", f.path("seller")))
	if uint64(balance.Available) != f.earned || balance.Redeemable != 0 {
		f.t.Errorf("the seller has redeemed %d units, and has %s coins, %s redeemable", f.earned, balance.Available, balance.Redeemable)
	}
	var books struct {
		Conserved bool `json:"conserved"`
	}
	f.fine(f.doJSON(&books, "ledger", "verify", "--dir", f.ledger()))
	if !books.Conserved {
		f.t.Error("coins are lost or made")
	}
}
