package swarm

import (
	"errors"
	"net/netip"
	"time"

	"torrente/choker"
	"torrente/metainfo"
	"torrente/payment"
	"torrente/peerwire"
	"torrente/piece"
)

// PeerID names a connection; the caller chooses it and never uses it again.
type PeerID uint32

// Config is what a Swarm is made of.
type Config struct {
	// Info is the metadata, or nil: then it is fetched from peers, and Proves
	// tells whether a raw info dictionary is the one that is looked for.
	Info   *metainfo.Info
	Proves func(raw []byte) bool
	// Layers are the piece layers known from the start, by pieces root.
	Layers map[[32]byte][]byte
	// Leaves says that every block of a v2 torrent is judged as it comes, as in
	// torrents that are sold: none is asked for whose leaf hash is unknown.
	Leaves bool
	// Pays says that we may buy and sell: as Account, on Ledger. Floor is how
	// many units are served to strangers before they pay.
	Pays    bool
	Account payment.Account
	Ledger  payment.LedgerID
	Floor   uint64
	// Self is our peer id, to notice a connection to ourselves.
	Self [20]byte
	// Client is our name and version, as other clients show it.
	Client string
	// Port is where we listen, 0 if nowhere.
	Port uint16
	// Slots are the peers served at a time, MaxPeers those connected. When half
	// of those places are taken no address may have more than PerAddress.
	Slots, MaxPeers, PerAddress int
	// Seed decides what is left to chance.
	Seed uint64
}

// Swarm is the state of one torrent. It is used by one goroutine.
type Swarm struct {
	cfg    Config
	info   *metainfo.Info // nil until known
	sold   bool           // its data is paid for
	layout *piece.Layout
	picker *piece.Picker // nil until the files are open
	choker *choker.Choker

	peers map[PeerID]*peer
	order []*peer // by time of Join: what iterates, iterates over this
	book  addressBook
	meta  metadata
	trees trees
	// hashJobs are the hash requests being answered.
	hashJobs int

	contributors byPiece[*contributors]
	// disputed are the units of pieces that were false, by commitment, as long as
	// it is not known by whose fault.
	disputed map[payment.CommitmentID]uint64

	price    payment.Amount // of a unit, by the ledger
	epoch    uint64         // of the price; 0: unknown
	before   payment.Amount // the price of the epoch before
	payTimer time.Time      // of advancePay; zero: nothing is due
	unheard  bool           // the ledger is not heard of

	nextTick  time.Time
	nextChoke time.Time
	stopped   error
	draining  bool // nothing more is asked for
	totals    Totals

	out   Effects
	taken bool
	picks []piece.Block
}

// The errors with which connections are dropped.
var (
	errSelf        = errors.New("connected to ourselves")
	errDuplicate   = errors.New("already connected to this peer")
	errBanned      = errors.New("the address is banned")
	errIdle        = errors.New("idle, while others want its place")
	errCrowded     = errors.New("too many connections")
	errSilent      = errors.New("nothing heard for too long")
	errBothSeeds   = errors.New("both sides have everything")
	errBadBitfield = errors.New("bitfield does not fit the torrent")
	errBadIndex    = errors.New("piece that does not exist")
	errBadRequests = errors.New("too many requests that cannot be served")
	errTooManyAsks = errors.New("more requests queued than we allow")
	errUnasked     = errors.New("too many blocks that were not asked for")
	errFalseData   = errors.New("sent false data")
	errBadMessage  = errors.New("message that cannot be understood")
	errReplaced    = errors.New("the account has a newer connection")
	errStopped     = errors.New("the torrent was stopped")
)

// New makes a Swarm. If cfg.Info is set, Opened is still to tell what is on
// disk.
func New(cfg Config) *Swarm {
	if cfg.Slots == 0 {
		cfg.Slots = 8
	}
	if cfg.MaxPeers == 0 {
		cfg.MaxPeers = 200
	}
	if cfg.PerAddress == 0 {
		cfg.PerAddress = 8
	}
	s := &Swarm{
		cfg: cfg, peers: map[PeerID]*peer{}, contributors: newByPiece[*contributors](), disputed: map[payment.CommitmentID]uint64{},
		choker: choker.New(cfg.Slots, cfg.Seed), book: newAddressBook(),
	}
	if cfg.Info != nil {
		s.adopt(cfg.Info)
	}
	return s
}

// adopt takes metadata that is proven.
func (s *Swarm) adopt(info *metainfo.Info) {
	s.info = info
	s.layout = piece.NewLayout(info)
	s.sold = info.Pay != nil
	s.trees = newTrees(info, s.cfg.Layers, s.cfg.Leaves || s.sold)
}

