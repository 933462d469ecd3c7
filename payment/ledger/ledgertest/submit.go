package ledgertest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"torrente/identity"
	"torrente/payment"
	"torrente/payment/contract"
	"torrente/payment/ledger"
)

func receipts(t *testing.T, f *Fixture) {
	tx := f.transfer(t, 3)
	r := f.submit(t, tx)
	if r.Err() != nil || r.Coins != 3 || r.Height == 0 || r.Tx != contract.IDOf(AccountOf(f.Rich), tx.Body) {
		t.Errorf("%+v", r)
	}
	f.done(t, f.Rich, &contract.Transfer{To: AccountOf(f.Poor), Coins: 1}) // another block
	for range 3 {
		if d := cmp.Diff(r, f.submit(t, tx)); d != "" {
			t.Error(d)
		}
	}
}

// requests asks for the same transfer in other transactions.
func requests(t *testing.T, f *Fixture) {
	before := f.account(t, AccountOf(f.Poor)).Available
	tx := f.transaction(&contract.Transfer{To: AccountOf(f.Poor), Coins: 5})
	first := f.submit(t, sign(t, f.Rich, tx))
	tx.Time++
	again := f.submit(t, sign(t, f.Rich, tx))
	if again.Code != contract.OK || again.Coins != 5 || again.Tx == first.Tx || again.Height < first.Height {
		t.Errorf("%+v, then %+v", first, again)
	}
	tx.Args = &contract.Transfer{To: AccountOf(f.Poor), Coins: 6}
	if r := f.submit(t, sign(t, f.Rich, tx)); r.Code != contract.RequestReused {
		t.Errorf("%+v", r)
	}
	if got := f.account(t, AccountOf(f.Poor)).Available; got != before+5 {
		t.Errorf("%s, and before %s", got, before)
	}
}

// refusals end with the contract's codes, at the height that they were judged
// by.
func refusals(t *testing.T, f *Fixture) {
	height := f.info(t).Height
	poor := AccountOf(f.Poor)
	for want, args := range map[contract.Code]contract.Arguments{
		contract.NoCoins:      &contract.Transfer{To: poor, Coins: 1 << 50},
		contract.BadArguments: &contract.Transfer{To: poor},
		contract.ToOneself:    &contract.Transfer{To: AccountOf(f.Rich), Coins: 1},
		contract.NoTorrent:    &contract.Declare{Torrent: payment.TorrentID{1}, Units: 1, Margin: 100, MaxPrice: 1000},
		contract.Duplicate:    &contract.Sweep{Credits: []contract.TxID{{1}, {1}}},
		contract.NoIntention:  &contract.Close{Intention: payment.IntentionID{1}},
		contract.NotAdmin:     &contract.Reinstate{Account: poor},
	} {
		r := f.submit(t, f.call(t, f.Rich, args))
		if r.Code != want || !errors.Is(r.Err(), want) || r.Height < height {
			t.Errorf("%v: %+v at %d", want, r, height)
		}
	}
	tx := f.transaction(&contract.Transfer{To: poor, Coins: 1})
	tx.Ledger[0] ^= 1
	if r := f.submit(t, sign(t, f.Rich, tx)); r.Code != contract.OtherLedger {
		t.Errorf("%+v", r)
	}
	// When its reason is gone, the same transaction may succeed.
	sweep := f.call(t, f.Rich, &contract.Sweep{Credits: []contract.TxID{contract.IDOf(poor, []byte("none"))}})
	if r := f.submit(t, sweep); r.Code != contract.NoneDone {
		t.Errorf("%+v", r)
	}
}

