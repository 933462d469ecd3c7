package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"torrente/internal/throttle"
	"torrente/piece"
	"torrente/piece/store"
	"torrente/swarm"
	"torrente/tracker"
)

// Config is what a Node is made of.
type Config struct {
	// Listener accepts peers; nil: only outgoing connections.
	Listener net.Listener
	// Dial connects to a peer; nil: TCP from any address.
	Dial func(context.Context, netip.AddrPort) (net.Conn, error)
	// Trackers makes announces; nil: none are made.
	Trackers tracker.Announcer
	// Member makes the node able to pay; nil: an ordinary client.
	Member *Membership
	// Now is the clock; nil: the system's.
	Now func() time.Time
	// Say tells the user something in one sentence that needs no answer; nil: it
	// is only logged.
	Say func(sentence string)
	// Seen takes what a peer or a tracker at an address says that ours is; nil:
	// nobody asks.
	Seen func(from, ours netip.Addr)
	// Log is for the operator; nil: nothing is logged.
	Log *slog.Logger
	// Client is our name and version, as other clients show it.
	Client string
	// Blocks bounds the received blocks in memory, 16 KiB each; 0: 1,024.
	Blocks int
}

// Node holds torrents and the connections to their peers.
type Node struct {
	cfg    Config
	id     [20]byte
	blocks *pool       // of received blocks
	held   *store.Room // for blocks that workers hold: a quarter of the pool
	chunks sync.Pool   // of *[chunkSize]byte, for blocks to be written

	ctx   context.Context
	stop  context.CancelFunc
	tasks sync.WaitGroup

	auths    *throttle.Limit // authentications that others begin
	purse    *purse          // nil: an ordinary client
	redeemer *redeemer       // likewise
	external atomic.Uint32   // the port by which others reach us; 0: that on which we listen

	mu       sync.Mutex // guards the following
	torrents map[[20]byte]*Torrent
	lastPeer swarm.PeerID
	guests   []*guest // the oldest first
}

// peerIDPrefix names the client in the peer id, in the style of Azureus.
const peerIDPrefix = "-TR0001-"

// New makes a Node and starts to accept. Close must follow.
func New(cfg Config) *Node {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Dial == nil {
		var d net.Dialer
		cfg.Dial = func(ctx context.Context, a netip.AddrPort) (net.Conn, error) {
			return d.DialContext(ctx, "tcp", a.String())
		}
	}
	if cfg.Seen == nil {
		cfg.Seen = func(netip.Addr, netip.Addr) {}
	}
	if cfg.Blocks == 0 {
		cfg.Blocks = 1024
	}
	n := &Node{
		cfg: cfg, torrents: map[[20]byte]*Torrent{},
		auths:  throttle.New(authEvery, authBurst),
		blocks: newPool(piece.BlockSize, cfg.Blocks), held: store.NewRoom(cfg.Blocks / 4),
	}
	n.chunks.New = func() any { return new([chunkSize]byte) }
	copy(n.id[:], peerIDPrefix)
	rand.Read(n.id[len(peerIDPrefix):])
	n.ctx, n.stop = context.WithCancel(context.Background())
	if cfg.Member != nil {
		n.purse = newPurse(n, cfg.Member)
		n.purse.unread = n.purse.loadBooks(cfg.Now())
		n.redeemer = newRedeemer(n, cfg.Member)
		n.tasks.Go(func() { n.purse.run(n.ctx) })
		n.tasks.Go(func() { n.redeemer.run(n.ctx) })
		n.tasks.Go(func() { newKeeper(n, cfg.Member).run(n.ctx) })
	}
	if cfg.Listener != nil {
		n.tasks.Go(n.accept)
	}
	return n
}

// Port is where we listen; 0: nowhere.
func (n *Node) Port() uint16 {
	if n.cfg.Listener == nil {
		return 0
	}
	a, err := netip.ParseAddrPort(n.cfg.Listener.Addr().String())
	if err != nil {
		return 0
	}
	return a.Port()
}

// External is the port by which others reach us: the one on which we listen, unless
// a router forwards another (Moved).
func (n *Node) External() uint16 {
	if port := uint16(n.external.Load()); port != 0 {
		return port
	}
	return n.Port()
}

// Moved tells by which port others reach us from now on, or that our address is
// another: trackers hear it at once, and peers when they connect. Port 0 is the one on
// which we listen.
func (n *Node) Moved(port uint16) {
	n.external.Store(uint32(port))
	for t := range n.open() {
		t.tell(func(time.Time) { t.swarm.Listens(n.External()) })
		if s := t.session.Load(); s != nil {
			s.Moved()
		}
	}
}

// open are the torrents of now.
func (n *Node) open() map[*Torrent]bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	open := map[*Torrent]bool{}
	for _, t := range n.torrents {
		open[t] = true
	}
	return open
}

// ID is our peer id.
func (n *Node) ID() [20]byte { return n.id }

// Close ends all torrents, saves their state, and waits for everything that
// was started.
func (n *Node) Close() error {
	var errs []error
	for t := range n.open() {
		errs = append(errs, t.Close())
	}
	n.stop()
	if n.cfg.Listener != nil {
		n.cfg.Listener.Close()
	}
	n.tasks.Wait()
	if n.redeemer != nil {
		n.redeemer.atEnd()
	}
	return errors.Join(errs...)
}

// register makes a torrent known under its info-hashes.
func (n *Node) register(t *Torrent) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, h := range t.hashes {
		if n.torrents[h] != nil {
			return fmt.Errorf("%s is already open in this node", t.Name())
		}
	}
	for _, h := range t.hashes {
		n.torrents[h] = t
	}
	return nil
}

// all are the open torrents.
func (n *Node) all() (out []*Torrent) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, t := range n.torrents {
		if !slices.Contains(out, t) { // a hybrid is here twice
			out = append(out, t)
		}
	}
	return out
}

func (n *Node) unregister(t *Torrent) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, h := range t.hashes {
		delete(n.torrents, h)
	}
}

func (n *Node) find(infoHash [20]byte) *Torrent {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.torrents[infoHash]
}

func (n *Node) nextPeer() swarm.PeerID {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lastPeer++
	return n.lastPeer
}

// workers is how many goroutines verify the blocks of one torrent.
func workers() int { return runtime.GOMAXPROCS(0) }
