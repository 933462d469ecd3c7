//go:build fabric

package fabric

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"torrente/identity"
	"torrente/payment"
	"torrente/payment/contract"
	"torrente/payment/ledger"
	"torrente/payment/ledger/ledgertest"
)

// members are those of a test network, and one account for each organisation
// whose coins go through that organisation's profile.
type members struct {
	*ledgertest.Members
	payers map[string]*identity.Identity // by organisation
	others []payment.Account             // all accounts but Rich and Poor
}

// organisations of a test network, as their profiles are called.
var organisationsOfNetwork = []string{"alpha", "beta", "gamma"}

// fund gives each payer coins.
func fund(t *testing.T, n *realNetwork, m *ledgertest.Members) *members {
	all := &members{Members: m, payers: map[string]*identity.Identity{}}
	c := n.client(t, "alpha")
	for _, name := range organisationsOfNetwork {
		who := ledgertest.Enroll(t, m.Authority, "payer "+name, time.Now())
		all.payers[name] = who
		all.others = append(all.others, ledgertest.AccountOf(who))
		r := succeeds(t, c, m.Rich, &contract.Transfer{To: ledgertest.AccountOf(who), Coins: 100_000})
		succeeds(t, c, who, &contract.Sweep{Credits: []contract.TxID{r.Tx}})
	}
	return all
}

func succeeds(t testing.TB, c *Client, who *identity.Identity, args contract.Arguments) ledger.Receipt {
	t.Helper()
	r := must[ledger.Receipt](t)(c.Submit(t.Context(), sign(t, c, who, args)))
	if r.Code != contract.OK {
		t.Fatalf("%s: %+v", args.Call(), r)
	}
	return r
}

// acknowledged is a transaction that its submitter was told to be done.
type acknowledged struct {
	begun, ended time.Time
	receipt      ledger.Receipt
}

// load is a transfer after another of each organisation's payer to one account,
// each by the organisation's own profile.
type load struct {
	clients  map[string]*Client
	receiver *identity.Identity
	from     uint64 // height before
	stop     context.CancelFunc
	all      sync.WaitGroup

	mutex sync.Mutex
	acks  map[string][]acknowledged
}

// begin has everybody transfer until finish.
func (m *members) begin(t *testing.T, n *realNetwork) *load {
	ctx, stop := context.WithCancel(t.Context())
	l := &load{
		clients: map[string]*Client{}, receiver: ledgertest.Enroll(t, m.Authority, "receiver", time.Now()),
		stop: stop, acks: map[string][]acknowledged{},
	}
	m.others = append(m.others, ledgertest.AccountOf(l.receiver))
	for _, name := range organisationsOfNetwork {
		l.clients[name] = n.client(t, name)
	}
	l.from = must[contract.Answer](t)(l.clients["alpha"].Query(t.Context(), contract.Query{Kind: contract.QueryLedger})).Ledger.Height
	for _, name := range organisationsOfNetwork {
		l.all.Go(func() { l.transfer(ctx, t, name, m.payers[name]) })
	}
	return l
}

func (l *load) transfer(ctx context.Context, t *testing.T, name string, payer *identity.Identity) {
	c := l.clients[name]
	for ctx.Err() == nil {
		s := transfer(t, c, payer, l.receiver)
		a := acknowledged{begun: time.Now()}
		var err error
		if a.receipt, err = c.Submit(t.Context(), s); err != nil || a.receipt.Code != contract.OK {
			t.Errorf("%s: %+v, %v", name, a.receipt, err)
			return
		}
		a.ended = time.Now()
		l.mutex.Lock()
		l.acks[name] = append(l.acks[name], a)
		l.mutex.Unlock()
	}
}

// since counts the transactions of an organisation that were begun after a
// moment and are done, and says when the first was.
func (l *load) since(name string, moment time.Time) (done int, first time.Time) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	for _, a := range l.acks[name] {
		if a.begun.After(moment) {
			if done++; done == 1 {
				first = a.ended
			}
		}
	}
	return done, first
}

