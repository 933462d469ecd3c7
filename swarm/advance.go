package swarm

import (
	"time"

	"torrente/choker"
	"torrente/peerwire"
)

const (
	tickInterval = time.Second
	// keepAlive is the silence after which we say that we are still there;
	// others close after two minutes (BEP 3).
	keepAlive = 100 * time.Second
	// patience is the silence after which a peer is dropped.
	patience = 150 * time.Second
	// forgiven is how many unasked blocks a peer is forgiven each second.
	forgiven = 10
)

// Deadline is when Advance is to be called next. While there is nobody to
// care for and nobody to dial it is far away.
func (s *Swarm) Deadline() time.Time {
	if !s.payTimer.IsZero() && s.payTimer.Before(s.nextTick) {
		return s.payTimer
	}
	return s.nextTick
}

// Advance does what is due.
func (s *Swarm) Advance(now time.Time) {
	s.input()
	s.advancePay(now)
	if now.Before(s.nextTick) {
		return
	}
	elapsed := now.Sub(s.nextTick) + tickInterval
	if s.nextTick.IsZero() {
		elapsed = tickInterval
	}
	s.nextTick = now.Add(tickInterval)
	if s.picker != nil {
		s.picker.Changed() // what is waited for may have been given up
	}
	for _, p := range s.snapshot() {
		if !p.dropped {
			s.tick(now, elapsed, p)
		}
	}
	s.meta.advance(s, now)
	s.trees.advance(s, now)
	if !now.Before(s.nextChoke) {
		s.nextChoke = now.Add(choker.Interval)
		s.rechoke(now)
	}
	s.dial(now)
}

// tick cares for one peer once a second.
func (s *Swarm) tick(now time.Time, elapsed time.Duration, p *peer) {
	p.limitDepth()
	p.unwanted = max(0, p.unwanted-forgiven)
	p.idleAsks = max(0, p.idleAsks-1)
	s.announceMore(p)
	p.down.tick(elapsed)
	p.up.tick(elapsed)
	s.checkSnub(now, p)
	s.tickPurchase(now, p)
	s.tickSale(now, p)
	s.doubt(now, p)
	s.refill(now, p)
	switch {
	case now.Sub(p.lastHeard) > patience:
		s.drop(p, errSilent)
	case now.Sub(p.lastSent) > keepAlive:
		s.send(now, p, peerwire.Of(peerwire.KeepAlive))
	}
}

// limitDepth keeps about three seconds' worth of blocks asked: more would
// only wait in the peer's queue, where others cannot give them sooner. Between
// ticks onPiece lets the depth grow by one a block.
func (p *peer) limitDepth() {
	if p.snubbing {
		return
	}
	p.depth = min(p.depth, firstDepth+3*int(p.down.sum/peerwire.BlockSize))
}
