package natpmp

import (
	"testing"
	"time"
)

func TestContest(t *testing.T) {
	type step struct {
		protocol Protocol
		ok       bool
		after    time.Duration
	}
	for _, c := range []struct {
		name  string
		steps []step
		at    time.Duration
		want  Protocol
		wait  time.Duration
	}{
		{"nothing yet", nil, 0, 0, time.Hour},
		{"the best at once", []step{{PCP, true, 0}}, 0, PCP, 0},
		{"a worse one waits", []step{{UPnP, true, 0}}, 300 * time.Millisecond, 0, 700 * time.Millisecond},
		{"not for ever", []step{{UPnP, true, 0}}, time.Second, UPnP, 0},
		{"the better one comes", []step{{UPnP, true, 0}, {NATPMP, true, 500 * time.Millisecond}}, 500 * time.Millisecond, 0, 500 * time.Millisecond},
		{"better ones are out", []step{{PCP, false, 0}, {NATPMP, false, 0}, {UPnP, true, 0}}, 0, UPnP, 0},
		{"all are out", []step{{PCP, false, 0}, {NATPMP, false, 0}, {UPnP, false, 0}}, 0, 0, 0},
		{"the second of two", []step{{NATPMP, true, 0}, {PCP, true, 0}}, 0, PCP, 0},
	} {
		k := contest{waiting: []Protocol{UPnP, NATPMP, PCP}}
		for _, s := range c.steps {
			k.answer(s.protocol, s.ok, start.Add(s.after))
		}
		if got, wait := k.next(start.Add(c.at)); got != c.want || wait != c.wait {
			t.Errorf("%s: %v after %v, want %v after %v", c.name, got, wait, c.want, c.wait)
		}
	}
}

func TestContestFallsToTheNext(t *testing.T) {
	k := contest{waiting: []Protocol{PCP, NATPMP, UPnP}}
	for _, p := range protocols {
		k.answer(p, true, start)
	}
	for _, want := range append(protocols, 0) {
		got, _ := k.next(start)
		if got != want {
			t.Fatalf("%v, want %v", got, want)
		}
		k.refused(got)
	}
}
