package peerwire

import (
	"encoding/binary"
	"fmt"
)

// PieceHeaderSize is the length of a piece message without its block, the u32
// length before it included.
const PieceHeaderSize = 13

// Append appends m to dst as it goes over the wire, the length before it. A
// piece is appended with its data; AppendPieceHeader serves a writer that has
// the block elsewhere. An id that this package does not know is a bug of the
// caller and panics.
func Append(dst []byte, m Message) []byte {
	if m.ID == KeepAlive {
		return append(dst, 0, 0, 0, 0)
	}
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0, byte(m.ID))
	dst = appendBody(dst, m)
	binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start-4))
	return dst
}

// AppendPieceHeader appends the head of a piece message whose block of the
// given length follows on the wire.
func AppendPieceHeader(dst []byte, piece, begin, length uint32) []byte {
	dst = binary.BigEndian.AppendUint32(dst, 9+length)
	dst = append(dst, byte(Piece))
	dst = binary.BigEndian.AppendUint32(dst, piece)
	return binary.BigEndian.AppendUint32(dst, begin)
}

func appendBody(dst []byte, m Message) []byte {
	be := binary.BigEndian
	switch m.ID {
	case Choke, Unchoke, Interested, NotInterested, HaveAll, HaveNone:
		return dst
	case Have, Suggest, AllowedFast:
		return be.AppendUint32(dst, m.Index)
	case Request, Cancel, Reject:
		dst = be.AppendUint32(dst, m.Index)
		dst = be.AppendUint32(dst, m.Begin)
		return be.AppendUint32(dst, m.Length)
	case Piece:
		dst = be.AppendUint32(dst, m.Index)
		dst = be.AppendUint32(dst, m.Begin)
		return append(dst, m.Data...)
	case Bitfield:
		return append(dst, m.Data...)
	case Port:
		return be.AppendUint16(dst, uint16(m.Index))
	case Extended:
		dst = append(dst, byte(m.Index))
		return append(dst, m.Data...)
	case HashRequest, HashReject, Hashes:
		return append(appendHashRange(dst, m.Rare.(HashRange)), m.Data...)
	}
	if _, known := payLimits[m.ID]; known {
		if out, ok := appendPay(dst, &m); ok {
			return out
		}
	}
	panic(fmt.Sprintf("peerwire: append of %v", m.ID))
}

func appendHashRange(dst []byte, h HashRange) []byte {
	be := binary.BigEndian
	dst = append(dst, h.Root[:]...)
	dst = be.AppendUint32(dst, h.Base)
	dst = be.AppendUint32(dst, h.Index)
	dst = be.AppendUint32(dst, h.Length)
	return be.AppendUint32(dst, h.Proofs)
}
