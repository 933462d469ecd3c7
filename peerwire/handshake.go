package peerwire

import (
	"errors"
	"fmt"
	"io"
)

// HandshakeSize is the length of a handshake in bytes (BEP 3).
const HandshakeSize = 68

const protocol = "\x13BitTorrent protocol"

// ErrNotBitTorrent says that a stream does not begin as BEP 3 asks.
var ErrNotBitTorrent = errors.New("not a BitTorrent handshake")

// Handshake is the first thing on the wire in both directions:
// 19 | "BitTorrent protocol" | reserved 8 | info-hash 20 | peer id 20.
type Handshake struct {
	Reserved [8]byte
	InfoHash [20]byte // SHA-1 of info, or the first 20 bytes of its SHA-256 (BEP 52)
	PeerID   [20]byte
}

// Feature is one bit of the reserved bytes.
type Feature struct {
	octet int
	bit   byte
}

// The features that peers tell each other in the handshake. PayOffer is set by
// the initiator, PayAnswer by the responder and only after an offer: no peer
// that did not begin it sees a payment bit.
var (
	FeatureExtended = Feature{5, 0x10} // BEP 10
	FeatureDHT      = Feature{7, 0x01} // BEP 5
	FeatureFast     = Feature{7, 0x04} // BEP 6
	FeatureV2       = Feature{7, 0x10} // BEP 52: a v1 info-hash, yet v2 is understood
	PayOffer        = Feature{4, 0x01}
	PayAnswer       = Feature{4, 0x02}
)

// Has reports whether the feature's bit is set.
func (h *Handshake) Has(f Feature) bool { return h.Reserved[f.octet]&f.bit != 0 }

// Set sets the feature's bit.
func (h *Handshake) Set(f Feature) { h.Reserved[f.octet] |= f.bit }

// Append appends the 68 bytes of h to dst.
func (h *Handshake) Append(dst []byte) []byte {
	dst = append(dst, protocol...)
	dst = append(dst, h.Reserved[:]...)
	dst = append(dst, h.InfoHash[:]...)
	return append(dst, h.PeerID[:]...)
}

// ReadHandshake reads exactly 68 bytes from r. A stream that does not begin
// with the protocol's name is refused after its first 20 bytes.
func ReadHandshake(r io.Reader) (Handshake, error) {
	var b [HandshakeSize]byte
	if _, err := io.ReadFull(r, b[:len(protocol)]); err != nil {
		return Handshake{}, err
	}
	if string(b[:len(protocol)]) != protocol {
		return Handshake{}, fmt.Errorf("%w: it begins with %q", ErrNotBitTorrent, b[:len(protocol)])
	}
	if _, err := io.ReadFull(r, b[len(protocol):]); err != nil {
		return Handshake{}, cut(err)
	}
	return Handshake{
		Reserved: [8]byte(b[20:28]), InfoHash: [20]byte(b[28:48]), PeerID: [20]byte(b[48:68]),
	}, nil
}
