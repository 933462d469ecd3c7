package peerwire

import (
	"fmt"

	"torrente/metainfo"
)

// ID is the first byte of a message.
type ID uint8

// The ids of BEP 3, BEP 5, BEP 6, BEP 10 and BEP 52.
const (
	Choke         ID = 0
	Unchoke       ID = 1
	Interested    ID = 2
	NotInterested ID = 3
	Have          ID = 4
	Bitfield      ID = 5
	Request       ID = 6
	Piece         ID = 7
	Cancel        ID = 8
	Port          ID = 9
	Suggest       ID = 13
	HaveAll       ID = 14
	HaveNone      ID = 15
	Reject        ID = 16
	AllowedFast   ID = 17
	Extended      ID = 20
	HashRequest   ID = 21
	Hashes        ID = 22
	HashReject    ID = 23
	// KeepAlive stands for the message of length 0, which has no id on the
	// wire; 0xFF is used by no specification.
	KeepAlive ID = 0xFF
)

// BlockSize is the length of a block in bytes, except at the end of a file or
// torrent: what all clients ask for, and the largest they serve.
const BlockSize = metainfo.BlockLength

// Message is any message of the wire in one concrete struct: an interface
// value for each message would cost an allocation for each block.
//
// Index, Begin and Length are the fields of that name. Data is the block of a
// piece, the bits of a bitfield, the payload of an extended message, or the
// hashes of a hashes message; whoever holds the message owns it. Rare is a
// HashRange for the three hash messages, one of the Pay types for a payment
// message, and nil otherwise. For extended messages Index is the extension id,
// for a port message the port.
type Message struct {
	ID                   ID
	Index, Begin, Length uint32
	Data                 []byte
	Rare                 any
}

// HashRange names a row of a file's merkle tree (BEP 52 "hash request").
type HashRange struct {
	Root   [32]byte // the file's pieces root
	Base   uint32   // layer: 0 is the leaves, one for each block
	Index  uint32   // of the first hash in that layer
	Length uint32   // hashes asked for: a power of two
	Proofs uint32   // layers of uncle hashes that follow
}

var names = map[ID]string{
	Choke: "choke", Unchoke: "unchoke", Interested: "interested", NotInterested: "not interested",
	Have: "have", Bitfield: "bitfield", Request: "request", Piece: "piece", Cancel: "cancel", Port: "port",
	Suggest: "suggest", HaveAll: "have all", HaveNone: "have none", Reject: "reject", AllowedFast: "allowed fast",
	Extended: "extended", HashRequest: "hash request", Hashes: "hashes", HashReject: "hash reject", KeepAlive: "keep-alive",
	PayHelloID: "pay hello", PayAuthID: "pay auth", PayTermsID: "pay terms", PayCommitID: "pay commit",
	PayStatusID: "pay status", PayID: "pay", PayAckID: "pay ack", PayResumeID: "pay resume", PayTopUpID: "pay top-up",
	PayCloseID: "pay close", PayHoldID: "pay hold", PayErrorID: "pay error", PayUnpaidID: "pay unpaid", PaySealedID: "pay sealed",
}

// String is the message's name in its specification.
func (id ID) String() string {
	if n, ok := names[id]; ok {
		return n
	}
	return fmt.Sprintf("id %d", uint8(id))
}

// Of makes a message that is its id alone.
func Of(id ID) Message { return Message{ID: id} }

// HaveMessage announces that a piece is complete.
func HaveMessage(piece uint32) Message { return Message{ID: Have, Index: piece} }

// BlockMessage makes a request, cancel or reject.
func BlockMessage(id ID, piece, begin, length uint32) Message {
	return Message{ID: id, Index: piece, Begin: begin, Length: length}
}

// ExtendedMessage makes a message of BEP 10 with the id that the receiver
// chose for the extension.
func ExtendedMessage(extension uint8, payload []byte) Message {
	return Message{ID: Extended, Index: uint32(extension), Data: payload}
}
