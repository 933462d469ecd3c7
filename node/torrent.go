package node

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"torrente/identity"
	"torrente/metainfo"
	"torrente/payment"
	"torrente/payment/wallet"
	"torrente/peerwire"
	"torrente/piece"
	"torrente/piece/store"
	"torrente/swarm"
	"torrente/tracker"
)

// Options is what a torrent is opened with.
type Options struct {
	// Torrent is a torrent file; without it Magnet names what to fetch.
	Torrent *metainfo.Torrent
	Magnet  *metainfo.Magnet
	// Dir is the folder below which the files are.
	Dir string
	// Resume is the path of the resume record.
	Resume string
	// Consent is what the user agreed to pay for this torrent.
	Consent Consent
	// AskFirst keeps coins from being frozen before Allow has said how many may
	// be: what a link costs is known when its metadata is.
	AskFirst bool
	// Plain keeps all payment out: an ordinary client.
	Plain bool
	// SeedOnly opens files for reading alone.
	SeedOnly bool
	// Peers are dialled at once and again.
	Peers []netip.AddrPort
}

// Torrent is an open torrent.
type Torrent struct {
	node   *Node
	opt    Options
	hashes [][20]byte // under which peers know it; the first is the one we use
	mail   *mailbox
	store  atomic.Pointer[store.Store] // nil until the metadata is known

	// complete is closed when all pieces are verified, settled when sellers
	// have closed besides, ended when the torrent has stopped.
	complete, settled, opened, ended chan struct{}
	drained                          chan struct{} // closed when nothing bought is on its way any more
	allowed                          chan struct{} // closed when opt.Consent is the user's
	cancel                           context.CancelFunc
	ctx                              context.Context
	tasks                            sync.WaitGroup // dials, checks and saves
	workers                          sync.WaitGroup
	loopDone                         chan struct{}

	// What follows belongs to the loop.
	swarm     *swarm.Swarm
	conns     map[swarm.PeerID]*conn
	touched   []*conn // to be flushed after the drain
	newcomers []newcomer
	limits    peerwire.Limits
	intakes   intakes
	hashJobs  chan swarm.HashServing
	checking  atomic.Pointer[Checking]
	last      atomic.Pointer[swarm.Status] // of the last second
	session   atomic.Pointer[tracker.Session]
	shortage  atomic.Pointer[error]             // why no cap was raised, the last time
	trouble   atomic.Pointer[error]             // why nothing was bought, the last time
	refusal   atomic.Pointer[*identity.Refused] // the last
	saved     savedState
	learned   map[[32]byte][]byte // piece layers that peers told and that are saved
	unsaved   bool                // learned has more than the file
	// unrecorded are pieces that came just before the last run was killed.
	unrecorded *piece.Bitfield
	// answers are what is told to the Swarm after the effects at hand.
	answers []func(now time.Time)
	links   []wallet.Paid // what record works with
	damaged atomic.Bool   // the disk failed: what was verified may be lost

	mu     sync.Mutex // guards the following
	err    error
	info   *metainfo.Info
	closes []payment.SignedClose // that sellers signed, to be filed

	attributing sync.Mutex // each unit is attributed once
}

// newcomer is a connection whose greeting is not in its outbox yet. Its reader
// waits: what it answers must come behind the greeting.
type newcomer struct {
	conn    *conn
	greeted chan struct{}
}

// Checking is how far the check of files on disk is.
type Checking struct{ Done, Pieces int }

// Add opens a torrent and starts it.
func (n *Node) Add(opt Options) (*Torrent, error) {
	t := &Torrent{
		node: n, opt: opt, mail: newMailbox(), conns: map[swarm.PeerID]*conn{},
		hashJobs: make(chan swarm.HashServing, swarm.MaxHashJobs),
		complete: make(chan struct{}), settled: make(chan struct{}), drained: make(chan struct{}), opened: make(chan struct{}), ended: make(chan struct{}), allowed: make(chan struct{}), loopDone: make(chan struct{}),
	}
	t.ctx, t.cancel = context.WithCancel(n.ctx)
	if !opt.AskFirst {
		close(t.allowed)
	}
	if opt.Torrent != nil {
		t.info = opt.Torrent.Info
		t.hashes = infoHashes(t.info)
	} else {
		t.hashes = magnetHashes(opt.Magnet)
	}
	if len(t.hashes) == 0 {
		t.cancel()
		return nil, errors.New("the link names no torrent: it has neither btih nor btmh")
	}
	if err := n.register(t); err != nil {
		t.cancel()
		return nil, err
	}
	t.swarm = swarm.New(t.swarmConfig())
	go t.loop()
	return t, nil
}

