package natpmp

import "time"

// patience is how long a protocol that answered waits for a better one that
// did not yet. It costs that much only where the better one is not answered
// at all: a refusal ends it.
const patience = time.Second

// contest chooses among protocols that are probed side by side.
type contest struct {
	waiting  []Protocol // probed, no answer yet
	answered []Protocol
	first    time.Time // when the first one answered
}

// answer takes the result of a probe.
func (c *contest) answer(p Protocol, ok bool, now time.Time) {
	c.waiting = without(c.waiting, p)
	if !ok {
		return
	}
	if c.first.IsZero() {
		c.first = now
	}
	c.answered = append(c.answered, p)
}

// next returns the protocol to map by, or how long to wait for an answer
// before asking again. It returns zero and zero when none is left.
func (c *contest) next(now time.Time) (Protocol, time.Duration) {
	if len(c.answered) == 0 {
		if len(c.waiting) == 0 {
			return 0, 0
		}
		return 0, time.Hour
	}
	best := least(c.answered)
	if rest := c.first.Add(patience).Sub(now); len(c.waiting) > 0 && least(c.waiting) < best && rest > 0 {
		return 0, rest
	}
	return best, 0
}

// refused takes a protocol out: it answered, but granted nothing.
func (c *contest) refused(p Protocol) { c.answered = without(c.answered, p) }

func least(ps []Protocol) Protocol {
	best := ps[0]
	for _, p := range ps {
		best = min(best, p)
	}
	return best
}

func without(ps []Protocol, p Protocol) []Protocol {
	var rest []Protocol
	for _, q := range ps {
		if q != p {
			rest = append(rest, q)
		}
	}
	return rest
}
