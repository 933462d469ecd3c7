package identity

import (
	"crypto/ecdsa"
	"crypto/x509"
	"flag"
	"testing"
	"time"

	"go.uber.org/goleak"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cheap is for tests that seal often.
var cheap = Cost{Time: 1, Rows: 3, Columns: 1}

// today is when all tests happen, unless they say otherwise.
var today = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const (
	day  = 24 * time.Hour
	year = 365 * day
)

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

func newAuthority(t testing.TB, msp string) *Authority {
	t.Helper()
	return must[*Authority](t)(NewAuthority(msp, today, 10*year))
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	return must[*ecdsa.PrivateKey](t)(NewKey())
}

func issue(t testing.TB, a *Authority, key *ecdsa.PrivateKey, name string, at time.Time, life time.Duration) *Identity {
	t.Helper()
	csr := must[[]byte](t)(NewRequest(key, name))
	leaf := must[*x509.Certificate](t)(a.Issue(csr, name, at, life))
	return must[*Identity](t)(New(key, []*x509.Certificate{leaf}))
}

func newMember(t testing.TB, a *Authority, name string) *Identity {
	t.Helper()
	return issue(t, a, newKey(t), name, today, year)
}

func trusting(t testing.TB, as ...*Authority) *Trust {
	t.Helper()
	trust := NewTrust()
	for _, a := range as {
		if err := trust.AddRoot(a.MSP(), a.Root()); err != nil {
			t.Fatal(err)
		}
	}
	return trust
}