// items sweeps a credit that is there among some that are not.
func items(t *testing.T, f *Fixture) {
	credit := f.done(t, f.Rich, &contract.Transfer{To: AccountOf(f.Poor), Coins: 9}).Tx
	args := &contract.Sweep{Credits: []contract.TxID{{1}, credit, {2}}}
	sweep := f.call(t, f.Poor, args)
	r := f.submit(t, sweep)
	want := []contract.Code{contract.NoCredit, contract.OK, contract.NoCredit}
	if r.Code != contract.OK || r.Coins != 9 || cmp.Diff(want, r.Items) != "" {
		t.Errorf("%+v", r)
	}
	if d := cmp.Diff(r, f.submit(t, sweep)); d != "" {
		t.Error(d)
	}
	if r := f.submit(t, f.call(t, f.Poor, args)); r.Code != contract.NoneDone || len(r.Items) != 3 || r.Coins != 0 {
		t.Errorf("%+v", r)
	}
}

func errorsThatStay(t *testing.T, f *Fixture) {
	forged := *f.transfer(t, 1)
	forged.Signature[5] ^= 1
	borrowed := *f.transfer(t, 1)
	borrowed.Chain = f.Poor.Chain()
	other := must[*identity.Authority](t)(identity.NewAuthority(f.Rich.Principal().MSP, f.Now().Add(-time.Hour), 24*time.Hour))
	stranger := Enroll(t, other, "rich", f.Now())
	for what, c := range map[string]struct {
		signed *contract.Signed
		is     error
	}{
		"forged":                {&forged, payment.ErrSignature},
		"another's certificate": {&borrowed, payment.ErrSignature},
		"no body":               {&contract.Signed{Body: []byte("x"), Chain: f.Rich.Chain()}, contract.ErrTransaction},
		"no chain":              {&contract.Signed{Body: forged.Body}, contract.ErrTransaction},
		"no certificate":        {&contract.Signed{Body: forged.Body, Chain: [][]byte{{1}}}, identity.ErrMalformed},
		"a stranger":            {f.call(t, stranger, &contract.SetDelegate{}), identity.ErrOtherFederation},
	} {
		if r, err := f.Ledger.Submit(t.Context(), c.signed); !errors.Is(err, c.is) {
			t.Errorf("%s: %+v, %v", what, r, err)
		}
	}
	for _, q := range []contract.Query{{Kind: "x"}, {Kind: contract.QueryRoots, Limit: -1}} {
		if _, err := f.Ledger.Query(t.Context(), q); !errors.Is(err, contract.ErrQuery) {
			t.Errorf("%+v: %v", q, err)
		}
	}
}

// clocks signs by wrong ones. Two seconds are left for a ledger's clock that
// goes on.
func clocks(t *testing.T, f *Fixture) {
	for off, good := range map[time.Duration]bool{
		ledger.MaxClockSkew - 2*time.Second: true, -ledger.MaxClockSkew + 30*time.Second: true,
		ledger.MaxClockSkew + 30*time.Second: false, -ledger.MaxClockSkew - 2*time.Second: false,
	} {
		tx := f.transaction(&contract.Transfer{To: AccountOf(f.Poor), Coins: 1})
		tx.Time = uint64(f.Now().Add(off).Unix())
		r, err := f.Ledger.Submit(t.Context(), sign(t, f.Rich, tx))
		clock, refused := errors.AsType[*ledger.ClockOff](err)
		if refused == good || err != nil && !refused {
			t.Errorf("%s off: %+v, %v", off, r, err)
		}
		if refused && (clock.Tx.Unix() != int64(tx.Time) || clock.Ledger.Sub(f.Now()).Abs() > 10*time.Second) {
			t.Errorf("%s off: %v", off, err)
		}
	}
}

func contexts(t *testing.T, f *Fixture) {
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Ledger.Submit(over, f.transfer(t, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("Submit: %v", err)
	}
	if _, err := f.Ledger.Query(over, contract.Query{Kind: contract.QueryLedger}); !errors.Is(err, context.Canceled) {
		t.Errorf("Query: %v", err)
	}
	for _, err := range f.Ledger.Events(over, 1) {
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("Events: %v", err)
		}
	}
}
