package fabric

import (
	"context"
	"testing"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"torrente/payment/contract"
)

// The longer the own gateway had served, the sooner it is asked again when another
// stands in for it.
func TestNextAway(t *testing.T) {
	for _, one := range []struct{ away, served, want time.Duration }{
		{0, 0, time.Second},
		{0, time.Hour, time.Second},
		{time.Second, 2 * time.Second, 2 * time.Second},
		{16 * time.Second, 59 * time.Second, 32 * time.Second},
		{32 * time.Second, 0, time.Minute},
		{time.Minute, 0, time.Minute},
		{time.Minute, time.Minute, time.Second},
	} {
		if got := nextAway(one.away, one.served); got != one.want {
			t.Errorf("away %v, served %v: %v, not %v", one.away, one.served, got, one.want)
		}
	}
}

// Another gateway stands in for the own one until that answers again.
func TestTheOwnGatewayIsReturnedTo(t *testing.T) {
	own := &teller{last: 5, ails: 2}
	c := listening(t, own, &teller{last: 5}, &teller{last: 5})
	began := time.Now()
	c.preferred.set(2, false, began)
	c.preferred.set(1, false, began) // which is not to be away for longer
	if c.goHome(); own.asked.Load() != 0 || c.preferredOne().own {
		t.Error("it is asked at once")
	}
	until(t, "the own gateway is preferred", func() bool { c.goHome(); return c.preferredOne().own })
	if took := time.Since(began); own.asked.Load() != 3 || took < 3*returnAfter {
		t.Errorf("it was asked %d times within %v", own.asked.Load(), took)
	}
}

// One that is behind what was told of meanwhile is not returned to.
func TestAnOwnGatewayThatIsBehindIsNot(t *testing.T) {
	own := &teller{last: 5}
	c := listening(t, own, &teller{last: 6}, &teller{last: 6})
	c.noteHeight(6)
	c.preferred.set(1, false, time.Now().Add(-longestAway))
	until(t, "the own gateway has answered", func() bool {
		c.goHome()
		c.preferred.mu.Lock()
		defer c.preferred.mu.Unlock()
		return own.asked.Load() > 0 && !c.preferred.asked
	})
	if c.preferredOne().own {
		t.Error("it is preferred")
	}
}

// The own gateway is not preferred again because it answers a query: it may be unwell
// in another way.
func TestAQueryDoesNotGoHome(t *testing.T) {
	all := []*teller{{last: 5}, {last: 5}, {last: 5}}
	for _, one := range all {
		one.says = func() string { return `{}` }
	}
	c := listening(t, all...)
	c.preferred.set(1, false, time.Now())
	c.preferred.away = longestAway
	for range 5 {
		if _, err := c.Query(t.Context(), contract.Query{Kind: contract.QueryRoots}); err != nil || c.preferredOne().own {
			t.Fatalf("own: %v, %v", c.preferredOne().own, err)
		}
	}
}

// Who failed is followed by who is preferred meanwhile, or else by the next.
func TestWhoComesAfter(t *testing.T) {
	c := listening(t, &teller{}, &teller{}, &teller{})
	for _, one := range []struct{ preferred, failed, next uint32 }{{0, 0, 1}, {1, 0, 1}, {2, 0, 2}, {2, 2, 0}, {1, 2, 1}} {
		c.preferred.set(one.preferred, one.preferred == 0, time.Now())
		if got := c.after(c.gateways[one.failed]); got != c.gateways[one.next] {
			t.Errorf("%+v: %s", one, got.msp)
		}
	}
}

// A transaction that the orderers lost is sent again by the same peer, if that told of
// others; one of which a dead peer told nothing by the next, which is preferred then.
func TestWhoSendsAgain(t *testing.T) {
	own := &teller{filtered: func(_ int, next uint64, tell func(*peer.FilteredBlock) bool) { tell(filtered(next, nil)); tell(nil) }}
	c := listening(t, own, &teller{}, &teller{})
	g := c.gateways[0]
	e := streamed(t, &g.commits, "lost")
	if next := c.instead(g, errSilent); next != g || !c.preferredOne().own {
		t.Errorf("while its stream lives: %s", next.msp)
	}
	if next := c.instead(g, context.DeadlineExceeded); next != c.gateways[1] || c.preferredOne() != next {
		t.Errorf("when it did not answer: %s", next.msp)
	}
	c.preferred.set(0, true, time.Now())
	e.by.end()
	if next := c.instead(g, errSilent); next != c.gateways[1] {
		t.Errorf("when its stream has ended: %s", next.msp)
	}
}

// Of two own peers the one that answers is preferred.
func TestTheOtherOwnPeerIsPreferred(t *testing.T) {
	c := listening(t, &teller{last: 5, ails: 100}, &teller{last: 5, says: func() string { return `{}` }}, &teller{last: 5, ails: 100})
	c.gateways[1].msp, c.gateways[1].own = "Own", true
	for range 3 {
		if _, err := c.Query(t.Context(), contract.Query{Kind: contract.QueryRoots}); err != nil || c.preferredOne() != c.gateways[1] {
			t.Fatalf("%s, %v", c.preferredOne().address, err)
		}
	}
}
