package main

import (
	"strings"
	"time"
)

// foundOnDisks begins the federation with its folder, and those of all members,
// on disks that lose power; and has them lose it at once when they were made.
func (f *fair) foundOnDisks() {
	f.t.Helper()
	f.bank = newVictim(f, "bank")
	f.bank.disk, f.seller.disk = newDisk(f, "bank"), newDisk(f, "seller")
	f.buyer.disk = f.seller.disk // each round makes another
	f.initiate()
	f.bank.disk.cut(func() {})
	f.listen = "127.0.0.1:" + freePort(f.t, "127.0.0.1")
	if !f.serve("") {
		f.t.Fatalf("the federation does not begin:\n%s", f.bank.last.said())
	}
	f.enter("seller")
	f.seller.disk.cut(func() {})
	f.enter("saver")
}

// serve starts the federation at its address, and reports whether it lived to
// say so.
func (f *fair) serve(plan string) bool {
	f.t.Helper()
	l := f.bank.begin(plan, "tracker http", "federation", "serve", "--dir", f.ledger(), "--listen", f.listen, "--tracker", "127.0.0.1:0")
	select {
	case <-l.says.found:
		f.portal = portalIn(l.says.line)
		return true
	case <-l.says.done:
	case <-time.After(killPatience):
		f.t.Fatalf("the federation does not begin:\n%s", l.said())
	}
	return false
}

// savings are what was transferred to a member who does nothing with it.
type savings struct {
	answered, asked uint64 // coins
	height          uint64 // of the last block that was told
}

// save transfers a coin, and reports whether the ledger has answered.
func (f *fair) save() bool {
	var receipt struct {
		Height uint64 `json:"height"`
	}
	f.saved.asked++
	if err := f.doJSON(&receipt, "federation", "fund", "--dir", f.ledger(), "saver", "1"); err != nil {
		return false
	}
	f.saved.answered++
	f.saved.height = receipt.Height
	return true
}

// cutBanks downloads while the federation's process dies and loses power.
func (r *round) cutBanks(most int) {
	r.t.Helper()
	seller := r.sell("")
	for range maxStumbles + roundKills {
		if dying := r.bank.kills < most && r.kills < roundKills; dying {
			r.bank.last.stop()
			r.serve(r.bank.aim())
		}
		b := r.buy("")
		for saves := 0; saves < roundSaves && r.bank.last.plan != "" && r.save(); saves++ {
		}
		if r.bank.last.plan != "" {
			r.bankDies()
		}
		b.over()
		if b.cmd.ProcessState.Success() {
			seller.stop()
			return
		}
		r.t.Logf("the buyer ended: %s", b.said())
	}
	r.t.Fatal("the buyer cannot go on")
}

// roundSaves is how many coins are saved before a federation is killed that did
// not die at a failpoint.
const roundSaves = 20

// bankDies ends the federation if it has not ended, and starts it again from
// what it had synced: all that it answered is there.
func (r *round) bankDies() {
	r.t.Helper()
	r.endBank()
	r.kills++
	r.cut.cuts++
	r.bank.disk.cut(func() {})
	if !r.serve("") {
		r.t.Fatalf("the federation does not begin again:\n%s", r.bank.last.said())
	}
	r.checkSavings()
}

// endBank ends a federation. One that is to die at a certain point and has not
// is interrupted: some are met only by those who shut down.
func (r *round) endBank() {
	r.t.Helper()
	if strings.Contains(r.bank.last.plan, "@") {
		r.bank.last.stop()
		return
	}
	if _ = r.bank.last.cmd.Process.Kill(); !r.bank.last.over() {
		r.bank.kills++ // at no failpoint
	}
}

func (f *fair) checkSavings() {
	f.t.Helper()
	var books struct {
		Height    uint64 `json:"height"`
		Conserved bool   `json:"conserved"`
	}
	f.fine(f.doJSON(&books, "ledger", "verify", "--dir", f.ledger()))
	if books.Height < f.saved.height || !books.Conserved {
		f.t.Errorf("after a loss of power the ledger has %d blocks, and %d were told; conserved: %v", books.Height, f.saved.height, books.Conserved)
	}
	var balance balanceFacts
	f.fine(f.doJSON(&balance, "wallet", "balance", "--home", f.path("saver")))
	if got := uint64(balance.Available); got < f.saved.answered || got > f.saved.asked {
		f.t.Errorf("%d coins are saved after a loss of power; %d transfers were answered of %d", got, f.saved.answered, f.saved.asked)
	}
	f.saved.answered = uint64(balance.Available)
	f.saved.asked = f.saved.answered
}
