package node

import (
	"sync"
	"testing"

	"torrente/payment"
	"torrente/payment/contract"
)

// Whoever tells of a price, in whatever order and at once: the last epoch's is the one
// that Books and torrents go by.
func TestTheLastPriceCounts(t *testing.T) {
	c := newClub(t, "club")
	p := startNode(t, c.member(t, "member")).purse
	priced := func() payment.Amount {
		p.books.Lock()
		defer p.books.Unlock()
		return p.priced
	}
	const first, last = 1000, 1400
	for epoch := uint64(first); epoch < last; epoch += 4 {
		var all sync.WaitGroup
		for e := epoch; e < epoch+4; e++ {
			all.Go(func() { p.learnPrice(payment.Amount(e), payment.Amount(e-1), e) })
		}
		all.Wait()
		if e := p.priceEvent(); e.Epoch != epoch+3 || e.Price != payment.Amount(e.Epoch) || e.Before != e.Price-1 || priced() != e.Price {
			t.Fatalf("%+v, and Books go by %s", e, priced())
		}
	}
	p.learnPrice(1, 1, first)
	if e := p.priceEvent(); e.Epoch != last-1 || priced() != last-1 {
		t.Errorf("%+v, and Books go by %s", e, priced())
	}
}

// Who is told what a download costs buys at that price: no second question is waited for.
func TestAQuoteIsThePrice(t *testing.T) {
	c := newClub(t, "club")
	p := startNode(t, c.member(t, "member")).purse
	eventually(t, "the price", func() bool { return p.priceEvent().Epoch != 0 })
	p.mu.Lock()
	p.price, p.epoch = 0, 0
	p.mu.Unlock()
	q, err := p.node.Quote(t.Context(), 10)
	l, err2 := c.ledger.Query(t.Context(), contract.Query{Kind: contract.QueryLedger})
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	if e := p.priceEvent(); e.Price != q.Price || e.Epoch != l.Ledger.Epoch {
		t.Errorf("%+v after a quote of %s in epoch %d", e, q.Price, l.Ledger.Epoch)
	}
}
