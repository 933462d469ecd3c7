package node

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"torrente/identity"
	"torrente/payment/wallet"
)

// recertified is the same key with a certificate of a life from now on.
func (c *club) recertified(t *testing.T, old *identity.Identity, life time.Duration) *identity.Identity {
	t.Helper()
	csr, err := identity.NewRequest(old.Key(), old.Name())
	if err != nil {
		t.Fatal(err)
	}
	cert, err := c.authority.Issue(csr, old.Name(), time.Now(), life)
	if err != nil {
		t.Fatal(err)
	}
	id, err := identity.New(old.Key(), []*x509.Certificate{cert})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// keep runs a keeper, without a node, until the test ends. What it says is kept.
func keep(t *testing.T, m *Membership) (said func() []string) {
	var mu sync.Mutex
	var all []string
	n := &Node{cfg: Config{Now: time.Now, Log: slog.New(slog.DiscardHandler), Say: func(s string) {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, s)
	}}}
	ctx, cancel := context.WithCancel(context.Background())
	var run sync.WaitGroup
	run.Go(func() { newKeeper(n, m).run(ctx) })
	t.Cleanup(func() {
		cancel()
		run.Wait()
	})
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return all
	}
}

// A certificate is renewed when half of its life is over, and the old one is
// used until then; whoever cannot renew is warned in the last week, once a day.
func TestRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const day = 24 * time.Hour
		c := newClub(t, "club")
		m := c.member(t, "member") // for 50 days
		old := m.Identity
		var works atomic.Bool
		var asked atomic.Int32
		m.Renew = func(context.Context) (*identity.Identity, error) {
			asked.Add(1)
			if !works.Load() {
				return nil, errors.New("the portal is closed")
			}
			return c.recertified(t, old, 50*day), nil
		}
		said := keep(t, m)
		until(old.RenewAt().Add(-2 * time.Hour))
		if n := asked.Load(); n > 0 {
			t.Errorf("it was asked %d times before half of its life", n)
		}
		pass(3 * time.Hour)
		if n := asked.Load(); n == 0 || m.Certified() != old || len(said()) > 0 {
			t.Errorf("at half of its life it was asked %d times, and said %q", n, said())
		}
		until(old.NotAfter().Add(-8 * day))
		if len(said()) > 0 {
			t.Errorf("8 days before its end it said %q", said())
		}
		until(old.NotAfter().Add(-5*day - time.Hour))
		if got := said(); len(got) != 2 || !strings.Contains(got[0], "could not be renewed (the portal is closed): ask the federation's operator") {
			t.Errorf("it said %q", got)
		}
		works.Store(true)
		pass(2 * keepRetry)
		next := m.Certified()
		if next == old || !next.NotAfter().After(old.NotAfter()) || accountOf(next) != m.account() {
			t.Errorf("renewed until %s", next.NotAfter())
		}
		before := asked.Load()
		pass(day)
		if asked.Load() != before {
			t.Error("a new certificate was renewed")
		}
		if got := told(t, m); !slices.Equal(got, []string{wallet.EventRenewed}) {
			t.Errorf("history: %v", got)
		}
	})
}

// Another key's certificate, or the same one again, is no renewal.
func TestRenewalIsOfThisKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClub(t, "club")
		m := c.member(t, "member")
		old := m.Identity
		k := newKeeper(&Node{}, m)
		for _, answer := range []*identity.Identity{c.issue(t, "other"), old} {
			m.Renew = func(context.Context) (*identity.Identity, error) { return answer, nil }
			_ = k.renew(t.Context(), old.RenewAt()) // that is not what matters
			if m.Certified() != old {
				t.Errorf("it is %s now", m.Certified().Name())
			}
		}
	})
}
