package tracker

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"time"
)

// Announcer makes announces: a *Client.
type Announcer interface {
	Announce(ctx context.Context, url string, a Announce) (Answer, error)
}

// SessionConfig is what a Session announces, and how.
type SessionConfig struct {
	Client   Announcer
	Trackers [][]string // tiers (BEP 12)
	Hashes   [][20]byte // a hybrid torrent has two, v1 and the truncated v2, and so two swarms
	PeerID   [20]byte
	Port     func() uint16 // by which others reach us, as of now
	Key      uint32
	NumWant  int    // peers wanted of each announce; 0: 50
	Seed     uint64 // for the order within tiers
	// Stats are the bytes uploaded and downloaded since the session began, and
	// those left; negative: not known yet.
	Stats func() (uploaded, downloaded, left int64)
	// Found takes peers; Run's goroutine calls it.
	Found func([]netip.AddrPort)
	// Seen takes what a tracker says that our address is (BEP 24); nil: nobody asks.
	Seen func(from, ours netip.Addr)
	Log  *slog.Logger // nil: none
}

// Session keeps one torrent announced to one of its trackers at a time (BEP 12).
type Session struct {
	cfg   SessionConfig
	tiers *Tiers
	wake  chan struct{} // room for one

	mu     sync.Mutex // guards the following
	states map[string]*state
	done   bool // Completed was called
	order  []string
}

// stopTime is how long the end of a session waits for trackers to hear of it.
const stopTime = 3 * time.Second

// NewSession makes a Session; Run starts it.
func NewSession(cfg SessionConfig) *Session {
	if cfg.NumWant == 0 {
		cfg.NumWant = 50
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Seen == nil {
		cfg.Seen = func(netip.Addr, netip.Addr) {}
	}
	s := &Session{
		cfg: cfg, tiers: NewTiers(cfg.Trackers, cfg.Seed),
		wake: make(chan struct{}, 1), states: map[string]*state{},
	}
	s.order = s.tiers.Order()
	for _, u := range s.order {
		s.states[u] = &state{url: u, told: make([]told, len(cfg.Hashes))}
	}
	return s
}

// Completed makes the trackers hear that the download is complete. A torrent
// that was complete when the session began never completes (BEP 3).
func (s *Session) Completed() {
	s.mu.Lock()
	s.done = true
	s.mu.Unlock()
	s.again()
}

// Moved makes the trackers hear that others reach us by another port.
func (s *Session) Moved() { s.again() }

// again announces at once to the tracker that works.
func (s *Session) again() {
	s.mu.Lock()
	for _, st := range s.states {
		if st.working {
			st.next = time.Time{}
		}
	}
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default: // it is about to wake anyway
	}
}

// Run announces until ctx ends, then says goodbye to the trackers that know us,
// for at most three seconds.
func (s *Session) Run(ctx context.Context) {
	defer s.stop(ctx)
	for ctx.Err() == nil {
		s.round(ctx)
		due, ever := s.due()
		if !ever { // no tracker is left that may be asked
			<-ctx.Done()
			return
		}
		timer := time.NewTimer(time.Until(due))
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-s.wake:
		}
		timer.Stop()
	}
}

// due is when some tracker's turn comes: of those before the first that works,
// to see whether they work again, or of that one.
func (s *Session) due() (at time.Time, ever bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.order {
		st := s.states[u]
		if st.never {
			continue
		}
		if !ever || st.next.Before(at) {
			at, ever = st.next, true
		}
		if st.working {
			break
		}
	}
	return at, ever
}

