package fabric

import (
	"sync/atomic"
	"time"
)

// After so much silence the same transaction is sent again: after three times what
// a commit takes as a rule, since how long blocks are gathered is the channel's to say
// (BatchTimeout, 2 s by default).
const (
	shortestSilence = 3 * time.Second
	longestSilence  = 10 * time.Second
)

// pace is how long commits take, smoothed.
type pace struct{ usual atomic.Int64 }

// took notes how long a commit took from the first time that it was sent.
func (p *pace) took(one time.Duration) {
	if usual := time.Duration(p.usual.Load()); usual > 0 {
		one = (3*usual + one) / 4
	}
	p.usual.Store(int64(one)) // of two at once one may be lost: they are alike
}

// silence is how long a commit is waited for.
func (p *pace) silence() time.Duration {
	return min(max(shortestSilence, 3*time.Duration(p.usual.Load())), longestSilence)
}
