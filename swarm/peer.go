package swarm

import (
	"net/netip"
	"time"

	"torrente/payment"
	"torrente/peerwire"
	"torrente/piece"
)

// Peer is what the handshake told of a connection.
type Peer struct {
	Addr     netip.AddrPort
	ID       [20]byte
	Outgoing bool // we dialled
	Extended bool // BEP 10
	Fast     bool // BEP 6
	V2       bool // BEP 52
	Pay      bool // both set their payment bit
}

// peer is a connection.
type peer struct {
	id      PeerID
	about   Peer
	joined  time.Time
	dropped bool // asked to be closed: nothing more is sent or heard

	lastHeard, lastSent time.Time

	// What it has. Before the metadata is known, early holds what it said.
	has   *piece.Bitfield
	early earlyPieces
	// untold is what we have not told it one by one, from piece toldTo on.
	untold *piece.Bitfield
	toldTo int
	lacks  int // pieces that it has and we lack: 0 makes us not interested

	// The four flags of BEP 3.
	choking, interested   bool // it us
	weChoke, weInterested bool // we it
	chokeChanged          time.Time
	snubbing              bool // asked and silent

	// Downloading.
	asked     queue[piece.Block] // blocks asked for, in order
	depth     int                // how many to keep asked
	delivered int64              // bytes of blocks that were asked for
	unwanted  int                // blocks that were not
	since     time.Time
	down      meter

	// Uploading.
	queue   queue[piece.Block] // blocks it asked for, not yet handed on
	serving int                // blocks handed on and not yet Sent
	refused int                // requests that could not be served
	given   int64              // bytes of blocks on their way to it
	up      meter

	ext extensions

	account payment.Account // zero until authenticated
	doubted bool            // no ledger is heard of, and its commitments end soon
	sale    sale            // what it buys of us
	buy     purchase        // what we buy of it

	// replies are requests for metadata and hashes that wait for their turn,
	// reading the rows of hashes being read, heavy the messages being written.
	replies        []reply
	reading, heavy int
	idleAsks       int // hash requests that were refused; they are forgiven in time

	// Hash requests (BEP 52).
	hashesAsked   []*want
	refusedHashes int       // in a row
	askHashes     time.Time // not before
}

// earlyPieces is what a peer said it has before we knew how many there are.
type earlyPieces struct {
	bits  []byte
	all   bool
	haves []uint32
	told  bool // it has our answer already: no bitfield may follow
}

// maxEarlyHaves bounds the have messages kept while metadata is unknown.
const maxEarlyHaves = 4096

// firstDepth is how many blocks are asked of a new peer at once.
const firstDepth = 16

func newPeer(now time.Time, id PeerID, about Peer) *peer {
	return &peer{
		id: id, about: about, joined: now, lastHeard: now, lastSent: now,
		choking: true, weChoke: true, chokeChanged: now, depth: firstDepth,
		ext: extensions{reqq: defaultReqq},
	}
}

// queue is first in, first out, and any can be taken from it. It keeps its
// memory.
type queue[T comparable] struct {
	list []T
	head int
}

func (r *queue[T]) len() int { return len(r.list) - r.head }

// all are those in the queue; valid until the next change.
func (r *queue[T]) all() []T { return r.list[r.head:] }

func (r *queue[T]) push(b T) {
	if r.head > 0 && len(r.list) == cap(r.list) {
		n := copy(r.list, r.list[r.head:])
		r.list, r.head = r.list[:n], 0
	}
	r.list = append(r.list, b)
}

// front is the one that pop takes next.
func (r *queue[T]) front() T { return r.list[r.head] }

func (r *queue[T]) pop() T {
	b := r.list[r.head]
	if r.head++; r.head == len(r.list) {
		r.list, r.head = r.list[:0], 0
	}
	return b
}

// take removes b and reports whether it was there. Answers come nearly in
// order, so the search is short.
func (r *queue[T]) take(b T) bool {
	for i := r.head; i < len(r.list); i++ {
		if r.list[i] == b {
			copy(r.list[r.head+1:i+1], r.list[r.head:i])
			r.pop()
			return true
		}
	}
	return false
}

func (r *queue[T]) has(b T) bool {
	for _, x := range r.list[r.head:] {
		if x == b {
			return true
		}
	}
	return false
}

// meter is a rate in bytes a second, averaged over some seconds.
type meter struct {
	sum  int64 // since the last tick
	rate float64
}

func (m *meter) add(n int) { m.sum += int64(n) }

// tick is called every second or so.
func (m *meter) tick(elapsed time.Duration) {
	if s := elapsed.Seconds(); s > 0 {
		m.rate += (float64(m.sum)/s - m.rate) / 4
		m.sum = 0
	}
	if m.rate < 1 {
		m.rate = 0
	}
}

// blockOf reads the block that a request, cancel, reject or piece names.
func blockOf(m *peerwire.Message) piece.Block {
	return piece.Block{Piece: m.Index, Begin: m.Begin, Length: m.Length}
}
