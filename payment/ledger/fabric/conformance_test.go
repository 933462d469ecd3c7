//go:build fabric

package fabric

import (
	"crypto/rand"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"torrente/payment"
	"torrente/payment/contract"
	"torrente/payment/ledger"
	"torrente/payment/ledger/ledgertest"
)

// TestRealNetwork runs what every Ledger promises on a real network, and then
// ends processes of it while transactions are under way.
func TestRealNetwork(t *testing.T) {
	m := ledgertest.NewMembers(t, "Alpha", time.Now())
	n := newNetwork(t, m.Genesis)
	c := n.client(t, "alpha")
	t.Run("conforms", func(t *testing.T) {
		ledgertest.Run(t, func(*testing.T) *ledgertest.Fixture {
			return &ledgertest.Fixture{
				Ledger: c, Rich: m.Rich, Poor: m.Poor, Now: time.Now,
				Restart: func(sub *testing.T) ledger.Ledger {
					if err := c.Close(); err != nil {
						sub.Error(err)
					}
					n.run(sub, "down")
					n.run(sub, "up")
					c = n.client(t, "alpha")
					return c
				},
			}
		})
	})
	for _, part := range []string{"peer-alpha", "chaincode-alpha", "orderer"} {
		t.Run(part+" dies", func(t *testing.T) { survives(t, n, m, part) })
	}
	t.Run("an organisation joins", func(t *testing.T) {
		n.run(t, "add-org", "--org", "Delta")
		late := n.client(t, "delta")
		r := must[ledger.Receipt](t)(late.Submit(t.Context(), transfer(t, late, m)))
		if r.Code != contract.OK || available(t, late, m) != available(t, n.client(t, "beta"), m) {
			t.Errorf("%+v", r)
		}
		n.kill(t, "peer-gamma") // three of four are a majority, Delta among them
		if r := must[ledger.Receipt](t)(late.Submit(t.Context(), transfer(t, late, m))); r.Code != contract.OK {
			t.Errorf("%+v", r)
		}
	})
}

// survives transfers a coin again and again while a process is killed and
// started again. Nobody may see an error, and no coin may go twice or not at
// all; the events come through another peer.
func survives(t *testing.T, n *realNetwork, m *ledgertest.Members, part string) {
	const total, killAt, startAt = 60, 15, 45
	c := n.client(t, "alpha")
	before := available(t, c, m)
	begin := must[contract.Answer](t)(c.Query(t.Context(), contract.Query{Kind: contract.QueryLedger})).Ledger.Height + 1
	seen := make(chan uint64, 1)
	go func() { seen <- count(t, c, begin, total) }()
	var slowest time.Duration
	for i := range total {
		switch i {
		case killAt:
			if part == "orderer" {
				n.kill(t, n.leader(t))
			} else {
				n.kill(t, part)
			}
		case startAt:
			n.run(t, "up")
		}
		s := transfer(t, c, m)
		began := time.Now()
		r := must[ledger.Receipt](t)(c.Submit(t.Context(), s))
		slowest = max(slowest, time.Since(began))
		if again := must[ledger.Receipt](t)(c.Submit(t.Context(), s)); r.Code != contract.OK || !cmp.Equal(r, again) {
			t.Errorf("%+v, then %+v", r, again)
		}
	}
	if got := available(t, c, m); got != before+total {
		t.Errorf("%s coins came of %d", got-before, total)
	}
	if got := <-seen; got != total {
		t.Errorf("%d events came of %d", got, total)
	}
	t.Logf("the slowest transaction took %s", slowest.Round(time.Millisecond))
}

func transfer(t *testing.T, c *Client, m *ledgertest.Members) *contract.Signed {
	t.Helper()
	tx := &contract.Transaction{
		Ledger: c.ID(), Time: uint64(time.Now().Unix()), Args: &contract.Transfer{To: ledgertest.AccountOf(m.Poor), Coins: 1},
	}
	_, _ = rand.Read(tx.Request[:]) // which never fails
	return must[*contract.Signed](t)(contract.Sign(m.Rich.Key(), m.Rich.Chain(), tx))
}

func available(t *testing.T, c *Client, m *ledgertest.Members) payment.Amount {
	t.Helper()
	q := contract.Query{Kind: contract.QueryAccount, Account: ledgertest.AccountOf(m.Poor)}
	return must[contract.Answer](t)(c.Query(t.Context(), q)).Account.Available
}

// count reads so many events, each block of which must follow the one before.
func count(t *testing.T, c *Client, from uint64, total int) (seen uint64) {
	for b, err := range c.Events(t.Context(), from) {
		if err != nil || b.Height != from {
			t.Errorf("block %d, not %d: %v", b.Height, from, err)
			return seen
		}
		from++
		if seen += uint64(len(b.Events)); seen >= uint64(total) {
			return seen
		}
	}
	return seen
}
