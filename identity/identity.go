package identity

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"time"
)

// Identity is a node's own key with the certificate chain that a federation
// issued for it. It does not change; after a renewal a new one is loaded.
type Identity struct {
	key       *ecdsa.PrivateKey
	chain     []*x509.Certificate
	principal Principal
}

// New joins a key and its chain, leaf first. Errors are ErrMismatch if the
// leaf is not of this key, ErrMalformed and ErrKeyType. It asks no federation
// whether the chain is good: Trust.Verify does.
func New(key *ecdsa.PrivateKey, chain []*x509.Certificate) (*Identity, error) {
	// The bounds are those of the other side, which will refuse a longer one.
	raw := make([][]byte, len(chain))
	for i, c := range chain {
		raw[i] = c.Raw
	}
	chain, err := parseChain(raw)
	if err != nil {
		return nil, err
	}
	p, err := principalOf(chain[0])
	if err != nil {
		return nil, err
	}
	if !key.PublicKey.Equal(chain[0].PublicKey) {
		return nil, ErrMismatch
	}
	return &Identity{key, chain, p}, nil
}

// Load reads a sealed key and the PEM file of its chain.
func Load(keyPath, certificatePath string, password []byte) (*Identity, error) {
	// The certificate comes first: a missing one is told before the second
	// that the password takes.
	chain, err := ReadCertificateFile(certificatePath)
	if err != nil {
		return nil, err
	}
	key, err := ReadKeyFile(keyPath, password)
	if err != nil {
		return nil, err
	}
	id, err := New(key, chain)
	if err != nil {
		return nil, fmt.Errorf("%s and %s: %w", keyPath, certificatePath, err)
	}
	return id, nil
}

// Principal returns whom the ledger knows this node as.
func (id *Identity) Principal() Principal { return id.principal }

// Key returns the private key, for signatures of commitments and transactions.
func (id *Identity) Key() *ecdsa.PrivateKey { return id.key }

// Leaf returns the node's own certificate.
func (id *Identity) Leaf() *x509.Certificate { return id.chain[0] }

// Name returns the member's name in its federation.
func (id *Identity) Name() string { return id.Leaf().Subject.CommonName }

// Chain returns the DER certificates, leaf first.
func (id *Identity) Chain() [][]byte {
	raw := make([][]byte, len(id.chain))
	for i, c := range id.chain {
		raw[i] = c.Raw
	}
	return raw
}

// NotAfter returns when the certificate expires.
func (id *Identity) NotAfter() time.Time { return id.Leaf().NotAfter }

// RenewAt returns from when on the node asks for the next certificate.
func (id *Identity) RenewAt() time.Time { return RenewAt(id.Leaf()) }

// TLS returns key and chain as crypto/tls takes them.
func (id *Identity) TLS() tls.Certificate {
	return tls.Certificate{Certificate: id.Chain(), PrivateKey: id.key, Leaf: id.Leaf()}
}