// open takes what is on disk.
func (s *Swarm) open(have *piece.Bitfield, partial map[int][]int) {
	s.picker = piece.NewPicker(s.layout, have, s.cfg.Seed)
	s.picker.Ready, s.picker.Once = s.trees.ready, s.sold
	s.picker.Alone = s.judgedWhole()
	for i := range s.layout.Pieces() {
		if blocks, ok := partial[i]; ok {
			s.picker.Restored(i, blocks)
		}
	}
}

// Take returns what is to be done since the last Take: nothing twice.
func (s *Swarm) Take() *Effects {
	s.input()
	s.taken = true
	return &s.out
}

// input begins every input: what was taken is forgotten.
func (s *Swarm) input() {
	if s.taken {
		s.out.reset()
		s.taken = false
	}
}

// Opened tells that the files of the metadata are open, and what is on disk.
func (s *Swarm) Opened(now time.Time, have *piece.Bitfield, partial map[int][]int) {
	s.input()
	s.open(have, partial)
	s.out.Limits = &peerwire.Limits{Pieces: s.layout.Pieces()}
	for _, p := range s.snapshot() {
		if err := s.learnPieces(p); err != nil {
			s.drop(p, err)
			continue
		}
		s.announceAll(p)
		s.updateInterest(now, p)
		s.meet(p)
		s.beginLost(p)
		if early := p.buy.early; early != nil && s.sold {
			if err := s.onTerms(now, p, *early); err != nil {
				s.drop(p, err)
			}
		}
	}
	s.trees.advance(s, now)
}

// Found tells addresses of peers.
func (s *Swarm) Found(now time.Time, addrs []netip.AddrPort, from Source) {
	s.input()
	for _, a := range addrs {
		s.book.add(a, from)
	}
	s.dial(now)
}

// Join tells that a connection's handshake is done.
func (s *Swarm) Join(now time.Time, id PeerID, about Peer) {
	s.input()
	p := newPeer(now, id, about)
	s.peers[id] = p
	s.order = append(s.order, p)
	s.book.connected(about.Addr, about.Outgoing)
	if err := s.refuse(now, p); err != nil {
		s.drop(p, err)
		return
	}
	s.greet(now, p)
}

// Leave tells that a connection is gone.
func (s *Swarm) Leave(now time.Time, id PeerID) {
	s.input()
	p := s.peers[id]
	if p == nil {
		return
	}
	delete(s.peers, id)
	s.remove(p)
	s.giveUpAll(p)
	s.part(p)
	if s.picker != nil && p.has != nil {
		s.picker.Left(p.has)
	}
	s.book.left(p.about.Addr, now, p.delivered > 0, p.has != nil && p.has.Full())
	s.trees.giveUp(p)
	s.meta.giveUp(p)
	s.refillAll(now)
	s.dial(now)
}

func (s *Swarm) remove(p *peer) {
	for i, o := range s.order {
		if o == p {
			s.order = append(s.order[:i:i], s.order[i+1:]...)
			return
		}
	}
}

// FailedDial tells that an address did not answer, or not with our torrent.
func (s *Swarm) FailedDial(now time.Time, addr netip.AddrPort) {
	s.input()
	s.book.failed(addr, now)
	s.dial(now)
}

// Stop ends the torrent because of an error that no retry mends: the disk is
// full, or the torrent is false. All connections are dropped.
func (s *Swarm) Stop(why error) {
	s.input()
	s.stop(why)
}

func (s *Swarm) stop(why error) {
	if s.stopped != nil {
		return
	}
	s.stopped = why
	for _, p := range s.snapshot() {
		s.drop(p, errStopped)
	}
}

// Stopped is why the torrent was stopped, or nil.
func (s *Swarm) Stopped() error { return s.stopped }

// snapshot is the list of peers, for loops in which some are dropped.
func (s *Swarm) snapshot() []*peer { return append([]*peer(nil), s.order...) }

func (s *Swarm) send(now time.Time, p *peer, m peerwire.Message) {
	if p.dropped {
		return
	}
	p.lastSent = now
	if Heavy(&m) {
		p.heavy++
	}
	s.out.Send = append(s.out.Send, Sending{p.id, m})
}

// drop asks for a connection to be closed, once.
func (s *Swarm) drop(p *peer, why error) {
	if p.dropped {
		return
	}
	p.dropped = true
	s.giveUpAll(p)
	s.part(p)
	s.out.Drop = append(s.out.Drop, Dropping{p.id, why})
}
