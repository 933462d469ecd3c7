package peerwire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The errors that a peer's bytes can cause. All of them end the connection.
var (
	ErrTooLong   = errors.New("message longer than its kind allows")
	ErrMalformed = errors.New("message of the wrong shape")
	ErrUnknownID = errors.New("message of an unknown kind")
)

// Limits bounds the messages of one torrent. The zero value admits no
// bitfield, as is right until the number of pieces is known.
type Limits struct {
	Pieces int // in the torrent; 0: metadata unknown
}

// Lengths that bodies may have, in bytes, id not counted.
const (
	maxExtended = 1 + 16<<10 + 512 // BEP 9: 16 KiB of metadata after a small dictionary; BEP 10 handshakes are smaller
	hashRange   = 48
	// maxHashes is the most hashes in one message: 512 and 32 layers of proof;
	// BEP 52 lets a receiver refuse requests over 512.
	maxHashes = 512 + 32
	// maxUnknownBitfield admits a bitfield while the metadata is unknown: 64 Mi
	// pieces would be a terabyte of 16 KiB pieces, and 8 MiB on the wire.
	maxUnknownBitfield = 512 << 10
)

// maxBody returns the largest body that a message of this id may have. It is
// asked before the body is read, so that no length prefix costs memory.
func (l Limits) maxBody(id ID) (int, bool) {
	switch id {
	case Choke, Unchoke, Interested, NotInterested, HaveAll, HaveNone:
		return 0, true
	case Port:
		return 2, true
	case Have, Suggest, AllowedFast:
		return 4, true
	case Request, Cancel, Reject:
		return 12, true
	case Piece:
		return 8 + BlockSize, true
	case Bitfield:
		if l.Pieces == 0 {
			return maxUnknownBitfield, true
		}
		return (l.Pieces + 7) / 8, true
	case Extended:
		return maxExtended, true
	case HashRequest, HashReject:
		return hashRange, true
	case Hashes:
		return hashRange + 32*maxHashes, true
	}
	n, known := payLimits[id]
	return n, known
}

// checkLength refuses a body length before a byte of the body is read.
func (l Limits) checkLength(id ID, body int) error {
	most, known := l.maxBody(id)
	switch {
	case !known:
		return fmt.Errorf("%w: %v", ErrUnknownID, id)
	case body > most:
		return fmt.Errorf("%w: %v of %d bytes", ErrTooLong, id, body)
	}
	return nil
}

// Parse reads one message from b, its id and body without the length before
// it. Data of the result is part of b. It fails with ErrTooLong, ErrMalformed
// or ErrUnknownID.
func Parse(b []byte, l Limits) (Message, error) {
	if len(b) == 0 {
		return Message{ID: KeepAlive}, nil
	}
	id, body := ID(b[0]), b[1:]
	if err := l.checkLength(id, len(body)); err != nil {
		return Message{}, err
	}
	m := Message{ID: id}
	if !m.parseBody(body, l) {
		return Message{}, fmt.Errorf("%w: %v of %d bytes", ErrMalformed, id, len(body))
	}
	return m, nil
}

// Cut parses the first of several messages, each with its length before it as on
// the wire, and returns the rest. What it returns may lie in b.
func Cut(b []byte, l Limits) (m Message, rest []byte, err error) {
	if len(b) < 4 || uint64(len(b)-4) < uint64(binary.BigEndian.Uint32(b)) {
		return Message{}, nil, fmt.Errorf("%w: %d bytes that are no message", ErrMalformed, len(b))
	}
	body := b[4:][:binary.BigEndian.Uint32(b)]
	m, err = Parse(body, l)
	return m, b[4+len(body):], err
}

func (m *Message) parseBody(b []byte, l Limits) bool {
	be := binary.BigEndian
	switch m.ID {
	case Choke, Unchoke, Interested, NotInterested, HaveAll, HaveNone:
		return true // checkLength: nothing follows
	case Have, Suggest, AllowedFast:
		if len(b) != 4 {
			return false
		}
		m.Index = be.Uint32(b)
	case Request, Cancel, Reject:
		if len(b) != 12 {
			return false
		}
		m.Index, m.Begin, m.Length = be.Uint32(b), be.Uint32(b[4:]), be.Uint32(b[8:])
	case Piece:
		if len(b) <= 8 {
			return false
		}
		m.Index, m.Begin, m.Data = be.Uint32(b), be.Uint32(b[4:]), b[8:]
		m.Length = uint32(len(m.Data))
	case Bitfield:
		m.Data = b
		return l.Pieces == 0 || len(b) == (l.Pieces+7)/8
	case Port:
		if len(b) != 2 {
			return false
		}
		m.Index = uint32(be.Uint16(b))
	case Extended:
		if len(b) < 1 {
			return false
		}
		m.Index, m.Data = uint32(b[0]), b[1:]
	case HashRequest, HashReject, Hashes:
		return m.parseHashes(b)
	default:
		return m.parsePay(b)
	}
	return true
}

func (m *Message) parseHashes(b []byte) bool {
	be := binary.BigEndian
	if len(b) < hashRange || (len(b)-hashRange)%32 != 0 || m.ID == Hashes && len(b) == hashRange {
		return false
	}
	m.Rare = HashRange{
		Root: [32]byte(b[:32]), Base: be.Uint32(b[32:]), Index: be.Uint32(b[36:]),
		Length: be.Uint32(b[40:]), Proofs: be.Uint32(b[44:]),
	}
	if m.ID == Hashes {
		m.Data = b[hashRange:]
	}
	return true
}
