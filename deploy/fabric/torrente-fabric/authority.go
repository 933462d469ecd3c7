package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
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
	dir  string // where it is kept, with all that it issued; "": nowhere
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
	return &authority{root: root, key: key}, err
}

// keep writes the authority into a folder, and openAuthority reads it.
func (a *authority) keep(dir string) error {
	a.dir = dir
	pkcs8, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		return err
	}
	return errors.Join(
		writePEM(filepath.Join(dir, "ca.pem"), "CERTIFICATE", a.root.Raw),
		writePEM(filepath.Join(dir, "ca.key"), "PRIVATE KEY", pkcs8),
	)
}

func openAuthority(dir string) (*authority, error) {
	root, err := readCertificate(filepath.Join(dir, "ca.pem"))
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "ca.key")
	der, err := readPEM(path)
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	own, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s holds no ECDSA key: make the network anew", path)
	}
	return &authority{root, own, dir}, nil
}

func readCertificate(path string) (*x509.Certificate, error) {
	der, err := readPEM(path)
	if err != nil {
		return nil, err
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// readPEM reads the first block of a file.
func readPEM(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s is no PEM file: name a certificate", path)
	}
	return block.Bytes, nil
}

// pair is a certificate and its key, in DER.
type pair struct{ certificate, key []byte }

// issue makes a key and a certificate of it.
func (a *authority) issue(name, role string) (*pair, error) {
	key, err := identity.NewKey()
	if err != nil {
		return nil, err
	}
	der, err := a.certify(name, role, &key.PublicKey)
	if err != nil {
		return nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	return &pair{der, pkcs8}, err
}

// certify makes a certificate. role is what Fabric reads from the organisational
// unit: client, peer, admin, orderer; a TLS certificate has none, and is for
// this machine.
func (a *authority) certify(name, role string, key crypto.PublicKey) ([]byte, error) {
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
	der, err := x509.CreateCertificate(rand.Reader, t, a.root, key, a.key)
	if err != nil || a.dir == "" {
		return der, err
	}
	return der, writePEM(filepath.Join(a.dir, "issued", name+"-"+number.Text(16)+".pem"), "CERTIFICATE", der)
}

// issuedTo are the certificates that the authority in a folder has issued to a name:
// its own disk may be dead.
func issuedTo(dir, name string) (all []*x509.Certificate, err error) {
	paths, err := filepath.Glob(filepath.Join(dir, "issued", name+"-*.pem"))
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		c, err := readCertificate(path)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

// writePEM writes a file, and the folders to it. One who is killed leaves no part of it.
func writePEM(path, kind string, der []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
