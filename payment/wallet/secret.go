package wallet

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"fmt"

	"torrente/payment"
)

const (
	secretBytes = 32
	keyLabel    = "torrente wallet 1"
	chainLabel  = "torrente chain 1 " // + chain id 12
	sealLabel   = "TRNTWAL1"          // + account 32 | ledger 32
)

// DeriveKey returns the key that the secret of an identity's wallet is sealed
// with: HKDF-SHA-256 of the private key, without salt, info "torrente wallet 1".
// It saves the wallet a password and a key derivation of its own: who can sign
// for the account can make its chains, and nobody else.
func DeriveKey(priv *ecdsa.PrivateKey) ([32]byte, error) {
	raw, err := priv.Bytes()
	if err != nil {
		return [32]byte{}, fmt.Errorf("derive the wallet's key: %w", err)
	}
	return expand(raw, keyLabel)
}

func expand(secret []byte, info string) ([32]byte, error) {
	b, err := hkdf.Key(sha256.New, secret, nil, info, 32)
	if err != nil {
		return [32]byte{}, err // under a FIPS policy that refuses the key
	}
	return [32]byte(b), nil
}

// Seed returns the seed of one chain of this account. It is HKDF-SHA-256 of the
// wallet's secret, info "torrente chain 1 " and the chain id: no seed is stored,
// and none tells another.
func (w *Wallet) Seed(chain payment.ChainID) (payment.Seed, error) {
	return expand(w.secret[:], chainLabel+string(chain[:]))
}

// newSecret returns a random secret, sealed: nonce 12 | ciphertext 32 | tag 16.
func newSecret(config *Config) ([]byte, error) {
	seal, err := sealer(config)
	if err != nil {
		return nil, err
	}
	var secret [secretBytes]byte
	_, _ = rand.Read(secret[:]) // never fails
	return seal.Seal(nil, nil, secret[:], sealed(config)), nil
}

func openSecret(config *Config, box []byte) (secret [secretBytes]byte, err error) {
	seal, err := sealer(config)
	if err != nil {
		return secret, err
	}
	plain, err := seal.Open(nil, nil, box, sealed(config))
	if err != nil || len(plain) != secretBytes {
		return secret, ErrKey
	}
	return [secretBytes]byte(plain), nil
}

func sealer(config *Config) (cipher.AEAD, error) {
	block, err := aes.NewCipher(config.Key[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// sealed is what the seal is bound to besides the key.
func sealed(config *Config) []byte {
	b := append([]byte(sealLabel), config.Account[:]...)
	return append(b, config.Ledger[:]...)
}
