package main

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"testing"
	"time"

	"torrente/identity"
	"torrente/payment"
)

// pki is an organisation's authority for the stream between peer and chaincode.
type pki struct {
	root *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newPKI(t *testing.T) *pki {
	t.Helper()
	key := must[*ecdsa.PrivateKey](t)(identity.NewKey())
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "TLS CA"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der := must[[]byte](t)(x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key))
	return &pki{must[*x509.Certificate](t)(x509.ParseCertificate(der)), key}
}

// pair makes a certificate for 127.0.0.1 and its key, in PEM.
func (p *pki) pair(t *testing.T) (certificate, key []byte) {
	t.Helper()
	own := must[*ecdsa.PrivateKey](t)(identity.NewKey())
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der := must[[]byte](t)(x509.CreateCertificate(rand.Reader, template, p.root, &own.PublicKey, p.key))
	pkcs8 := must[[]byte](t)(x509.MarshalPKCS8PrivateKey(own))
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

// environment is what the chaincode is started with.
func (p *pki) environment(t *testing.T, ledger payment.LedgerID) map[string]string {
	t.Helper()
	dir := t.TempDir()
	certificate, key := p.pair(t)
	text := must[[]byte](t)(ledger.MarshalText())
	return map[string]string{
		"CHAINCODE_ID": "torrente_1:abc", "CHAINCODE_SERVER_ADDRESS": freeAddress(t), "TORRENTE_LEDGER": string(text),
		"CHAINCODE_TLS_KEY": writePEM(t, dir, "key", key), "CHAINCODE_TLS_CERT": writePEM(t, dir, "cert", certificate),
		"CHAINCODE_CLIENT_CA_CERT": writePEM(t, dir, "ca", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.root.Raw})),
	}
}

// client is the peer's side of mutual TLS.
func (p *pki) client(t *testing.T) *tls.Config {
	t.Helper()
	certificate, key := p.pair(t)
	own := must[tls.Certificate](t)(tls.X509KeyPair(certificate, key))
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: poolOf(p.root), Certificates: []tls.Certificate{own}}
}
