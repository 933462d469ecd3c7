package ledger_test

import (
	"errors"
	"testing"
	"time"

	"torrente/payment/ledger"
	"torrente/payment/ledger/ledgertest"
)

func TestEmbeddedConforms(t *testing.T) {
	ledgertest.Run(t, func(t *testing.T) *ledgertest.Fixture {
		m := ledgertest.NewMembers(t, "Alpha", time.Now())
		dir := t.TempDir()
		if err := ledger.Create(dir, m.Genesis); err != nil {
			t.Fatal(err)
		}
		open := func(t *testing.T) *ledger.Embedded {
			t.Helper()
			e, err := ledger.Open(dir, ledger.Config{})
			if err != nil {
				t.Fatal(err)
			}
			return e
		}
		e := open(t)
		t.Cleanup(func() {
			books, err := e.Audit()
			if err := errors.Join(err, e.Close()); err != nil || !books.Conserved() {
				t.Errorf("%+v, %v", books, err)
			}
		})
		return &ledgertest.Fixture{
			Ledger: e, Rich: m.Rich, Poor: m.Poor, Now: time.Now,
			Restart: func(t *testing.T) ledger.Ledger {
				if err := e.Close(); err != nil {
					t.Fatal(err)
				}
				e = open(t)
				return e
			},
		}
	})
}