func (t *Torrent) swarmConfig() swarm.Config {
	c := swarm.Config{Self: t.node.id, Client: t.node.cfg.Client, Port: t.node.External(), Seed: rand.Uint64()}
	if t.opt.Torrent != nil {
		c.Info, c.Layers = t.opt.Torrent.Info, t.opt.Torrent.Layers
	} else {
		c.Proves = proves(t.opt.Magnet)
	}
	if p := t.node.purse; p != nil && t.pays() {
		c.Pays, c.Account, c.Ledger, c.Floor = true, p.account, p.ledger.ID(), p.member.Floor
	}
	return c
}

// proves tells whether a raw info dictionary is the one that a link names, by
// every hash that the link has; nothing is parsed before.
func proves(m *metainfo.Magnet) func([]byte) bool {
	return func(raw []byte) bool {
		return (m.V1 == nil || sha1.Sum(raw) == *m.V1) && (m.V2 == nil || sha256.Sum256(raw) == *m.V2)
	}
}

// infoHashes are the hashes of handshakes: v1, and v2 cut to 20 bytes.
func infoHashes(info *metainfo.Info) (out [][20]byte) {
	if info.HasV1 {
		out = append(out, info.HashV1())
	}
	if info.HasV2 {
		h := info.HashV2()
		out = append(out, [20]byte(h[:20]))
	}
	return out
}

func magnetHashes(m *metainfo.Magnet) (out [][20]byte) {
	if m.V1 != nil {
		out = append(out, *m.V1)
	}
	if m.V2 != nil {
		out = append(out, [20]byte(m.V2[:20]))
	}
	return out
}

func (t *Torrent) isHash(h [20]byte) bool {
	for _, x := range t.hashes {
		if x == h {
			return true
		}
	}
	return false
}

// isV2Hash tells the v2 hash, cut to 20 bytes, from the v1 hash.
func (t *Torrent) isV2Hash(h [20]byte) bool {
	if info := t.Info(); info != nil && info.HasV2 {
		v2 := info.HashV2()
		return h == [20]byte(v2[:20])
	}
	return t.opt.Magnet != nil && t.opt.Magnet.V2 != nil && h == [20]byte(t.opt.Magnet.V2[:20])
}

// handshake is what we say first.
func (t *Torrent) handshake(infoHash [20]byte) peerwire.Handshake {
	h := peerwire.Handshake{InfoHash: infoHash, PeerID: t.node.id}
	h.Set(peerwire.FeatureExtended)
	h.Set(peerwire.FeatureFast)
	if t.speaksV2() {
		h.Set(peerwire.FeatureV2)
	}
	return h
}

// speaksV2 tells whether the torrent has a v2 part, as far as known. libtorrent
// closes connections that claim v2 for a torrent without one.
func (t *Torrent) speaksV2() bool {
	if info := t.Info(); info != nil {
		return info.HasV2
	}
	return t.opt.Magnet.V2 != nil
}

// pays reports whether we may speak of payment: as members, about torrents
// that are sold on a ledger of ours, or might be.
func (t *Torrent) pays() bool { return len(t.payLedgers()) > 0 }

// payLedgers are the ledgers that we may pay on for this torrent.
func (t *Torrent) payLedgers() [][8]byte {
	m := t.node.cfg.Member
	if m == nil || t.opt.Plain {
		return nil
	}
	ours := m.Ledger.ID().Short()
	if info := t.Info(); info != nil && (info.Pay == nil || info.Pay.Ledger != ours) {
		return nil
	}
	return [][8]byte{ours}
}

// Refusal is the last reason for which a peer refused our identity, or nil.
func (t *Torrent) Refusal() error {
	if r := t.refusal.Load(); r != nil {
		return *r
	}
	return nil
}

// answerHash is the info-hash with which we answer: a peer that came with the
// v1 hash of a hybrid and understands v2 is answered with the v2 hash, which
// moves the connection to v2 (BEP 52 "upgrade path").
func (t *Torrent) answerHash(theirs *peerwire.Handshake) [20]byte {
	if len(t.hashes) == 2 && theirs.Has(peerwire.FeatureV2) {
		return t.hashes[1]
	}
	return theirs.InfoHash
}

// Name is the torrent's name, as far as known.
func (t *Torrent) Name() string {
	if info := t.Info(); info != nil {
		return info.Name
	}
	if t.opt.Magnet.Name != "" {
		return t.opt.Magnet.Name
	}
	return fmt.Sprintf("%x", t.hashes[0])
}

// Info is the metadata; nil while it is unknown.
func (t *Torrent) Info() *metainfo.Info {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.info
}

// Complete is closed when all pieces are verified.
func (t *Torrent) Complete() <-chan struct{} { return t.complete }

// Opened is closed when the files are open and checked.
func (t *Torrent) Opened() <-chan struct{} { return t.opened }

