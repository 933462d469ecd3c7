package fabric

import (
	"testing"
	"time"
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
	if c.goHome(); own.asked.Load() != 0 || c.gateway(0).own {
		t.Error("it is asked at once")
	}
	until(t, "the own gateway is preferred", func() bool { c.goHome(); return c.gateway(0).own })
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
	if c.gateway(0).own {
		t.Error("it is preferred")
	}
}
