package natpmp

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// renewTries is how often a renewal fails before all protocols are asked
// again: a gateway that was started anew may speak others, at other ports.
const renewTries = 2

// doubtsMost bounds what is released without knowing that it is there.
const doubtsMost = 8

// link keeps the mappings of one family of addresses on one gateway. One
// goroutine, which runs run, owns all of it.
type link struct {
	mapper *Mapper
	log    *slog.Logger
	v6     bool

	gateways Gateways
	gateway  Gateway // the one of this family
	speaker  speaker // whoever granted what is held; nil before
	held     []Mapping
	lost     bool // the gateway has forgotten what is held
	moved    bool // nothing listens any more where it was granted
	plan     plan
	tried    []Attempt
	external netip.Addr // what a gateway that grants nothing says its address is
	doubtful []doubt

	heard  chan uint32 // epochs that the gateway announced
	deafen func()      // ends the listening, and waits for it
}

// doubt is a mapping that was asked for, but whether it was granted nobody
// knows. It is released in the end, too.
type doubt struct {
	speaker speaker
	mapping Mapping
}

func newLink(m *Mapper, v6 bool) *link {
	family := "IPv4"
	if v6 {
		family = "IPv6"
	}
	return &link{mapper: m, log: m.config.Log.With("family", family), v6: v6, heard: make(chan uint32, 4), deafen: func() {}}
}

// newSpeakers makes those that the configuration allows and the family has.
func newSpeakers(gs Gateways, l *link) map[Protocol]speaker {
	allowed := l.mapper.config.Protocols
	all := map[Protocol]speaker{}
	if allowed.Has(PCP) {
		all[PCP] = newPCP(l.gateway, l.mapper.config.Secret)
	}
	if allowed.Has(NATPMP) && !l.v6 {
		all[NATPMP] = newNATPMP(l.gateway, &l.mapper.calls)
	}
	if allowed.Has(UPnP) && !l.v6 {
		all[UPnP] = newUPnP(l.gateway)
	}
	if allowed.Has(UPnP) && l.v6 && !gs.IPv4.none() {
		all[UPnP] = newPinhole(gs.IPv4, l.gateway)
	}
	return all
}

// run is the link's life.
func (l *link) run(ctx context.Context) {
	for ctx.Err() == nil {
		l.lookUp(ctx)
		l.act(ctx)
		l.publish()
		l.pause(ctx)
	}
	l.deafen()
	l.release(ctx)
	l.mapper.publish(l.v6, LinkStatus{State: Ended})
}

// lookUp looks whether there is another gateway, or this machine has another
// address there. What was mapped before is left to end: whoever had it may be out of
// reach, or is somebody else by now.
func (l *link) lookUp(ctx context.Context) {
	gs, err := l.mapper.config.Gateways()
	if err != nil {
		l.log.Debug("look up the gateways", "err", err)
		return
	}
	g := gs.IPv4
	if l.v6 {
		g = gs.IPv6
	}
	if g.equal(l.gateway) {
		l.gateways = gs
		return
	}
	l.deafen()
	l.gateways, l.gateway = gs, g
	l.speaker, l.held, l.lost, l.moved, l.tried, l.doubtful = nil, nil, false, false, nil, nil
	l.plan.restart()
	l.deafen = func() {}
	if !g.none() {
		l.hearken(ctx)
		l.publish()
	}
}

// hearken listens to what the gateway announces. It does without if it cannot.
func (l *link) hearken(ctx context.Context) {
	conn, err := l.mapper.listen(l.gateway)
	if err != nil {
		l.log.Debug("listen to the gateway's announcements", "err", err)
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	gateway := l.gateway.Addr
	var listener sync.WaitGroup
	listener.Go(func() { announcements(ctx, conn, gateway, l.heard) })
	l.deafen = func() {
		cancel()
		listener.Wait()
	}
}

// act does what is due.
func (l *link) act(ctx context.Context) {
	now := time.Now()
	l.expire(now)
	switch {
	case l.gateway.none():
	case !now.Before(l.plan.due) && (len(l.held) == 0 || l.moved || l.plan.fails >= renewTries):
		l.open(ctx)
	case !now.Before(l.plan.due):
		l.renew(ctx)
	case len(l.held) > 0 && !now.Before(l.plan.check):
		l.check(ctx)
	}
}

// pause waits until something is due, the gateway announces something, or
// gateways are to be looked up again.
func (l *link) pause(ctx context.Context) {
	now := time.Now()
	wait := l.mapper.limits.poll
	if !l.gateway.none() {
		wait = l.plan.wait(now, wait, len(l.held) > 0)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case seconds := <-l.heard:
		if l.speaker != nil && l.speaker.observe(seconds, time.Now()) {
			l.lost = true
		}
		// Asking again costs little: also where the epoch says that nothing is
		// lost, as it does of a gateway that had just been started before. One that
		// has granted nothing is asked by all protocols, which costs more.
		if now := time.Now(); len(l.held) > 0 || now.Sub(l.plan.asked) >= pauses[0] {
			l.plan.hurry(now)
		}
	}
}

// expire drops what has ended, and plans a new start when nothing is left.
func (l *link) expire(now time.Time) {
	had := len(l.held)
	l.held = slices.DeleteFunc(slices.Clone(l.held), func(m Mapping) bool { return !m.Until.IsZero() && !now.Before(m.Until) })
	if had > 0 && len(l.held) == 0 {
		l.log.Info("the port's mapping has ended", "port", l.mapper.config.Port)
		l.plan.due = now
	}
}

// renew asks for everything that is wanted again, by who granted it.
func (l *link) renew(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, l.mapper.limits.start)
	defer cancel()
	l.plan.asked = time.Now()
	fresh, err := l.grantAll(ctx, l.speaker)
	if len(fresh) == 0 {
		l.log.Debug("renew the port's mapping", "err", err)
		l.moved = errors.Is(err, errClosed)
		var refused *refusal
		var retry time.Duration
		if errors.As(err, &refused) {
			// Whoever refuses to go on has hardly kept what it granted.
			l.lost, retry = true, refused.retry
		}
		l.bound()
		l.plan.unrenewed(time.Now(), l.held, l.lost, retry, rand.Float64())
		return
	}
	l.hold(l.speaker, fresh)
}

