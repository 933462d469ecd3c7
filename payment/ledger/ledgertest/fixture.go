package ledgertest

import (
	"crypto/rand"
	"crypto/x509"
	"testing"
	"time"

	"torrente/identity"
	"torrente/payment"
	"torrente/payment/contract"
	"torrente/payment/ledger"
)

// Fixture is a ledger under test and who may use it. The tests transact, so
// it is used for nothing else.
type Fixture struct {
	Ledger ledger.Ledger
	// Rich has a balance of at least 100,000 coins, Poor is another member.
	Rich, Poor *identity.Identity
	// Others are all accounts that coins were minted to, beside these two.
	Others []payment.Account
	// Now is the ledger's clock. It need not stand still.
	Now func() time.Time
	// Restart ends what serves the ledger, begins it again on the same disk, and
	// returns the ledger as it is then.
	Restart func(t *testing.T) ledger.Ledger
}

// Members is a federation of one organisation, made for a test.
type Members struct {
	Authority         *identity.Authority
	Admin, Rich, Poor *identity.Identity
	Genesis           []byte // mints a million coins to Rich
}

// NewMembers makes a federation whose certificates are valid around now.
func NewMembers(t testing.TB, msp string, now time.Time) *Members {
	t.Helper()
	a := must[*identity.Authority](t)(identity.NewAuthority(msp, now.Add(-time.Hour), 365*24*time.Hour))
	m := &Members{Authority: a}
	for name, who := range map[string]**identity.Identity{"admin": &m.Admin, "rich": &m.Rich, "poor": &m.Poor} {
		*who = Enroll(t, a, name, now)
	}
	m.Genesis = must[[]byte](t)((&contract.Genesis{
		Created: uint64(now.Unix()), Name: "test", Price: 10,
		Organisations: []contract.Organisation{{MSP: msp, Administrator: AccountOf(m.Admin), Roots: [][]byte{a.Root().Raw}}},
		Mints:         []contract.Mint{{Account: AccountOf(m.Rich), Coins: 1_000_000}},
	}).Encode())
	return m
}

// Enroll makes a member of the authority's organisation.
func Enroll(t testing.TB, a *identity.Authority, name string, now time.Time) *identity.Identity {
	t.Helper()
	key, err := identity.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	csr := must[[]byte](t)(identity.NewRequest(key, name))
	leaf := must[*x509.Certificate](t)(a.Issue(csr, name, now.Add(-time.Hour), 24*time.Hour))
	return must[*identity.Identity](t)(identity.New(key, []*x509.Certificate{leaf}))
}

// AccountOf returns a member's account.
func AccountOf(id *identity.Identity) payment.Account {
	p := id.Principal()
	return payment.AccountOf(p.MSP, p.SPKI)
}

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

// transaction is a call now, with a request id of its own.
func (f *Fixture) transaction(args contract.Arguments) *contract.Transaction {
	tx := &contract.Transaction{Ledger: f.Ledger.ID(), Time: uint64(f.Now().Unix()), Args: args}
	_, _ = rand.Read(tx.Request[:]) // which never fails
	return tx
}

func sign(t testing.TB, who *identity.Identity, tx *contract.Transaction) *contract.Signed {
	t.Helper()
	return must[*contract.Signed](t)(contract.Sign(who.Key(), who.Chain(), tx))
}

// call is a signed call by a member.
func (f *Fixture) call(t testing.TB, who *identity.Identity, args contract.Arguments) *contract.Signed {
	t.Helper()
	return sign(t, who, f.transaction(args))
}

// transfer is one of coins from Rich to Poor.
func (f *Fixture) transfer(t testing.TB, coins payment.Amount) *contract.Signed {
	t.Helper()
	return f.call(t, f.Rich, &contract.Transfer{To: AccountOf(f.Poor), Coins: coins})
}

func (f *Fixture) submit(t testing.TB, s *contract.Signed) ledger.Receipt {
	t.Helper()
	return must[ledger.Receipt](t)(f.Ledger.Submit(t.Context(), s))
}

// done submits a call that has to succeed.
func (f *Fixture) done(t testing.TB, who *identity.Identity, args contract.Arguments) ledger.Receipt {
	t.Helper()
	r := f.submit(t, f.call(t, who, args))
	if r.Code != contract.OK || r.Height == 0 {
		t.Fatalf("%s: %+v", args.Call(), r)
	}
	return r
}

func (f *Fixture) ask(t testing.TB, q contract.Query) contract.Answer {
	t.Helper()
	return must[contract.Answer](t)(f.Ledger.Query(t.Context(), q))
}

func (f *Fixture) account(t testing.TB, a payment.Account) contract.AccountInfo {
	t.Helper()
	return *f.ask(t, contract.Query{Kind: contract.QueryAccount, Account: a}).Account
}

func (f *Fixture) info(t testing.TB) contract.LedgerInfo {
	t.Helper()
	return *f.ask(t, contract.Query{Kind: contract.QueryLedger}).Ledger
}
