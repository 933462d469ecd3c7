package natpmp

import (
	"testing"
	"time"
)

func TestBoundLifetime(t *testing.T) {
	for seconds, want := range map[uint32]time.Duration{
		0: time.Minute, 1: time.Minute, 60: time.Minute, 3600: time.Hour, 86400: 24 * time.Hour, 86401: 24 * time.Hour, 1<<32 - 1: 24 * time.Hour,
	} {
		if got := boundLifetime(seconds); got != want {
			t.Errorf("%d s: %v", seconds, got)
		}
	}
}

// RFC 6887 11.2.1: 1/2 to 5/8, 3/4 to 3/4 + 1/16, 7/8 to 7/8 + 1/32 ...
func TestRenewAt(t *testing.T) {
	const life = 3200 * time.Second
	for _, c := range []struct {
		n      int
		random float64
		want   time.Duration
	}{
		{0, 0, 1600 * time.Second},
		{0, 1, 2000 * time.Second},
		{1, 0, 2400 * time.Second},
		{1, 1, 2600 * time.Second},
		{2, 0, 2800 * time.Second},
		{2, 1, 2900 * time.Second},
		{1000, 1, life},
	} {
		if got := renewAt(c.n, start, life, c.random); got.Sub(start) != c.want {
			t.Errorf("%d, %v: after %v, want %v", c.n, c.random, got.Sub(start), c.want)
		}
	}
}

func lasting(life time.Duration) Mapping { return Mapping{Granted: start, Until: start.Add(life)} }

func TestPlanOfHeldMappings(t *testing.T) {
	var p plan
	p.succeeded(start, []Mapping{lasting(2 * time.Hour), lasting(time.Hour), {Granted: start}}, 0)
	if p.due.Sub(start) != 30*time.Minute || p.check.Sub(start) != checkEvery {
		t.Errorf("due after %v, check after %v", p.due.Sub(start), p.check.Sub(start))
	}
	// The rest of the life halves with each failure, but for the gap.
	now := p.due
	for _, want := range []time.Duration{45 * time.Minute, 52*time.Minute + 30*time.Second, 56*time.Minute + 15*time.Second} {
		p.unrenewed(now, []Mapping{lasting(time.Hour)}, false, 0, 0)
		if now = p.due; now.Sub(start) != want {
			t.Errorf("due after %v, want %v", now.Sub(start), want)
		}
	}
	now = start.Add(time.Hour - time.Second)
	p.unrenewed(now, []Mapping{lasting(time.Hour)}, false, 0, 0)
	if got := p.due.Sub(now); got != renewGap {
		t.Errorf("at the end due after %v", got)
	}
}

// What the gateway has lost is asked for soon, and for as long as it is silent
// less and less.
func TestPlanOfLostMappings(t *testing.T) {
	var p plan
	for _, want := range []time.Duration{4, 8, 16, 32, 60, 60} {
		p.unrenewed(start, []Mapping{lasting(time.Hour)}, true, 0, 0)
		if got := p.due.Sub(start); got != want*time.Second {
			t.Errorf("due after %v, want %v s", got, want)
		}
	}
}

func TestPlanOfRefusedRenewals(t *testing.T) {
	var p plan
	p.unrenewed(start, []Mapping{lasting(time.Hour)}, true, 3*time.Minute, 0)
	if got := p.due.Sub(start); got != 3*time.Minute {
		t.Errorf("due after %v", got)
	}
	p.unrenewed(start, []Mapping{lasting(time.Hour)}, true, 24*time.Hour, 0)
	if got := p.due.Sub(start); got != retryMost {
		t.Errorf("due after %v", got)
	}
}

func TestPlanOfFailures(t *testing.T) {
	var p plan
	for _, want := range []time.Duration{1, 5, 15, 15} {
		p.failed(start, 0)
		if got := p.due.Sub(start); got != want*time.Minute {
			t.Errorf("due after %v, want %v min", got, want)
		}
	}
	p = plan{}
	p.failed(start, 3*time.Minute)
	if got := p.due.Sub(start); got != 3*time.Minute {
		t.Errorf("a gateway that refuses for 3 min is asked after %v", got)
	}
	p.failed(start, 24*time.Hour)
	if got := p.due.Sub(start); got != retryMost {
		t.Errorf("a gateway that refuses for a day is asked after %v", got)
	}
}

func TestPlanHurriesWithGap(t *testing.T) {
	p := plan{due: start.Add(time.Hour), asked: start}
	p.hurry(start.Add(time.Second))
	if got := p.due.Sub(start); got != renewGap {
		t.Errorf("due after %v", got)
	}
	p.hurry(start.Add(time.Minute)) // already due
	if got := p.due.Sub(start); got != renewGap {
		t.Errorf("due after %v", got)
	}
}

func TestPlanWaits(t *testing.T) {
	p := plan{due: start.Add(20 * time.Second), check: start.Add(10 * time.Second)}
	for _, c := range []struct {
		now   time.Duration
		poll  time.Duration
		holds bool
		want  time.Duration
	}{
		{0, time.Minute, true, 10 * time.Second},
		{0, time.Minute, false, 20 * time.Second},
		{0, time.Second, true, time.Second},
		{time.Minute, time.Minute, true, 0},
	} {
		if got := p.wait(start.Add(c.now), c.poll, c.holds); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}