// Ended is closed when the torrent has stopped; Err says why.
func (t *Torrent) Ended() <-chan struct{} { return t.ended }

// Err is the error that stopped the torrent.
func (t *Torrent) Err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// Checking is how far the check of files on disk is; nil when none runs.
func (t *Torrent) Checking() *Checking { return t.checking.Load() }

// Found adds addresses of peers.
func (t *Torrent) Found(addrs []netip.AddrPort, from swarm.Source) {
	t.tell(func(now time.Time) { t.swarm.Found(now, addrs, from) })
}

// Status tells where things stand; after the end, where they stood.
func (t *Torrent) Status() swarm.Status {
	fresh := make(chan swarm.Status, 1)
	if t.tell(func(time.Time) { fresh <- t.swarm.Status() }) {
		select {
		case st := <-fresh:
			return st
		case <-t.ctx.Done():
		}
	}
	if st := t.last.Load(); st != nil {
		return *st
	}
	return swarm.Status{}
}

// tell runs f in the loop.
func (t *Torrent) tell(f func(now time.Time)) bool {
	return t.mail.post(event{kind: call, do: func() { f(t.node.cfg.Now()) }})
}

// fail stops the torrent because of an error that no retry mends.
func (t *Torrent) fail(err error) {
	t.tell(func(time.Time) {
		t.setErr(err)
		t.swarm.Stop(err)
	})
}

func (t *Torrent) setErr(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err == nil {
		t.err = err
	}
}

// run is a connection's life, from handshake to end.
func (t *Torrent) run(c net.Conn, m meeting) {
	id := t.node.nextPeer()
	var cn *conn
	joined := make(chan struct{})
	ok := t.tell(func(now time.Time) {
		cn = newConn(c, id, t, t.limits)
		if m.peer.Pay {
			cn.secure = newSecure(cn, &m, t.payLedgers())
		}
		t.newcomers = append(t.newcomers, newcomer{cn, joined})
		t.conns[id] = cn
		t.swarm.Join(now, id, m.peer)
	})
	if ok {
		select {
		case <-joined:
		case <-t.ctx.Done(): // the loop may still take it in; shutdown closes it then
			c.Close()
			return
		}
	}
	if cn == nil {
		c.Close()
		return
	}
	t.converse(cn)
}

// converse runs reader and writer until one of them ends.
func (t *Torrent) converse(cn *conn) {
	var readErr, writeErr error
	var writer sync.WaitGroup
	writer.Go(func() {
		writeErr = cn.write()
		cn.close()
	})
	if cn.secure != nil {
		cn.secure.begin()
		defer cn.secure.end()
	}
	readErr = cn.read()
	if r, refused := errors.AsType[*identity.Refused](readErr); refused {
		t.refusal.Store(&r)
	}
	cn.closeAfter()
	writer.Wait()
	t.node.cfg.Log.Debug("connection ended", "peer", cn.net.RemoteAddr(), "read", readErr, "write", writeErr)
	if !t.tell(func(now time.Time) { t.parted(now, cn) }) {
		t.forgetOffer(cn)
	}
}

// parted takes leave of a connection that has ended.
func (t *Torrent) parted(now time.Time, cn *conn) {
	delete(t.conns, cn.id)
	t.swarm.Leave(now, cn.id)
	t.forgetOffer(cn)
}

// dial opens a connection that the swarm asked for.
func (t *Torrent) dial(addr netip.AddrPort) {
	ctx, cancel := context.WithTimeout(t.ctx, handshakeTime)
	defer cancel()
	c, err := t.node.cfg.Dial(ctx, addr)
	var m meeting
	if err == nil {
		m, err = t.greet(c)
	}
	if err != nil {
		if c != nil {
			c.Close()
		}
		t.node.cfg.Log.Debug("dial", "peer", addr, "err", err)
		t.tell(func(now time.Time) { t.swarm.FailedDial(now, addr) })
		return
	}
	m.peer.Addr = addr // as it was found, so that it is known again
	t.run(c, m)
}

// drainTime is how long a torrent that is closed waits for what was bought and
// is on its way.
const drainTime = 2 * time.Second

// Close stops the torrent, saves its state and closes its files. What sellers
// have sent is taken in and paid first: lost, it would be our debt. The error is
// that of saving; what stopped the torrent before is told by Err.
func (t *Torrent) Close() error {
	if t.tell(func(now time.Time) { t.swarm.Drain(now) }) {
		timer := time.NewTimer(drainTime)
		defer timer.Stop()
		select {
		case <-t.drained:
		case <-timer.C:
		case <-t.loopDone:
		}
	}
	t.cancel()
	<-t.loopDone
	return t.saved.err
}
