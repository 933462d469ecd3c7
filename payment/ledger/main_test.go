package ledger

import (
	"context"
	"crypto/x509"
	"encoding/binary"
	"flag"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"torrente/identity"
	"torrente/payment"
	"torrente/payment/contract"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if os.Getenv(childDir) != "" {
		child() // never returns
	}
	goleak.VerifyTestMain(m)
}

// today is when all tests happen, unless they say otherwise.
var today = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// must returns v, for calls in tests that cannot go on without it.
func must[V any](t testing.TB) func(v V, err error) V {
	return func(v V, err error) V {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// people is a federation of one organisation.
type people struct {
	authority         *identity.Authority
	admin, alice, bob *identity.Identity
	genesis           []byte
}

// crowd is the same for all tests of a run.
var crowd = sync.OnceValue(func() *people {
	authority, err := identity.NewAuthority("Org1MSP", today.Add(-24*time.Hour), 365*24*time.Hour)
	if err != nil {
		panic(err)
	}
	p := &people{authority: authority}
	p.admin, p.alice, p.bob = enroll(authority, "admin"), enroll(authority, "alice"), enroll(authority, "bob")
	p.genesis, err = (&contract.Genesis{
		Created: uint64(today.Unix()), Name: "test", Price: 10,
		Organisations: []contract.Organisation{{
			MSP: "Org1MSP", Administrator: accountOf(p.admin), Roots: [][]byte{authority.Root().Raw},
		}},
		Mints: []contract.Mint{{Account: accountOf(p.alice), Coins: 1_000_000}, {Account: accountOf(p.bob), Coins: 1000}},
	}).Encode()
	if err != nil {
		panic(err)
	}
	return p
})

// enroll makes a member of the authority's organisation.
func enroll(a *identity.Authority, name string) *identity.Identity {
	key, err := identity.NewKey()
	if err != nil {
		panic(err)
	}
	csr, err := identity.NewRequest(key, name)
	if err != nil {
		panic(err)
	}
	c, err := a.Issue(csr, name, today.Add(-time.Hour), 30*24*time.Hour)
	if err != nil {
		panic(err)
	}
	id, err := identity.New(key, []*x509.Certificate{c})
	if err != nil {
		panic(err)
	}
	return id
}

func accountOf(id *identity.Identity) payment.Account {
	p := id.Principal()
	return payment.AccountOf(p.MSP, p.SPKI)
}

var serial atomic.Uint64

// sign makes a signed transaction at a time, with a request id of its own.
func sign(t testing.TB, who *identity.Identity, ledger payment.LedgerID, at time.Time, args contract.Arguments) *contract.Signed {
	t.Helper()
	var request payment.RequestID
	binary.BigEndian.PutUint64(request[:], serial.Add(1))
	tx := &contract.Transaction{Ledger: ledger, Time: uint64(at.Unix()), Request: request, Args: args}
	return must[*contract.Signed](t)(contract.Sign(who.Key(), who.Chain(), tx))
}

func transfer(to *identity.Identity, coins payment.Amount) *contract.Transfer {
	return &contract.Transfer{To: accountOf(to), Coins: coins}
}

func fixed(at time.Time) func() time.Time { return func() time.Time { return at } }

// created returns a folder with a new ledger.
func created(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := Create(dir, crowd().genesis); err != nil {
		t.Fatal(err)
	}
	return dir
}

// opened opens a ledger whose clock stands still, and closes it with the test.
func opened(t testing.TB, dir string) *Embedded {
	t.Helper()
	e := must[*Embedded](t)(Open(dir, Config{Now: fixed(today)}))
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func submit(t testing.TB, e *Embedded, s *contract.Signed) Receipt {
	t.Helper()
	return must[Receipt](t)(e.Submit(context.Background(), s))
}

// pay transfers coins from alice to bob.
func pay(t testing.TB, e *Embedded, coins payment.Amount) (*contract.Signed, Receipt) {
	t.Helper()
	s := sign(t, crowd().alice, e.ID(), today, transfer(crowd().bob, coins))
	r := submit(t, e, s)
	if r.Code != contract.OK {
		t.Fatal(r)
	}
	return s, r
}

func account(t testing.TB, l Ledger, who *identity.Identity) contract.AccountInfo {
	t.Helper()
	q := contract.Query{Kind: contract.QueryAccount, Account: accountOf(who)}
	return *must[contract.Answer](t)(l.Query(context.Background(), q)).Account
}
