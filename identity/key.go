package identity

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
)

// Principal is whom the ledger knows: an organisation's name for itself and a
// public key. It outlives certificates: renewing one keeps the account
// (payment protocol, section 2).
type Principal struct {
	MSP  string // the organisation, 1 to 64 of A-Z a-z 0-9 . - _
	SPKI []byte // the key's SubjectPublicKeyInfo, DER
}

// KeyID is SHA-256 of a SubjectPublicKeyInfo. Revocation names keys by it.
type KeyID [sha256.Size]byte

// KeyID returns the digest by which the principal's key is revoked.
func (p Principal) KeyID() KeyID { return sha256.Sum256(p.SPKI) }

// Equal reports whether both are the same organisation and key.
func (p Principal) Equal(q Principal) bool {
	return p.MSP == q.MSP && bytes.Equal(p.SPKI, q.SPKI)
}

// payloadKey is the first byte of what a key file seals; the key's PKCS#8 DER
// follows. Another kind of secret will take another number.
const payloadKey = 1

// ErrNoKey means that a key file opened, but holds no P-256 private key.
var ErrNoKey = errors.New("the key file holds no P-256 private key: use the one made by enroll")

// NewKey makes a P-256 key. It never leaves this machine but sealed.
func NewKey() (*ecdsa.PrivateKey, error) {
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}

// SealKey is Seal for a private key.
func SealKey(password []byte, key *ecdsa.PrivateKey, cost Cost) ([]byte, error) {
	payload, err := keyPayload(key)
	if err != nil {
		return nil, err
	}
	defer clear(payload)
	return Seal(password, payload, cost)
}

func keyPayload(key *ecdsa.PrivateKey) ([]byte, error) {
	if key == nil || key.Curve != elliptic.P256() {
		return nil, ErrKeyType
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode the private key: %w", err)
	}
	defer clear(der)
	return append([]byte{payloadKey}, der...), nil
}

// OpenKey is Open for a private key. Its errors are those of Open and ErrNoKey.
func OpenKey(password, file []byte) (*ecdsa.PrivateKey, error) {
	payload, err := Open(password, file)
	if err != nil {
		return nil, err
	}
	defer clear(payload)
	if len(payload) < 1 || payload[0] != payloadKey {
		return nil, ErrNoKey
	}
	parsed, err := x509.ParsePKCS8PrivateKey(payload[1:])
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrNoKey, err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, ErrNoKey
	}
	return key, nil
}

// spkiOf returns the one encoding of a P-256 key that counts as an account. A
// key with two encodings would be two accounts, one of them not revoked.
func spkiOf(pub any) ([]byte, error) {
	key, ok := pub.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, ErrKeyType
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrKeyType, err)
	}
	return der, nil
}
