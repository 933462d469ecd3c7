package natpmp

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fakeSpeaker is a protocol in virtual time. What it does is told by functions;
// it remembers when it was asked what.
type fakeSpeaker struct {
	protocol Protocol
	lifetime time.Duration
	probing  func(ctx context.Context) error
	granting func(ctx context.Context) error
	checking func(ctx context.Context) error
	leaving  func(ctx context.Context) error

	mu       sync.Mutex // guards the following
	began    time.Time
	probed   []time.Duration
	granted  []time.Duration
	checked  []time.Duration
	released int
}

func (s *fakeSpeaker) now(of *[]time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*of = append(*of, time.Since(s.began))
}

func do(ctx context.Context, f func(context.Context) error) error {
	if f == nil {
		return nil
	}
	return f(ctx)
}

func (s *fakeSpeaker) probe(ctx context.Context) error {
	s.now(&s.probed)
	return do(ctx, s.probing)
}

func (s *fakeSpeaker) grant(ctx context.Context, w wanted) (Mapping, error) {
	s.now(&s.granted)
	if err := do(ctx, s.granting); err != nil {
		return Mapping{}, err
	}
	return w.granted(s.protocol, addr("11.0.0.7"), w.external, time.Now(), s.lifetime), nil
}

func (s *fakeSpeaker) check(ctx context.Context, _ Mapping) error {
	s.now(&s.checked)
	return do(ctx, s.checking)
}

func (s *fakeSpeaker) observe(uint32, time.Time) bool { return true }

func (s *fakeSpeaker) release(ctx context.Context, _ Mapping) error {
	s.mu.Lock()
	s.released++
	s.mu.Unlock()
	return do(ctx, s.leaving)
}

// after answers like a gateway that takes so long.
func after(d time.Duration, err error) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-time.After(d):
			return err
		case <-ctx.Done():
			return errSilent
		}
	}
}

func never(ctx context.Context) error {
	<-ctx.Done()
	return errSilent
}

// inBubble runs a Mapper over IPv4 and TCP alone with the given speakers in
// virtual time, does what the test does, and ends it.
func inBubble(t *testing.T, speakers []*fakeSpeaker, body func(*testing.T, *Mapper, context.CancelFunc)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		g := Gateways{IPv4: Gateway{Addr: addr("192.168.1.1"), Local: []netip.Addr{addr("192.168.1.34")}}}
		m := New(Config{Port: 9003, Transports: []Transport{TCP}, Gateways: func() (Gateways, error) { return g, nil }})
		m.listen = deaf
		m.speakers = func(Gateways, *link) map[Protocol]speaker {
			all := map[Protocol]speaker{}
			for _, s := range speakers {
				all[s.protocol] = s
			}
			return all
		}
		for _, s := range speakers {
			s.began = time.Now()
		}
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			m.Run(ctx)
		}()
		body(t, m, cancel)
		cancel()
		<-ended
	})
}

// at lets virtual time pass, up to then.
func at(d time.Duration, since time.Time) {
	time.Sleep(d - time.Since(since))
	synctest.Wait()
}

// A mapping is asked for again between half and five eighths of its life, each
// time (RFC 6887 11.2.1), and checked between.
func TestLinkRenews(t *testing.T) {
	s := &fakeSpeaker{protocol: PCP, lifetime: time.Hour}
	inBubble(t, []*fakeSpeaker{s}, func(t *testing.T, m *Mapper, _ context.CancelFunc) {
		at(10*time.Hour, s.began)
		if got := m.Status(); got.IPv4.State != Open {
			t.Error(got.Sentence())
		}
	})
	last := time.Duration(0)
	for i, g := range s.granted {
		if gap := g - last; i > 0 && (gap < 30*time.Minute || gap > 38*time.Minute) {
			t.Errorf("asked again after %v", gap)
		}
		last = g
	}
	if n := len(s.granted); n < 16 || n > 20 {
		t.Errorf("asked %d times in ten hours", n)
	}
	if n := len(s.checked); n < 80 || n > 120 {
		t.Errorf("checked %d times in ten hours", n)
	}
	if len(s.probed) != 1 || s.released != 1 {
		t.Errorf("probed %d times, released %d mappings", len(s.probed), s.released)
	}
}