// bound gives what was granted without an end one, since it is not known any more
// whether it is there.
func (l *link) bound() {
	held := slices.Clone(l.held)
	for i := range held {
		if held[i].Until.IsZero() {
			held[i].Until = time.Now().Add(lifetimeWanted)
		}
	}
	l.held = held
}

// hold takes fresh mappings in; of those that it had before it keeps what was
// not granted again, until that ends.
func (l *link) hold(s speaker, fresh []Mapping) {
	if l.lost {
		l.log.Info("the gateway maps the port again", "gateway", l.gateway.Addr)
	}
	kept := fresh
	if s == l.speaker && !l.lost {
		for _, m := range l.held {
			if !slices.ContainsFunc(fresh, func(f Mapping) bool { return f.Transport == m.Transport && f.Internal == m.Internal }) {
				kept = append(kept, m)
			}
		}
	}
	l.speaker, l.held, l.lost, l.moved = s, kept, false, false
	l.plan.succeeded(time.Now(), fresh, rand.Float64())
}

// grantAll asks for each address and transport: for what is held again, else
// for the external port that TCP, which comes first, got. Whatever is granted
// counts; the error is the first one.
func (l *link) grantAll(ctx context.Context, s speaker) (granted []Mapping, first error) {
	for _, local := range l.gateway.Local {
		external := l.mapper.config.Port
		for _, t := range l.mapper.config.Transports {
			w := wanted{transport: t, local: local, port: l.mapper.config.Port, external: external}
			for _, m := range l.held {
				if m.Transport == t && m.Internal == local {
					w = m.again()
				}
			}
			m, err := s.grant(ctx, w)
			if err == nil {
				external = m.ExternalPort
				granted = append(granted, m)
				continue
			}
			if first == nil {
				first = err
			}
			if m.ExternalPort != 0 {
				w.external = m.ExternalPort
			}
			l.doubt(s, w, err)
		}
	}
	return granted, first
}

// doubt remembers what was asked for without a refusal. Libraries lose what an error
// was caused by: so all others are.
func (l *link) doubt(s speaker, w wanted, err error) {
	var refused *refusal
	if errors.As(err, &refused) || errors.Is(err, errClosed) || len(l.doubtful) == doubtsMost {
		return
	}
	l.doubtful = append(l.doubtful, doubt{s, Mapping{Transport: w.transport, Internal: w.local, InternalPort: w.port, ExternalPort: w.external}})
}

// check asks whether the gateway still has the first mapping: when it has
// forgotten one, it has forgotten all.
func (l *link) check(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, l.mapper.limits.grant)
	defer cancel()
	err := l.speaker.check(ctx, l.held[0])
	now := time.Now()
	switch {
	case err == nil:
		l.plan.check = now.Add(checkEvery)
	case errors.Is(err, errSilent) || ctx.Err() != nil:
		l.plan.check = now.Add(checkSoon)
	default:
		l.log.Info("the gateway no longer has the port's mapping", "gateway", l.gateway.Addr, "err", err)
		l.lost = true
		l.plan.check = now.Add(checkSoon)
		l.plan.hurry(now)
	}
}

// release gives back what is held, all at once. ctx has ended; what it carries
// is of no use here.
func (l *link) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.mapper.limits.release)
	defer cancel()
	if len(l.held)+len(l.doubtful) > 0 {
		l.mapper.calls.Wait() // one that is left alone would be sent once more after this
	}
	var all sync.WaitGroup
	for _, d := range l.doubtful {
		all.Go(func() { _ = d.speaker.release(ctx, d.mapping) }) // it may never have been there
	}
	for _, m := range l.held {
		all.Go(func() {
			if err := l.speaker.release(ctx, m); err != nil {
				l.log.Info("the gateway keeps a mapping until it ends", "transport", m.Transport, "port", m.ExternalPort, "until", m.Until, "err", err)
			}
		})
	}
	all.Wait()
	l.held, l.doubtful = nil, nil
}