// recovers waits until each organisation has done a few transactions that were
// begun after a moment, and tells how long the first took to come.
func (l *load) recovers(t *testing.T, what string, moment time.Time) {
	t.Helper()
	for _, name := range organisationsOfNetwork {
		until(t, name+" transacts after "+what, func() bool { done, _ := l.since(name, moment); return done >= 3 || t.Failed() })
	}
	took := map[string]time.Duration{}
	for _, name := range organisationsOfNetwork {
		_, first := l.since(name, moment)
		took[name] = first.Sub(moment).Round(time.Millisecond)
	}
	t.Logf("first commit after %s: alpha %s, beta %s, gamma %s", what, took["alpha"], took["beta"], took["gamma"])
}

// goesHome waits until each organisation's client uses its own peer again.
func (l *load) goesHome(t *testing.T, repaired time.Time) {
	t.Helper()
	for name, c := range l.clients {
		until(t, name+" is back at its own peer", func() bool { return c.preferredOne().own || t.Failed() })
	}
	t.Logf("all are back at their own peers %s after the repair began", time.Since(repaired).Round(time.Millisecond))
}

// finish ends the load and compares what was acknowledged with the ledger: every
// transaction is there once, nothing else is, and no coin is gone.
func (l *load) finish(t *testing.T, m *members) {
	t.Helper()
	l.stop()
	l.all.Wait()
	var acks []contract.TxID
	last := uint64(0)
	for _, some := range l.acks {
		for _, a := range some {
			acks = append(acks, a.receipt.Tx)
			last = max(last, a.receipt.Height)
		}
	}
	sortTx(acks)
	for name, c := range l.clients {
		if got := l.credits(t, c); !slices.Equal(got, acks) {
			t.Errorf("%s has %d transactions, %d were acknowledged", name, len(got), len(acks))
		}
		events := 0
		for _, b := range blocks(t, c, l.from+1, last) {
			for _, e := range b.Events {
				if e.Kind == payment.EventTransfer && e.Receiver == ledgertest.AccountOf(l.receiver) {
					events++
				}
			}
		}
		if events != len(acks) {
			t.Errorf("%s tells of %d transfers, %d were acknowledged", name, events, len(acks))
		}
	}
	m.conserved(t, l.clients["alpha"])
	t.Logf("%d transactions, each once", len(acks))
}

func sortTx(all []contract.TxID) {
	slices.SortFunc(all, func(a, b contract.TxID) int { return slices.Compare(a[:], b[:]) })
}

// credits are the transactions that the receiver had coins from.
func (l *load) credits(t *testing.T, c *Client) (all []contract.TxID) {
	t.Helper()
	q := contract.Query{Kind: contract.QueryCredits, Account: ledgertest.AccountOf(l.receiver)}
	for {
		a := must[contract.Answer](t)(c.Query(t.Context(), q))
		for _, one := range a.Credits {
			all = append(all, one.Tx)
		}
		if a.Next == "" || len(a.Credits) == 0 {
			break
		}
		q.After = a.Next
	}
	sortTx(all)
	return all
}

// conserved adds up all coins (L1).
func (m *members) conserved(t *testing.T, c *Client) {
	t.Helper()
	var sum payment.Amount
	for _, account := range append(slices.Clone(m.others), ledgertest.AccountOf(m.Rich), ledgertest.AccountOf(m.Poor)) {
		a := must[contract.Answer](t)(c.Query(t.Context(), contract.Query{Kind: contract.QueryAccount, Account: account})).Account
		sum += a.Available + a.Frozen
	}
	if minted := must[contract.Answer](t)(c.Query(t.Context(), contract.Query{Kind: contract.QueryLedger})).Ledger.Minted; sum != minted {
		t.Errorf("%s coins are somewhere, %s were minted", sum, minted)
	}
}