// A silent gateway is asked again after 1, 5, 15, 15 minutes; each start ends
// after ten seconds.
func TestLinkAsksSilentGatewaysAgain(t *testing.T) {
	s := &fakeSpeaker{protocol: PCP, probing: never}
	inBubble(t, []*fakeSpeaker{s}, func(t *testing.T, m *Mapper, _ context.CancelFunc) {
		at(9*time.Second, s.began)
		if got := m.Status().IPv4.State; got != Asking {
			t.Errorf("after 9 s: %s", got)
		}
		at(10*time.Second, s.began)
		if got := m.Status().IPv4.State; got != Closed {
			t.Errorf("after 10 s: %s", got)
		}
		at(time.Hour, s.began)
	})
	pause := []time.Duration{0, 70 * time.Second, 310 * time.Second, 910 * time.Second, 910 * time.Second}
	var sum time.Duration
	for i, p := range pause {
		if sum += p; i >= len(s.probed) || s.probed[i] != sum {
			t.Fatalf("asked after %v, the %d. should be after %v", s.probed, i+1, sum)
		}
	}
}

// A gateway that refuses for long is not asked before, but at last after
// half an hour.
func TestLinkBelievesRefusals(t *testing.T) {
	s := &fakeSpeaker{protocol: PCP, granting: func(context.Context) error {
		return &refusal{protocol: PCP, code: pcpNotAuthorized, retry: 24 * time.Hour}
	}}
	inBubble(t, []*fakeSpeaker{s}, func(t *testing.T, _ *Mapper, _ context.CancelFunc) { at(95*time.Minute, s.began) })
	if want := []time.Duration{0, 30 * time.Minute, time.Hour, 90 * time.Minute}; !slices.Equal(s.granted, want) {
		t.Errorf("asked after %v", s.granted)
	}
}

// What a gateway has lost it is asked for at once.
func TestLinkNoticesLoss(t *testing.T) {
	lost := true
	s := &fakeSpeaker{protocol: PCP, lifetime: time.Hour, checking: func(context.Context) error {
		if lost {
			lost = false
			return errLost
		}
		return nil
	}}
	inBubble(t, []*fakeSpeaker{s}, func(t *testing.T, _ *Mapper, _ context.CancelFunc) { at(20*time.Minute, s.began) })
	if want := []time.Duration{0, checkEvery}; !slices.Equal(s.granted, want) {
		t.Errorf("asked after %v", s.granted)
	}
}

// A gateway that falls silent is asked until the mapping ends; then the port
// is closed, and every protocol is tried.
func TestLinkLosesSilentGateway(t *testing.T) {
	s := &fakeSpeaker{protocol: PCP, lifetime: time.Hour}
	falls := func(ctx context.Context) error {
		if time.Since(s.began) > time.Minute {
			return never(ctx)
		}
		return nil
	}
	s.probing, s.granting, s.checking = falls, falls, falls
	inBubble(t, []*fakeSpeaker{s}, func(t *testing.T, m *Mapper, _ context.CancelFunc) {
		at(59*time.Minute, s.began)
		if got := m.Status(); got.IPv4.State != Open {
			t.Errorf("before its end: %s", got.Sentence())
		}
		at(62*time.Minute, s.began)
		if got := m.Status(); got.IPv4.State != Closed {
			t.Errorf("after its end: %s", got.Sentence())
		}
	})
	if len(s.granted) < 3 || len(s.probed) < 3 {
		t.Errorf("granted at %v, probed at %v", s.granted, s.probed)
	}
}

// When nothing listens where the mapping was granted, all protocols are asked
// at the next time.
func TestLinkFollowsMovedServer(t *testing.T) {
	old := &fakeSpeaker{protocol: UPnP, lifetime: time.Hour}
	moved := func() bool { return time.Since(old.began) > time.Minute }
	refuse := func(context.Context) error {
		if moved() {
			return errClosed
		}
		return nil
	}
	old.probing, old.granting, old.checking = refuse, refuse, refuse
	other := &fakeSpeaker{protocol: NATPMP, lifetime: time.Hour, probing: func(context.Context) error {
		if !moved() {
			return errClosed
		}
		return nil
	}}
	inBubble(t, []*fakeSpeaker{old, other}, func(t *testing.T, m *Mapper, _ context.CancelFunc) {
		at(checkEvery+10*time.Second, old.began)
		if got := m.Status().IPv4; got.State != Open || got.Mappings[0].Protocol != NATPMP {
			t.Errorf("%+v", got)
		}
	})
}

