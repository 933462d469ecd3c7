package tracker

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

func TestInterval(t *testing.T) {
	const m, h = time.Minute, time.Hour
	peer := addrs("192.0.2.1:1")
	for _, c := range []struct {
		a      Answer
		wanted bool
		want   time.Duration
	}{
		{Answer{Peers: peer}, true, 30 * m},
		{Answer{Peers: peer, Interval: 10 * m}, true, 10 * m},
		{Answer{Peers: peer, Interval: time.Second}, true, m},
		{Answer{Peers: peer, Interval: 5 * h}, true, h},
		{Answer{Peers: peer, Interval: 10 * m, MinInterval: 20 * m}, true, 20 * m},
		{Answer{Peers: peer, Interval: 5 * h, MinInterval: 5 * h}, true, 5 * h},
		{Answer{Peers: peer, Interval: maxInterval, MinInterval: maxInterval}, true, 24 * h},
		{Answer{Peers: peer, Interval: 30 * m, MinInterval: 5 * m}, true, 30 * m},
		{Answer{Interval: 30 * m, MinInterval: 5 * m}, true, 5 * m},
		{Answer{Interval: 30 * m, MinInterval: time.Second}, true, m},
		{Answer{Interval: 30 * m, MinInterval: 5 * m}, false, 30 * m},
		{Answer{Interval: 30 * m}, true, 30 * m},
	} {
		if got := interval(&c.a, c.wanted); got != c.want {
			t.Errorf("%+v: %s, want %s", c.a, got, c.want)
		}
	}
}

func TestBackoff(t *testing.T) {
	for n, want := range map[int]time.Duration{
		1: 15 * time.Second, 2: 30 * time.Second, 3: time.Minute, 7: 16 * time.Minute, 8: 30 * time.Minute, 1 << 40: 30 * time.Minute,
	} {
		if got := backoff(n); got != want {
			t.Errorf("after %d failures: %s, want %s", n, got, want)
		}
	}
}

func TestFailed(t *testing.T) {
	now := time.Unix(1, 0)
	for _, c := range []struct {
		err   error
		wait  time.Duration
		never bool
	}{
		{errors.New("x"), 15 * time.Second, false},
		{&Refused{}, 15 * time.Second, false},
		{&Refused{RetryIn: time.Second}, 15 * time.Second, false},
		{fmt.Errorf("wrapped: %w", &Refused{RetryIn: time.Hour}), time.Hour, false},
		{&Refused{RetryIn: maxInterval}, 24 * time.Hour, false},
		{&Refused{Never: true}, 15 * time.Second, true},
	} {
		st := state{working: true}
		st.failed(now, c.err)
		if st.working || st.never != c.never || st.next.Sub(now) != c.wait {
			t.Errorf("%#v: %+v", c.err, st)
		}
	}
}
