package payment

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"errors"
	"fmt"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// SignatureBytes is the length of r and s together.
const SignatureBytes = 64

// Signature is an ECDSA signature on P-256: r and s, 32 bytes each, with s in
// the lower half of the group's order, so that a signature cannot be turned
// into a second one for the same bytes.
type Signature [SignatureBytes]byte

var (
	// ErrSignature means that a signature is not by the key it should be by.
	ErrSignature = errors.New("the signature is not by this key")
	// ErrSigner means that the key is not the one of the account.
	ErrSigner = errors.New("the key is not the account's")
	// ErrKey means that a SubjectPublicKeyInfo is not a P-256 key in its one
	// encoding.
	ErrKey = errors.New("not the usual encoding of an ECDSA key on P-256")
)

var halfOrder = new(big.Int).Rsh(elliptic.P256().Params().N, 1)

// Sign signs a SHA-256 digest, as RFC 6979 says, so that the same digest has
// the same signature each time. What is hashed must begin with a tag of its
// own: nothing else separates commitments, closes and transactions.
func Sign(key *ecdsa.PrivateKey, digest [32]byte) (Signature, error) {
	if key.Curve != elliptic.P256() {
		return Signature{}, ErrKey
	}
	der, err := key.Sign(nil, digest[:], crypto.SHA256)
	if err != nil {
		return Signature{}, fmt.Errorf("sign: %w", err)
	}
	var r, s big.Int
	var inner cryptobyte.String
	input := cryptobyte.String(der)
	if !input.ReadASN1(&inner, asn1.SEQUENCE) || !inner.ReadASN1Integer(&r) || !inner.ReadASN1Integer(&s) {
		return Signature{}, errors.New("sign: crypto/ecdsa gave no ASN.1 signature")
	}
	if s.Cmp(halfOrder) > 0 {
		s.Sub(elliptic.P256().Params().N, &s)
	}
	var sig Signature
	r.FillBytes(sig[:32])
	s.FillBytes(sig[32:])
	return sig, nil
}

// Verify reports whether key signed the digest. A signature whose s is in the
// upper half is refused, whoever made it.
func (sig Signature) Verify(key *ecdsa.PublicKey, digest [32]byte) bool {
	r, s := new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])
	return key.Curve == elliptic.P256() && s.Cmp(halfOrder) <= 0 && ecdsa.Verify(key, digest[:], r, s)
}

// ParseKey reads a SubjectPublicKeyInfo (DER) as certificates carry it. A key
// has one encoding, or it would have two accounts. The error is ErrKey.
func ParseKey(spki []byte) (*ecdsa.PublicKey, error) {
	point, ok := bytes.CutPrefix(spki, beforePoint)
	if !ok {
		return nil, ErrKey
	}
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrKey, err)
	}
	return key, nil
}

// beforePoint is what DER has before the uncompressed point of a key on P-256
// (RFC 5480, 2): SEQUENCE of the algorithm, ecPublicKey on secp256r1, and a BIT
// STRING of 65 bytes.
var beforePoint = []byte("\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00")

// verifyBy checks that the key is the account's and that it signed the digest.
func verifyBy(account Account, msp string, spki []byte, sig Signature, digest [32]byte) error {
	if AccountOf(msp, spki) != account {
		return ErrSigner
	}
	key, err := ParseKey(spki)
	if err != nil {
		return err
	}
	if !sig.Verify(key, digest) {
		return ErrSignature
	}
	return nil
}