// round asks trackers in order, those whose time has come, until one works.
func (s *Session) round(ctx context.Context) {
	for _, u := range s.tiers.Order() {
		s.mu.Lock()
		st := s.states[u]
		never, working, wait := st.never, st.working, time.Until(st.next)
		s.mu.Unlock()
		switch {
		case never || wait > 0 && !working:
			continue
		case wait > 0:
			return
		}
		if s.announce(ctx, st) {
			s.tiers.Worked(u)
			s.mu.Lock()
			s.order = s.tiers.Order()
			s.mu.Unlock()
			return
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// announce tells a tracker of the torrent under each of its hashes, and
// whether it answered to any.
func (s *Session) announce(ctx context.Context, st *state) bool {
	var sum Answer
	var answered bool
	var failure error
	port := s.cfg.Port()
	s.leave(ctx, st, port)
	for i := range s.cfg.Hashes {
		a, err := s.announceHash(ctx, st, i)
		if ctx.Err() != nil {
			return false // the end of the session is nobody's failure
		}
		if err == nil {
			answered = true
			sum = merge(sum, a)
			if a.ExternalIP.IsValid() {
				s.cfg.Seen(a.From, a.ExternalIP)
			}
			if len(a.Peers) > 0 {
				s.cfg.Found(a.Peers)
			}
			continue
		}
		failure = err
		if _, refused := errors.AsType[*Refused](err); !refused {
			break // it would not be reached under another hash either
		}
	}
	s.note(st, answered, &sum, failure)
	if answered && port != s.cfg.Port() { // Moved was called meanwhile
		s.again()
	}
	return answered
}

// leave has a tracker forget us by the port of before, for it knows peers by address
// and port. If it does not hear it, it forgets that in time.
func (s *Session) leave(ctx context.Context, st *state, port uint16) {
	s.mu.Lock()
	before := st.port
	st.port = port
	s.mu.Unlock()
	if before == 0 || before == port {
		return
	}
	for i, t := range st.told { // this goroutine alone writes them
		if t == nothing {
			continue
		}
		up, down, left := s.cfg.Stats()
		a := s.announcement(st, i, Stopped, up, down, left)
		a.NumWant, a.Port = 0, before
		_, err := s.cfg.Client.Announce(ctx, st.url, a)
		s.cfg.Log.Debug("left a port at the tracker", "port", before, "error", err)
		s.mu.Lock()
		if ctx.Err() != nil { // the end of the session says goodbye by the port of before
			st.port = before
		} else {
			st.told[i] = nothing
		}
		s.mu.Unlock()
		if _, refused := errors.AsType[*Refused](err); ctx.Err() != nil || err != nil && !refused {
			return // it would not be reached under another hash either
		}
	}
}

// announceHash makes one announce. What the tracker was told is noted before
// it is known to have heard: if the session ends meanwhile, it hears the end.
func (s *Session) announceHash(ctx context.Context, st *state, hash int) (Answer, error) {
	up, down, left := s.cfg.Stats()
	s.mu.Lock()
	complete := s.done
	e := st.event(hash, complete)
	before := st.told[hash]
	if before == nothing {
		st.told[hash] = maybeStarted
	}
	s.mu.Unlock()
	a, err := s.cfg.Client.Announce(ctx, st.url, s.announcement(st, hash, e, up, down, left))
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil && complete:
		st.told[hash] = completed
	case err == nil:
		st.told[hash] = max(before, started)
	case ctx.Err() == nil:
		st.told[hash] = before
	}
	if err == nil && a.TrackerID != "" {
		st.id = a.TrackerID
	}
	return a, err
}

func (s *Session) announcement(st *state, hash int, e Event, up, down, left int64) Announce {
	return Announce{
		InfoHash: s.cfg.Hashes[hash], PeerID: s.cfg.PeerID, Port: st.port,
		Uploaded: up, Downloaded: down, Left: left,
		Event: e, NumWant: s.cfg.NumWant, Key: s.cfg.Key, TrackerID: st.id,
	}
}

// note keeps what came of an announce, and tells the operator of changes.
func (s *Session) note(st *state, answered bool, a *Answer, failure error) {
	_, _, left := s.cfg.Stats()
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	changed := st.working != answered || !answered && st.failures == 0
	if answered {
		st.err = failure // under one hash of two
		st.answered(now, a, left != 0)
		if s.done && st.unheard() { // Completed was called meanwhile
			st.next = now
		}
		if changed {
			s.cfg.Log.Info("tracker answers", "tracker", shownURL(st.url), "peers", st.peers)
		}
		return
	}
	st.failed(now, failure)
	if changed {
		s.cfg.Log.Info("tracker does not help", "error", failure, "again", st.next)
	}
}

// merge adds the answers under two hashes: peers are in either swarm or both.
func merge(a, b Answer) Answer {
	b.Peers = append(a.Peers, b.Peers...)
	b.Interval = max(a.Interval, b.Interval)
	b.MinInterval = max(a.MinInterval, b.MinInterval)
	b.Seeders, b.Leechers = max(a.Seeders, b.Seeders), max(a.Leechers, b.Leechers)
	if b.Warning == "" {
		b.Warning = a.Warning
	}
	if !b.ExternalIP.IsValid() {
		b.ExternalIP = a.ExternalIP
	}
	return b
}

// stop tells the trackers that know us that we leave, all at once.
func (s *Session) stop(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	up, down, left := s.cfg.Stats()
	var wg sync.WaitGroup
	for _, u := range s.tiers.Order() {
		wg.Go(func() {
			st := s.states[u] // round, the only other writer, has returned
			for i, t := range st.told {
				if t == nothing {
					continue
				}
				a := s.announcement(st, i, Stopped, up, down, left)
				a.NumWant = 0
				if _, err := s.cfg.Client.Announce(ctx, u, a); err != nil {
					s.cfg.Log.Debug("tracker was not told of the end", "error", err)
					return
				}
			}
		})
	}
	wg.Wait()
}
