package node

import (
	"sync"
	"time"
)

// silenceTime is after how long without an answer the ledger counts as gone:
// then nothing is served on commitments that end soon (payment protocol, section
// 5), since what they pay might not be redeemed in time.
const silenceTime = 10 * time.Minute

// silence is how long the ledger has not answered.
type silence struct {
	ears   sync.Mutex // guards the following
	last   time.Time  // answer; at first, the start
	silent bool       // for longer than silenceTime, as the torrents know
	idle   int        // buyers that are not served for that, as the log knows
}

// heard notes an answer.
func (s *silence) heard(at time.Time) {
	s.ears.Lock()
	defer s.ears.Unlock()
	s.last = at
}

func (s *silence) isSilent() bool {
	s.ears.Lock()
	defer s.ears.Unlock()
	return s.silent
}

// listen finds out whether the ledger is silent, and tells all torrents when
// that changes.
func (p *purse) listen() bool {
	p.ears.Lock()
	since := p.node.cfg.Now().Sub(p.last)
	silent := since >= silenceTime
	changed := silent != p.silent
	p.silent = silent
	if !silent {
		p.idle = 0
	}
	p.ears.Unlock()
	if changed && silent {
		p.node.cfg.Log.Warn("the ledger does not answer: nothing is served on commitments that end within three hours, until it does", "silent", since.Round(time.Second))
	} else if changed {
		p.node.cfg.Log.Info("the ledger answers again: all commitments are served on")
	}
	if changed {
		for _, t := range p.node.all() {
			t.tell(func(now time.Time) { t.swarm.Unheard(now, silent) })
		}
	}
	if silent {
		p.countIdle()
	}
	return silent
}

// countIdle logs that more buyers are not served than before.
func (p *purse) countIdle() {
	sum := 0
	for _, t := range p.node.all() {
		sum += t.Status().Doubted
	}
	p.ears.Lock()
	was := p.idle
	p.idle = sum
	p.ears.Unlock()
	if sum > was {
		p.node.cfg.Log.Warn("buyers are not served, because the ledger is silent and what they pay may not be redeemed in time", "buyers", sum)
	}
}
