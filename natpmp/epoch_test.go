package natpmp

import (
	"testing"
	"time"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// RFC 6887 8.5, both directions, on the very borders.
func TestEpochPCP(t *testing.T) {
	for _, c := range []struct {
		name       string
		prev, next uint32
		elapsed    time.Duration
		lost       bool
	}{
		{"as expected", 1000, 1300, 300 * time.Second, false},
		{"one second back", 1000, 999, 0, false},
		{"two seconds back", 1000, 998, 0, true},
		{"started anew", 1000, 0, 300 * time.Second, true},
		{"server fast by a sixteenth", 1000, 2600, 1498 * time.Second, false},
		{"server faster", 1000, 2600, 1497 * time.Second, true},
		{"server slow by a sixteenth", 1000, 2498, 1600 * time.Second, false},
		{"server slower", 1000, 2497, 1600 * time.Second, true},
		{"a part of a second counts not", 1000, 1000, 2900 * time.Millisecond, false},
		{"near the end", 1<<32 - 1, 1<<32 - 1, time.Second, false},
		{"wrapped", 1<<32 - 1, 0, time.Second, true},
	} {
		var e epoch
		if e.pcp(c.prev, start) {
			t.Errorf("%s: the first epoch is a loss", c.name)
		}
		if got := e.pcp(c.next, start.Add(c.elapsed)); got != c.lost {
			t.Errorf("%s: lost %v", c.name, got)
		}
		if e.pcp(c.next, start.Add(c.elapsed)) {
			t.Errorf("%s: lost once more", c.name)
		}
	}
}

// RFC 6886 3.6: 7/8 of our time, less two seconds.
func TestEpochNATPMP(t *testing.T) {
	for _, c := range []struct {
		name       string
		prev, next uint32
		elapsed    time.Duration
		lost       bool
	}{
		{"as expected", 1000, 1300, 300 * time.Second, false},
		{"slow by an eighth", 1000, 1698, 800 * time.Second, false},
		{"slower", 1000, 1697, 800 * time.Second, true},
		{"fast", 1000, 90000, time.Second, false},
		{"started anew", 1000, 5, 5 * time.Second, true},
	} {
		var e epoch
		if e.natpmp(c.prev, start) {
			t.Errorf("%s: the first epoch is a loss", c.name)
		}
		if got := e.natpmp(c.next, start.Add(c.elapsed)); got != c.lost {
			t.Errorf("%s: lost %v", c.name, got)
		}
	}
}
