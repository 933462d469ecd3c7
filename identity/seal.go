package identity

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"math"
)

// Keys of a session: 56 bytes of TLS 1.3 exporter output (RFC 8446 7.5) with
// the transcript as context: key and then IV of what the initiator seals, key
// and IV of what the responder seals.
const (
	exporterLabel = "EXPORTER-torrente-pay-1"
	keyBytes      = 16 // AES-128: as strong as X25519 and P-256 are
	ivBytes       = 12
	exporterBytes = 2 * (keyBytes + ivBytes)

	// SealOverhead is how much longer a sealed message is, in bytes.
	SealOverhead = 16
)

// direction is one of the two ways that sealed messages go. The nonce of
// message i, from 0, is the IV with i, big endian, xored into its last eight
// bytes (as RFC 8446 5.3); there is no additional data.
type direction struct {
	aead  cipher.AEAD
	iv    [ivBytes]byte
	nonce [ivBytes]byte // of the current message; here, because it escapes
	next  uint64
}

func newDirection(material []byte) (*direction, error) {
	block, err := aes.NewCipher(material[:keyBytes])
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return &direction{aead: aead, iv: [ivBytes]byte(material[keyBytes:])}, nil
}

// advance makes the nonce of the next message. The last number is never used,
// so that the counter cannot come round to a nonce that was.
func (d *direction) advance() error {
	if d.next == math.MaxUint64 {
		return ErrSpent
	}
	d.nonce = d.iv
	tail := d.nonce[ivBytes-8:]
	binary.BigEndian.PutUint64(tail, binary.BigEndian.Uint64(tail)^d.next)
	d.next++
	return nil
}

// Seal appends the next sealed message to dst and returns it. It allocates
// nothing if dst has room for len(plaintext) + SealOverhead bytes. The two may
// overlap exactly or not at all. Errors: ErrNotDone, ErrSpent.
//
// One goroutine at a time may seal, and one, another if need be, open.
func (s *Session) Seal(dst, plaintext []byte) ([]byte, error) {
	if s.sealing == nil {
		return nil, ErrNotDone
	}
	if err := s.sealing.advance(); err != nil {
		return nil, err
	}
	return s.sealing.aead.Seal(dst, s.sealing.nonce[:], plaintext, nil), nil
}

// Open appends the plaintext of the other side's next message to dst and
// returns it, without allocating if dst has room. A message that does not open
// ends the session: Open returns ErrTampered from then on. The first one that
// opens makes the session authenticated.
func (s *Session) Open(dst, sealed []byte) ([]byte, error) {
	if s.opening == nil {
		return nil, ErrNotDone
	}
	if s.tampered {
		return nil, ErrTampered
	}
	if err := s.opening.advance(); err != nil {
		return nil, err
	}
	plain, err := s.opening.aead.Open(dst, s.opening.nonce[:], sealed, nil)
	if err != nil {
		s.tampered = true
		return nil, fmt.Errorf("%w (message %d)", ErrTampered, s.opening.next-1)
	}
	s.authenticated.Store(true)
	return plain, nil
}
