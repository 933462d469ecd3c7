package main

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"torrente/identity"
)

// How long certificates are good for: such a network is no older than a test.
const (
	rootLifetime = 10 * 365 * 24 * time.Hour
	leafLifetime = 365 * 24 * time.Hour
)

// authority issues an organisation's certificates, of Fabric identities or of
// TLS.
type authority struct {
	root *x509.Certificate
	key  *ecdsa.PrivateKey
}

func serial() (*big.Int, error) { return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)) }

// newAuthority makes a root. CRLSign is for revocations in the channel's
// configuration.
func newAuthority(name string) (*authority, error) {
	key, err := identity.NewKey()
	if err != nil {
		return nil, err
	}
	number, err := serial()
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber: number, Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-5 * time.Minute), NotAfter: time.Now().Add(rootLifetime),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
		IsCA:     true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	root, err := x509.ParseCertificate(der)
	return &authority{root, key}, err
}

// pair is a certificate and its key, in DER.
type pair struct{ certificate, key []byte }

// issue makes a certificate. role is what Fabric reads from the organisational
// unit: client, peer, admin, orderer; a TLS certificate has none, and is for
// this machine.
func (a *authority) issue(name, role string) (*pair, error) {
	key, err := identity.NewKey()
	if err != nil {
		return nil, err
	}
	number, err := serial()
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber: number, Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-5 * time.Minute), NotAfter: time.Now().Add(leafLifetime), KeyUsage: x509.KeyUsageDigitalSignature,
	}
	if role != "" {
		t.Subject.OrganizationalUnit = []string{role}
	} else {
		t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
		t.DNSNames, t.IPAddresses = []string{name, "localhost"}, []net.IP{net.IPv4(127, 0, 0, 1)}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, a.root, &key.PublicKey, a.key)
	if err != nil {
		return nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	return &pair{der, pkcs8}, err
}

// writePEM writes a file, and the folders to it.
func writePEM(path, kind string, der []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
