package natpmp

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// probed is the result of one probe.
type probed struct {
	protocol Protocol
	err      error
	took     time.Duration
}

// open probes all protocols side by side and maps by the best that answers,
// by the next if that one refuses. It ends after the limit for a start,
// whatever the gateway does.
func (l *link) open(ctx context.Context) {
	l.plan.asked = time.Now()
	limited, cancel := context.WithTimeout(ctx, l.mapper.limits.start)
	speakers := l.mapper.speakers(l.gateways, l)
	l.tried = nil
	results, c, wait := probeAll(limited, speakers)
	defer wait()
	defer cancel()
	for {
		p, patience := c.next(time.Now())
		switch {
		case p != 0:
			if l.tryGrant(limited, p, speakers[p]) {
				return
			}
			c.refused(p)
		case patience == 0:
			l.refusedByAll(ctx, speakers)
			return
		default:
			l.awaitProbe(results, &c, patience)
		}
	}
}

// probeAll starts the probes. wait waits until all have ended, which they do
// soon after ctx has.
func probeAll(ctx context.Context, speakers map[Protocol]speaker) (results chan probed, c contest, wait func()) {
	results = make(chan probed, len(speakers))
	var probes sync.WaitGroup
	for p, s := range speakers {
		c.waiting = append(c.waiting, p)
		probes.Go(func() {
			began := time.Now()
			err := s.probe(ctx)
			results <- probed{protocol: p, err: err, took: time.Since(began)}
		})
	}
	return results, c, probes.Wait
}

// awaitProbe takes the next result, if one comes in time.
func (l *link) awaitProbe(results <-chan probed, c *contest, patience time.Duration) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case r := <-results:
		c.answer(r.protocol, r.err == nil, time.Now())
		l.note(r.protocol, r.err, r.took)
	case <-timer.C:
	}
}

// tryGrant maps by one protocol.
func (l *link) tryGrant(ctx context.Context, p Protocol, s speaker) bool {
	ctx, cancel := context.WithTimeout(ctx, l.mapper.limits.grant)
	defer cancel()
	fresh, err := l.grantAll(ctx, s)
	if len(fresh) == 0 {
		l.note(p, err, time.Since(l.plan.asked))
		return false
	}
	l.hold(s, fresh)
	l.note(p, err, time.Since(l.plan.asked))
	i := slices.IndexFunc(l.tried, func(a Attempt) bool { return a.Protocol == p })
	l.tried[i].Outcome = Granted
	l.publish() // other probes may take longer to end
	for _, m := range fresh {
		l.log.Info("the gateway maps the port", "gateway", l.gateway.Addr, "protocol", p, "transport", m.Transport,
			"port", m.InternalPort, "external", m.External, "external_port", m.ExternalPort, "until", m.Until)
	}
	return true
}

// refusedByAll plans the next start.
func (l *link) refusedByAll(ctx context.Context, speakers map[Protocol]speaker) {
	if ctx.Err() != nil {
		return // it is not the gateway that ended it
	}
	l.external = netip.Addr{}
	for _, s := range speakers {
		if knows, ok := s.(interface{ address() netip.Addr }); ok && knows.address().IsValid() {
			l.external = knows.address()
		}
	}
	var retry time.Duration
	for _, a := range l.tried {
		retry = max(retry, a.retry)
	}
	if len(l.held) > 0 {
		l.bound()
		l.plan.unrenewed(time.Now(), l.held, l.lost, retry, 0)
		return
	}
	level := slog.LevelInfo
	if l.plan.fails > 0 {
		level = slog.LevelDebug // it was told
	}
	l.plan.failed(time.Now(), retry)
	l.log.Log(ctx, level, "no gateway maps the port", "gateway", l.gateway.Addr, "tried", l.tried, "next", l.plan.due)
}

// note remembers how a protocol did, in the order of the protocols.
func (l *link) note(p Protocol, err error, took time.Duration) {
	a := Attempt{Protocol: p, Outcome: Answered, Milliseconds: took.Milliseconds()}
	var refused *refusal
	switch {
	case err == nil:
	case errors.As(err, &refused):
		a.Outcome, a.Problem, a.Remedy, a.retry = Refused, refused.words(), refused.remedy(), refused.retry
	case absent(err), errors.Is(err, errVersion), errors.Is(err, context.Canceled):
		a.Outcome, a.Problem = Silent, err.Error()
	default:
		a.Outcome, a.Problem = Unusable, clean(err.Error())
	}
	l.tried = slices.DeleteFunc(l.tried, func(o Attempt) bool { return o.Protocol == p })
	at, _ := slices.BinarySearchFunc(l.tried, p, func(o Attempt, p Protocol) int { return int(o.Protocol) - int(p) })
	l.tried = slices.Insert(l.tried, at, a)
}
