package node

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"torrente/payment/contract"
	"torrente/payment/ledger"
)

// distant is a ledger that answers each question late, and counts them.
type distant struct {
	ledger.Ledger
	delay time.Duration

	mu    sync.Mutex // guards the following
	asked map[contract.QueryKind]int
}

func (d *distant) Query(ctx context.Context, q contract.Query) (contract.Answer, error) {
	d.mu.Lock()
	d.asked[q.Kind]++
	d.mu.Unlock()
	timer := time.NewTimer(d.delay)
	defer timer.Stop()
	<-timer.C
	return d.Ledger.Query(ctx, q)
}

// What is under way on a ledger that is far away is known after a few of its delays,
// not after one for each download; and a node asks for it once when it starts.
func TestUnderwayIsAskedForTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := startDealing(t)
		const more = 3
		for range more {
			d.declare(d.buyer)
		}
		d.open(10, 4*time.Hour)
		far := &distant{Ledger: d.buyer.Ledger, delay: time.Second, asked: map[contract.QueryKind]int{}}
		d.buyer.Ledger = far
		began := time.Now()
		u, err := d.buyer.underway(t.Context(), d.buyer.account())
		if err != nil || len(u.intentions) != 1+more || len(u.commitments) != 1 {
			t.Fatalf("%+v, %v", u, err)
		}
		if took := time.Since(began); took != 2*far.delay {
			t.Errorf("it took %v", took)
		}
		clear(far.asked)
		n, _ := d.run(d.buyer)
		defer n.Close()
		pass(time.Minute)
		far.mu.Lock()
		defer far.mu.Unlock()
		if got, each := far.asked[contract.QueryIntentions], far.asked[contract.QueryCommitments]; got != 1 || each != 1+more {
			t.Errorf("it asked %d times for all intentions, and %d times for commitments", got, each)
		}
	})
}