// The better protocol is waited for, though not for long; one that answers
// but doesn't grant doesn't hold up the next.
func TestLinkPrefers(t *testing.T) {
	for _, c := range []struct {
		name         string
		pcp, natpmp  func(context.Context) error // probes
		pcpGrants    func(context.Context) error
		want         Protocol
		soonest, end time.Duration
	}{
		{"both at once", nil, nil, nil, PCP, 0, 0},
		{"the better one late", after(900*time.Millisecond, nil), nil, nil, PCP, 900 * time.Millisecond, 900 * time.Millisecond},
		{"the better one too late", after(1100*time.Millisecond, nil), nil, nil, NATPMP, time.Second, time.Second},
		{"the better one refuses to speak", after(10*time.Millisecond, errVersion), nil, nil, NATPMP, 10 * time.Millisecond, 10 * time.Millisecond},
		{"the better one grants nothing", nil, nil, never, NATPMP, 4 * time.Second, 4 * time.Second},
		{"both late", after(9*time.Second, nil), after(8500*time.Millisecond, nil), nil, PCP, 9 * time.Second, 9 * time.Second},
	} {
		pcp := &fakeSpeaker{protocol: PCP, lifetime: time.Hour, probing: c.pcp, granting: c.pcpGrants}
		natpmp := &fakeSpeaker{protocol: NATPMP, lifetime: time.Hour, probing: c.natpmp}
		inBubble(t, []*fakeSpeaker{pcp, natpmp}, func(t *testing.T, m *Mapper, _ context.CancelFunc) {
			if c.soonest > 0 {
				at(c.soonest-time.Millisecond, pcp.began)
				if got := m.Status().IPv4; got.State == Open {
					t.Errorf("%s: open too soon", c.name)
				}
			}
			at(c.end, pcp.began)
			if got := m.Status().IPv4; got.State != Open || got.Mappings[0].Protocol != c.want {
				t.Errorf("%s: %+v", c.name, got)
			}
		})
		doubts := 0
		if c.pcpGrants != nil {
			doubts = 1
		}
		if pcp.released+natpmp.released != 1+doubts {
			t.Errorf("%s: %d mappings were released", c.name, pcp.released+natpmp.released)
		}
	}
}

// The end takes two seconds at most, whatever the gateway does, and also in
// the middle of a start.
func TestLinkEnds(t *testing.T) {
	for name, s := range map[string]*fakeSpeaker{
		"while it is mapped": {protocol: PCP, lifetime: time.Hour, leaving: never},
		"while it probes":    {protocol: PCP, probing: never},
		"while it grants":    {protocol: PCP, granting: never},
		"while it fails":     {protocol: PCP, probing: after(0, errors.New("no"))},
	} {
		inBubble(t, []*fakeSpeaker{s}, func(t *testing.T, m *Mapper, cancel context.CancelFunc) {
			at(2*time.Second, s.began)
			cancel()
			at(4*time.Second, s.began)
			if got := m.Status().IPv4.State; got != Ended {
				t.Errorf("%s: %s", name, got)
			}
		})
	}
}

// What was asked for when the end came may have been granted: it is released.
func TestLinkReleasesDoubts(t *testing.T) {
	s := &fakeSpeaker{protocol: PCP, granting: after(time.Second, nil)}
	inBubble(t, []*fakeSpeaker{s}, func(t *testing.T, _ *Mapper, cancel context.CancelFunc) {
		at(500*time.Millisecond, s.began)
		cancel()
		synctest.Wait()
	})
	if s.released != 1 {
		t.Errorf("%d mappings were released", s.released)
	}
}

// Without a gateway nothing is asked, and one that comes later is found.
func TestLinkWaitsForGateway(t *testing.T) {
	s := &fakeSpeaker{protocol: PCP, lifetime: time.Hour}
	synctest.Test(t, func(t *testing.T) {
		s.began = time.Now()
		g := Gateway{Addr: addr("192.168.1.1"), Local: []netip.Addr{addr("192.168.1.34")}}
		m := New(Config{Port: 9003, Gateways: func() (Gateways, error) {
			if time.Since(s.began) < time.Minute {
				return Gateways{}, nil
			}
			return Gateways{IPv4: g}, nil
		}})
		m.listen = deaf
		m.speakers = func(Gateways, *link) map[Protocol]speaker { return map[Protocol]speaker{PCP: s} }
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			m.Run(ctx)
		}()
		at(50*time.Second, s.began)
		const want = "failed to open port 9003: there is no router to ask (no default route over IPv4 where it listens); connect this machine to a network, or listen elsewhere"
		if got := m.Status().Sentence(); got != want {
			t.Error(got)
		}
		at(91*time.Second, s.began)
		if got := m.Status(); got.IPv4.State != Open {
			t.Error(got.Sentence())
		}
		cancel()
		<-ended
	})
}
