package payment

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/binary"
	"errors"

	"golang.org/x/crypto/cryptobyte"
)

// closeTag opens the bytes of a close that are signed.
const closeTag = "TRNTCLS1"

// closeBytes is the length of what is signed: tag 8, ledger 32, commitment 32,
// final u32.
const closeBytes = 76

// maxSPKIBytes is more than any P-256 key takes (91).
const maxSPKIBytes = 256

// ErrClose means that bytes are no signed close.
var ErrClose = errors.New("not a valid close")

// Close is the receiver's last word on a commitment (section 5): it will count
// and redeem no link beyond Final, so the payer may have the rest of the cap
// back at once.
type Close struct {
	Ledger     LedgerID
	Commitment CommitmentID
	Final      uint32 // index of the last link; 0 if none
}

// SignedClose is a close as it travels in pay_close (B9) and in ReleaseMany,
// with the receiver's organisation and key, so that the payer can have it
// checked by a ledger that knows accounts only:
//
//	MSP length u8 | MSP | SPKI length u16 | SPKI | ledger 32 | commitment 32 |
//	final u32 | signature 64
type SignedClose struct {
	Close
	MSP       string
	SPKI      []byte
	Signature Signature
}

// Digest returns SHA-256 of the 76 bytes that are signed.
func (c Close) Digest() [32]byte {
	b := append(make([]byte, 0, closeBytes), closeTag...)
	b = append(b, c.Ledger[:]...)
	b = append(b, c.Commitment[:]...)
	return sha256.Sum256(binary.BigEndian.AppendUint32(b, c.Final))
}

// Sign signs the close with the receiver's key, which is spki in the
// organisation msp.
func (c Close) Sign(key *ecdsa.PrivateKey, msp string, spki []byte) (SignedClose, error) {
	sig, err := Sign(key, c.Digest())
	return SignedClose{c, msp, spki, sig}, err
}

// Verify checks that the receiver signed the close. The errors are ErrSigner,
// ErrKey and ErrSignature.
func (s *SignedClose) Verify(receiver Account) error {
	return verifyBy(receiver, s.MSP, s.SPKI, s.Signature, s.Digest())
}

// Append adds the close to b. It panics if MSP or SPKI are longer than any
// that ParseSignedClose accepts.
func (s *SignedClose) Append(b []byte) []byte {
	if len(s.MSP) > maxMSPBytes || len(s.SPKI) > maxSPKIBytes {
		panic("payment: close with an impossible organisation or key")
	}
	b = append(b, byte(len(s.MSP)))
	b = append(b, s.MSP...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(s.SPKI)))
	b = append(b, s.SPKI...)
	b = append(b, s.Ledger[:]...)
	b = append(b, s.Commitment[:]...)
	b = binary.BigEndian.AppendUint32(b, s.Final)
	return append(b, s.Signature[:]...)
}

// ParseSignedClose reads a close that fills b, without verifying it. The error
// is ErrClose.
func ParseSignedClose(b []byte) (*SignedClose, error) {
	in := cryptobyte.String(b)
	s, ok := ReadSignedClose(&in)
	if !ok || !in.Empty() {
		return nil, ErrClose
	}
	return s, nil
}

// ReadSignedClose cuts a close from the front of in. It copies what it keeps.
func ReadSignedClose(in *cryptobyte.String) (*SignedClose, bool) {
	var s SignedClose
	var msp, spki cryptobyte.String
	ok := in.ReadUint8LengthPrefixed(&msp) && in.ReadUint16LengthPrefixed(&spki) &&
		len(spki) <= maxSPKIBytes &&
		in.CopyBytes(s.Ledger[:]) && in.CopyBytes(s.Commitment[:]) &&
		in.ReadUint32(&s.Final) && s.Final <= MaxLinks && in.CopyBytes(s.Signature[:])
	if !ok {
		return nil, false
	}
	s.MSP, s.SPKI = string(msp), append([]byte(nil), spki...)
	return &s, true
}
