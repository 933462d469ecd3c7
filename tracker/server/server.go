package server

import (
	"cmp"
	"container/list"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// Config is how a Server answers. The zero Config is usable.
type Config struct {
	Interval    time.Duration // between a peer's announces, at most; default 30 min; a peer is forgotten after two
	MinInterval time.Duration // default 1 min, at most Interval; told, not enforced
	Torrents    int           // the most torrents; default 10,000
	Peers       int           // the most peers of a torrent; default 2,000
	PerAddress  int           // the most entries of one IPv4 address or IPv6 /64, over all torrents; default 1,000
	// Allow, if given, refuses a torrent, or a peer to a torrent, with the
	// sentence that the peer's user shall read. It is called for every announce,
	// and for every hash of a scrape, by several goroutines at once.
	Allow func(r *http.Request, infoHash [20]byte) error
	Now   func() time.Time // nil: time.Now
	Seed  uint64           // for the choice of peers
}

// The number of peers in an answer: unless the peer says how many, and at most.
const (
	defaultWant = 50
	maxWant     = 200
)

// Metrics are counts since the server began, and gauges.
type Metrics struct {
	Announces uint64 // answered with peers, or told goodbye
	Scrapes   uint64
	Refused   uint64 // announces and scrapes answered with a failure reason
	Torrents  int
	Seeds     int
	Leechers  int
}

// Server is a tracker. Its paths are /announce and /scrape.
type Server struct {
	cfg Config

	mu      sync.Mutex // guards the following
	reg     registry
	rnd     *rand.Rand
	metrics Metrics // its counts
}

// New makes a Server.
func New(cfg Config) *Server {
	cfg.Interval = cmp.Or(cfg.Interval, 30*time.Minute)
	cfg.MinInterval = min(cmp.Or(cfg.MinInterval, time.Minute), cfg.Interval)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Server{
		cfg: cfg,
		reg: registry{
			torrents: cmp.Or(cfg.Torrents, 10_000), peers: cmp.Or(cfg.Peers, 2_000), perAddress: cmp.Or(cfg.PerAddress, 1_000),
			lifetime: 2 * cfg.Interval,
			swarms:   map[[20]byte]*swarm{}, queue: list.New(), entries: map[netip.Addr]int{},
		},
		rnd: rand.New(rand.NewPCG(cfg.Seed, 3)),
	}
}

// Metrics are the counts and gauges at this moment.
func (s *Server) Metrics() Metrics {
	now := s.cfg.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reg.expire(now)
	m := s.metrics
	m.Torrents = len(s.reg.swarms)
	for _, w := range s.reg.swarms {
		m.Seeds += len(w.seeds)
		m.Leechers += len(w.leechers)
	}
	return m
}

// ServeHTTP answers a request. What a tracker has to say, a failure too, goes
// with status 200 (BEP 3); other statuses are for what is no tracker's request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer := s.announce
	switch r.URL.Path {
	case "/announce":
	case "/scrape":
		answer = s.scrape
	default:
		http.Error(w, "this is a BitTorrent tracker: it answers /announce and /scrape", http.StatusNotFound)
		return
	}
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		http.Error(w, "a tracker is asked with GET", http.StatusMethodNotAllowed)
		return
	}
	body, err := answer(r)
	s.write(w, body, err)
}

// Refuse answers a request that must not be looked at, with the sentence that
// the peer's user shall read.
func (s *Server) Refuse(w http.ResponseWriter, why error) { s.write(w, nil, why) }

// write answers with a body, or the reason for which there is none.
func (s *Server) write(w http.ResponseWriter, body []byte, err error) {
	if err != nil {
		s.mu.Lock()
		s.metrics.Refused++
		s.mu.Unlock()
		body = s.failure(err)
	}
	w.Header().Set("Content-Type", "text/plain")
	_, _ = w.Write(body) // if it does not arrive, the peer asks again
}

func (s *Server) announce(r *http.Request) ([]byte, error) {
	a, err := parseAnnounce(r.URL.RawQuery)
	if err != nil {
		return nil, err
	}
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return nil, errNoAddress
	}
	addr := netip.AddrPortFrom(from.Addr().Unmap().WithZone(""), a.port)
	// Whoever was listed may leave, also when the torrent is refused by now.
	if s.cfg.Allow != nil && a.event != eventStopped {
		if err := s.cfg.Allow(r, a.infoHash); err != nil {
			return nil, err
		}
	}
	return s.record(s.cfg.Now(), addr, &a)
}

// record notes the announce and writes the answer.
func (s *Server) record(now time.Time, addr netip.AddrPort, a *announce) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reg.expire(now)
	out := answer{cfg: &s.cfg, to: addr.Addr(), request: a}
	if a.event == eventStopped {
		s.reg.leave(addr, a.infoHash)
	} else {
		w, err := s.reg.update(now, addr, a)
		if err != nil {
			return nil, err
		}
		out.seeds, out.leechers = len(w.seeds), len(w.leechers)
		out.peers = w.sample(want(a), addr, a.left == 0, s.rnd.IntN)
	}
	s.metrics.Announces++
	return out.encode()
}

// want is how many peers the answer to an announce has at most.
func want(a *announce) int {
	if a.numWant < 0 {
		return defaultWant
	}
	return min(a.numWant, maxWant)
}

// scrape counts the peers of torrents. Torrents that are unknown, and those
// that the asker may not know of, are left out (BEP 48).
func (s *Server) scrape(r *http.Request) ([]byte, error) {
	hashes, err := parseScrape(r.URL.RawQuery)
	if err != nil {
		return nil, err
	}
	var allowed [][20]byte
	for _, h := range hashes {
		if s.cfg.Allow == nil || s.cfg.Allow(r, h) == nil {
			allowed = append(allowed, h)
		}
	}
	now := s.cfg.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reg.expire(now)
	files := map[string]any{}
	for _, h := range allowed {
		if w := s.reg.swarms[h]; w != nil {
			files[string(h[:])] = map[string]any{"complete": len(w.seeds), "incomplete": len(w.leechers), "downloaded": w.completed}
		}
	}
	s.metrics.Scrapes++
	return encodeScrape(files)
}
