package natpmp

import "time"

const (
	// lifetimeLeast and lifetimeMost bound what a gateway grants: neither can it
	// make us ask all the time, nor let us forget that it may be replaced.
	lifetimeLeast = time.Minute
	lifetimeMost  = 24 * time.Hour
	// renewGap is the least time between two renewals (RFC 6887 11.2.1).
	renewGap = 4 * time.Second
	// retryMost is the longest that a gateway's error keeps us from asking.
	retryMost = 30 * time.Minute
	// checkEvery is how often a gateway is asked whether it still runs: a
	// reboot whose announcement is lost is noticed after this long.
	checkEvery = 5 * time.Minute
	// checkSoon follows upon a check without an answer.
	checkSoon = time.Minute
)

// pauses are those between attempts while no gateway grants anything.
var pauses = []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute}

// boundLifetime makes a usable lifetime of the seconds a gateway granted.
func boundLifetime(seconds uint32) time.Duration {
	return min(max(time.Duration(seconds)*time.Second, lifetimeLeast), lifetimeMost)
}

// renewAt is when to ask for the nth time (from 0) to keep a mapping: at 1/2
// to 5/8 of its life, then at 3/4 to 13/16, and so on (RFC 6887 11.2.1).
// random is in [0, 1).
func renewAt(n int, granted time.Time, lifetime time.Duration, random float64) time.Time {
	rest := lifetime >> min(n+1, 62)
	return granted.Add(lifetime - rest + time.Duration(float64(rest/4)*random))
}

// life is how long a mapping lasts, for those that last for ever, too: what a
// gateway forgets when it is replaced has to be asked for again.
func life(m Mapping) time.Duration {
	if m.Until.IsZero() {
		return lifetimeWanted
	}
	return m.Until.Sub(m.Granted)
}

// plan is when a link acts next.
type plan struct {
	due   time.Time // when to ask for mappings, new or again
	check time.Time // when to ask whether the gateway still has them
	asked time.Time // when it was last asked for mappings
	fails int       // how often in a row it granted nothing
}

// succeeded plans the renewal of the mapping that ends first.
func (p *plan) succeeded(now time.Time, held []Mapping, random float64) {
	p.fails = 0
	p.check = now.Add(checkEvery)
	p.due = time.Time{}
	for _, m := range held {
		if at := renewAt(0, m.Granted, life(m), random); p.due.IsZero() || at.Before(p.due) {
			p.due = at
		}
	}
}

// failed plans the next attempt while nothing is held. A gateway that says
// for how long it will refuse is believed within bounds.
func (p *plan) failed(now time.Time, retry time.Duration) {
	pause := pauses[min(p.fails, len(pauses)-1)]
	p.fails++
	p.due = now.Add(max(pause, min(retry, retryMost)))
}

// unrenewed plans the next renewal after one that failed: by the rest of the
// life, or, if the gateway has lost the mappings, soon. A gateway that says for
// how long it will refuse is believed within bounds.
func (p *plan) unrenewed(now time.Time, held []Mapping, lost bool, retry time.Duration, random float64) {
	p.fails++
	p.check = now.Add(checkSoon)
	soon := now.Add(min(renewGap<<min(p.fails-1, 8), checkSoon))
	if lost {
		p.due = later(soon, now.Add(min(retry, retryMost)))
		return
	}
	p.due = now.Add(lifetimeMost)
	for _, m := range held {
		if at := renewAt(p.fails, m.Granted, life(m), random); at.Before(p.due) {
			p.due = at
		}
	}
	p.due = later(p.due, now.Add(renewGap))
}

// hurry plans to ask at once, though never more often than the gap allows.
func (p *plan) hurry(now time.Time) {
	if at := later(now, p.asked.Add(renewGap)); p.due.IsZero() || at.Before(p.due) {
		p.due = at
	}
}

// restart plans for a gateway that nothing is known of.
func (p *plan) restart() { *p = plan{} }

// wait is how long nothing is due, at most until gateways are looked up again.
func (p *plan) wait(now time.Time, poll time.Duration, holds bool) time.Duration {
	next := p.due
	if holds && p.check.Before(next) {
		next = p.check
	}
	return min(max(next.Sub(now), 0), poll)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
