package swarm

import (
	"net/netip"

	"torrente/metainfo"
	"torrente/peerwire"
	"torrente/piece"
)

// Effects is what a Swarm wants done, in the order of the fields: what must be
// known or safe before something else comes first. The slices are valid until
// the next input.
type Effects struct {
	// Metadata was learned and proven: open the files and call Opened.
	Metadata *metainfo.Info
	// Layers are piece layers that were learned and proven, by pieces root.
	Layers []Layer
	// Limits are the message limits of every connection from now on, if set.
	Limits *peerwire.Limits
	// Pays is what payment asks for, in the order of its fields.
	Pays Pays
	// Seen is what peers say that our address is.
	Seen []Sighting
	// Send are messages, in order for each peer.
	Send []Sending
	// Serve are blocks to be read and sent as piece messages. Sent is called
	// for each, when it is on its way to the socket.
	Serve []Serving
	// Hashes are rows of hash trees to be read and sent (BEP 52).
	Hashes []HashServing
	// Verify are blocks to be verified and stored. Verified follows for each.
	Verify []Verification
	// Free are buffers of blocks that nobody wants.
	Free [][]byte
	// Dial are addresses to connect to: Join or Failed follows.
	Dial []netip.AddrPort
	// Drop are connections to close: Leave follows.
	Drop []Dropping
}

// Sighting is what a peer at an address says that ours is (BEP 10, "yourip").
type Sighting struct{ From, Ours netip.Addr }

// Sending is a message for a peer.
type Sending struct {
	Peer    PeerID
	Message peerwire.Message
}

// Serving is a block for a peer. It comes behind the first After messages of
// Send: a choke that follows a block must not overtake it, since without BEP 6
// the peer takes it that the block will not come.
type Serving struct {
	Peer  PeerID
	Block piece.Block
	After int
}

// HashServing is a request for hashes that may be answered.
type HashServing struct {
	Peer  PeerID
	Range peerwire.HashRange
}

// Verification is a block that came. Leaf is its proven hash, if there is one.
type Verification struct {
	Block piece.Block
	Data  []byte
	Leaf  *[32]byte
}

// Layer is a piece layer of BEP 52: the hashes of a file's pieces.
type Layer struct {
	Root [32]byte
	Data []byte
}

// Dropping is a connection to close and why.
type Dropping struct {
	Peer PeerID
	Why  error
}

// reset empties e and keeps its memory.
func (e *Effects) reset() {
	clear(e.Verify) // buffers belong to others now
	clear(e.Free)
	e.Pays.reset()
	*e = Effects{
		Pays:   e.Pays,
		Layers: e.Layers[:0], Seen: e.Seen[:0], Send: e.Send[:0], Serve: e.Serve[:0], Hashes: e.Hashes[:0],
		Verify: e.Verify[:0], Free: e.Free[:0], Dial: e.Dial[:0], Drop: e.Drop[:0],
	}
}
