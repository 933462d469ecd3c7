package tracker

import (
	"errors"
	"net/netip"
	"time"
)

// When a tracker is asked again. Trackers that say less than a minute are not
// obeyed for their own good, those that say more than an hour for ours: a
// swarm changes. A minimum interval above that is a wish to be respected.
const (
	defaultInterval = 30 * time.Minute
	shortest        = time.Minute
	longest         = time.Hour
	longestMinimum  = 24 * time.Hour

	firstBackoff = 15 * time.Second
	lastBackoff  = 30 * time.Minute
)

// interval is the time until the next announce. While an answer has no peers in
// it, it is the least that the tracker allows.
func interval(a *Answer, peersWanted bool) time.Duration {
	d := a.Interval
	if d == 0 {
		d = defaultInterval
	}
	if peersWanted && len(a.Peers) == 0 && a.MinInterval > 0 {
		d = a.MinInterval
	}
	return max(min(max(d, shortest), longest), min(a.MinInterval, longestMinimum))
}

// backoff is the time until a tracker that failed n times in a row is tried
// again: 15 s, then twice as long each time.
func backoff(n int) time.Duration {
	d := firstBackoff
	for ; n > 1 && d < lastBackoff; n-- {
		d *= 2
	}
	return min(d, lastBackoff)
}

// told is what a tracker knows of us under one of the torrent's hashes.
type told uint8

const (
	nothing      told = iota
	maybeStarted      // it was being told when the session ended
	started
	completed
)

// state is what a Session knows of one tracker.
type state struct {
	url      string
	told     []told // by index into the hashes
	port     uint16 // that it was told last; 0: none
	id       string // "tracker id" of its last answer
	next     time.Time
	failures int   // in a row
	working  bool  // the last announce was answered
	never    bool  // it asked not to be asked again
	err      error // of the last announce under some hash
	last     Answer
	peers    int
	external netip.Addr
}

// event is what the tracker must be told next under a hash.
func (st *state) event(hash int, complete bool) Event {
	switch {
	case st.told[hash] <= maybeStarted:
		return Started
	case complete && st.told[hash] == started:
		return Completed
	}
	return None
}

// answered notes that an announce worked.
func (st *state) answered(now time.Time, a *Answer, peersWanted bool) {
	st.working, st.failures = true, 0
	st.last, st.peers = *a, len(a.Peers)
	st.last.Peers = nil
	if a.ExternalIP.IsValid() {
		st.external = a.ExternalIP
	}
	st.next = now.Add(interval(a, peersWanted))
}

// failed notes that an announce did not work under any hash.
func (st *state) failed(now time.Time, err error) {
	st.working, st.err = false, err
	st.failures++
	wait := backoff(st.failures)
	if r, ok := errors.AsType[*Refused](err); ok {
		st.never = r.Never
		wait = max(wait, min(r.RetryIn, longestMinimum))
	}
	st.next = now.Add(wait)
}

// unheard tells whether the tracker must still hear that the download is
// complete.
func (st *state) unheard() bool {
	for _, t := range st.told {
		if t == started {
			return true
		}
	}
	return false
}
