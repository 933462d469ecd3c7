package wallet

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"torrente/payment"
)

// What is adopted is there after a restart, ended, and changes nothing that was
// known.
func TestAdopt(t *testing.T) {
	dir := t.TempDir()
	w := must[*Wallet](t)(Open(dir, testConfig()))
	known, lost := commitment(1, true), commitment(2, true)
	ok(t, w.Reserve(Reservation{Openings: []Opening{openingOf(known, 9)}}))
	want := Opening{Commitment: *lost, Cap: 70, Ended: true, Final: 5}
	for range 2 { // again it changes nothing
		ok(t, w.Adopt([]Opening{{Commitment: *known, Cap: 900, Final: 3}, {Commitment: *lost, Cap: 70, Final: 5}}))
	}
	ok(t, w.Close())
	w = opened(t, dir, testConfig())
	if o, _ := w.Opening(known.ID()); o.Cap != 9 || o.Ended {
		t.Errorf("what was known is %+v", o)
	}
	got, _ := w.Opening(lost.ID())
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if _, err := w.Owed(lost.ID(), 1); !errors.Is(err, ErrFinal) {
		t.Errorf("owed on an adopted one: %v", err)
	}
	foreign, long := *lost, *lost
	foreign.Payer, long.Chain[0] = payment.Account{66}, 9
	for _, c := range []struct {
		o    Opening
		want error
	}{
		{Opening{Commitment: foreign, Cap: 1}, ErrForeign},
		{Opening{Commitment: long, Cap: testLinks + 1}, ErrRange},
		{Opening{Commitment: long, Cap: 1, Final: testLinks + 1}, ErrRange},
		{Opening{Commitment: long}, ErrRange},
	} {
		if err := w.Adopt([]Opening{c.o}); !errors.Is(err, c.want) {
			t.Errorf("%+v: %v", c.o, err)
		}
	}
}

// A wallet that no option opens is set aside whole, and a new one takes its
// place.
func TestSetAside(t *testing.T) {
	dir := t.TempDir()
	w := must[*Wallet](t)(Open(dir, testConfig()))
	ok(t, w.SetLimit(7))
	ok(t, w.Close())
	db := filepath.Join(dir, dbName)
	before := must[[]byte](t)(os.ReadFile(db))
	clear(before[:8192])
	ok(t, os.WriteFile(db, before, 0o600))
	config := testConfig()
	config.SkipDamaged = true
	if _, err := Open(dir, config); !errors.Is(err, ErrDamaged) {
		t.Fatalf("a damaged wallet: %v", err)
	}
	aside := filepath.Join(dir, "damaged")
	for range 2 { // the second time there is nothing left
		ok(t, SetAside(dir, aside))
	}
	for _, name := range []string{dbName, linksName, owedName} {
		if _, err := os.Stat(filepath.Join(aside, name)); err != nil {
			t.Error(err)
		}
	}
	if n := must[payment.Amount](t)(opened(t, dir, testConfig()).Limit()); n != 0 {
		t.Errorf("the new wallet's limit is %s", n)
	}
}

// Several events are one write, and keep their order.
func TestAddEvents(t *testing.T) {
	w := opened(t, t.TempDir(), testConfig())
	ok(t, w.AddEvents(nil))
	ok(t, w.AddEvents([]Event{{Kind: EventDeclared}, {Kind: EventOpened}}))
	if err := w.AddEvents([]Event{{Kind: EventLimit}, {Kind: string(make([]byte, maxEventText+1))}}); err == nil {
		t.Error("an event of any length is kept")
	}
	got := must[[]Event](t)(w.History(10))
	if len(got) != 2 || got[0].Kind != EventOpened || got[1].Kind != EventDeclared {
		t.Errorf("history: %+v", got)
	}
}
