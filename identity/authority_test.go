package identity

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestIssue(t *testing.T) {
	a := newAuthority(t, "Org1MSP")
	key := newKey(t)
	csr := must[[]byte](t)(NewRequest(key, "somebody else"))
	c := must[*x509.Certificate](t)(a.Issue(csr, "alice", today, 30*day))
	if got := c.Subject; got.CommonName != "alice" || !slices.Equal(got.Organization, []string{"Org1MSP"}) {
		t.Errorf("subject %v", got)
	}
	if !key.PublicKey.Equal(c.PublicKey) || c.IsCA || c.KeyUsage != x509.KeyUsageDigitalSignature {
		t.Errorf("key %v, authority %v, usage %v", c.PublicKey, c.IsCA, c.KeyUsage)
	}
	if !c.NotBefore.Equal(today.Add(-10*time.Minute)) || !c.NotAfter.Equal(today.Add(30*day)) {
		t.Errorf("valid from %s to %s", c.NotBefore, c.NotAfter)
	}
	if c.SerialNumber.Sign() <= 0 || c.SerialNumber.BitLen() < 96 || c.SerialNumber.BitLen() > 129 {
		t.Errorf("serial number %x", c.SerialNumber)
	}
	if d := must[*x509.Certificate](t)(a.Issue(csr, "alice", today, 30*day)); d.SerialNumber.Cmp(c.SerialNumber) == 0 {
		t.Error("two certificates have one serial number")
	}
	if err := c.CheckSignatureFrom(a.Root()); err != nil {
		t.Error(err)
	}
}

func TestIssueEndsWithTheRoot(t *testing.T) {
	a := newAuthority(t, "Org1MSP")
	csr := must[[]byte](t)(NewRequest(newKey(t), "alice"))
	at := today.Add(9 * year)
	c := must[*x509.Certificate](t)(a.Issue(csr, "alice", at, 2*year))
	if !c.NotAfter.Equal(a.Root().NotAfter) {
		t.Errorf("the certificate ends on %s, the root on %s", c.NotAfter, a.Root().NotAfter)
	}
	for at, want := range map[time.Time]error{today.Add(11 * year): ErrExpired, today.Add(-year): ErrNotYetValid} {
		if _, err := a.Issue(csr, "alice", at, day); !errors.Is(err, want) {
			t.Errorf("on %s: %v", at, err)
		}
	}
}

func TestIssueRefuses(t *testing.T) {
	a := newAuthority(t, "Org1MSP")
	good := must[[]byte](t)(NewRequest(newKey(t), "alice"))
	p384 := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	other := must[[]byte](t)(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, p384))
	long := must[[]byte](t)(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: strings.Repeat("x", maxRequestBytes)},
	}, newKey(t)))
	unsigned := bytes.Clone(good)
	unsigned[len(unsigned)-1] ^= 1
	for _, c := range []struct {
		what string
		csr  []byte
		name string
		life time.Duration
		want error
	}{
		{"good", good, "alice", day, nil},
		{"another curve", other, "alice", day, ErrKeyType},
		{"too long", long, "alice", day, ErrRequest},
		{"no request", []byte("csr"), "alice", day, ErrRequest},
		{"empty", nil, "alice", day, ErrRequest},
		{"cut short", good[:len(good)-1], "alice", day, ErrRequest},
		{"bad signature", unsigned, "alice", day, ErrRequest},
		{"no name", good, "", day, ErrMalformed},
		{"long name", good, strings.Repeat("x", 65), day, ErrMalformed},
		{"control character", good, "alice\x1b[31m", day, ErrMalformed},
		{"spaces around", good, " alice", day, ErrMalformed},
		{"no UTF-8", good, "al\xffce", day, ErrMalformed},
		{"too short a life", good, "alice", time.Second, ErrLifetime},
		{"negative life", good, "alice", -day, ErrLifetime},
		{"too long a life", good, "alice", 40 * year, ErrLifetime},
	} {
		t.Run(c.what, func(t *testing.T) {
			if _, err := a.Issue(c.csr, c.name, today, c.life); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
	if _, err := NewRequest(p384, "alice"); !errors.Is(err, ErrKeyType) {
		t.Errorf("a request for another curve: %v", err)
	}
	if _, err := NewRequest(newKey(t), ""); !errors.Is(err, ErrMalformed) {
		t.Errorf("a request without a name: %v", err)
	}
}

// Each bit of a request counts: its key must have signed it.
func TestIssueChecksTheWholeRequest(t *testing.T) {
	a := newAuthority(t, "Org1MSP")
	csr := must[[]byte](t)(NewRequest(newKey(t), "alice"))
	for i := range len(csr) {
		bad := bytes.Clone(csr)
		bad[i] ^= 4
		if _, err := a.Issue(bad, "alice", today, day); err == nil {
			t.Errorf("byte %d changed, and a certificate was issued", i)
		}
	}
}

func TestAuthorityLoads(t *testing.T) {
	a := newAuthority(t, "Org1MSP")
	b := must[*Authority](t)(LoadAuthority(a.Root(), a.Key()))
	m := newMember(t, b, "alice")
	if _, err := trusting(t, a).Verify(m.Chain(), today); err != nil || b.MSP() != "Org1MSP" {
		t.Errorf("%q, %v", b.MSP(), err)
	}
	if _, err := LoadAuthority(a.Root(), newKey(t)); !errors.Is(err, ErrMismatch) {
		t.Errorf("with another key: %v", err)
	}
	if _, err := LoadAuthority(m.Leaf(), m.Key()); !errors.Is(err, ErrMalformed) {
		t.Errorf("a member as authority: %v", err)
	}
	if _, err := NewAuthority("Org 1", today, year); !errors.Is(err, ErrMalformed) {
		t.Errorf("a bad organisation: %v", err)
	}
	if _, err := NewAuthority("Org1MSP", today, 0); !errors.Is(err, ErrLifetime) {
		t.Errorf("no lifetime: %v", err)
	}
}

// At half life, whatever the life, a node has time left and a reason to renew.
func TestRenewAt(t *testing.T) {
	a := newAuthority(t, "Org1MSP")
	for _, life := range []time.Duration{time.Minute, time.Hour, day, year} {
		m := issue(t, a, newKey(t), "alice", today, life)
		at := m.RenewAt()
		if !at.After(today) || !at.Before(m.NotAfter()) {
			t.Errorf("life %s: renew on %s, ends on %s", life, at, m.NotAfter())
		}
		if first, second := at.Sub(m.Leaf().NotBefore), m.NotAfter().Sub(at); first != second {
			t.Errorf("life %s: %s before, %s after", life, first, second)
		}
	}
}

func TestCertificatesAsPEM(t *testing.T) {
	a := newAuthority(t, "Org1MSP")
	chain := []*x509.Certificate{newMember(t, a, "alice").Leaf(), a.Root()}
	text := EncodeCertificates(chain)
	got := must[[]*x509.Certificate](t)(DecodeCertificates(append([]byte("\n"), text...)))
	if len(got) != 2 || !got[0].Equal(chain[0]) || !got[1].Equal(chain[1]) {
		t.Errorf("%d certificates came back", len(got))
	}
	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("secret")})
	headed := pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Headers: map[string]string{"a": "b"}, Bytes: chain[0].Raw})
	broken := bytes.Replace(text, []byte("MI"), []byte("*!"), 1)
	for what, bad := range map[string][]byte{
		"nothing":         nil,
		"text before":     append([]byte("x\n"), text...),
		"text after":      append(bytes.Clone(text), 'x'),
		"a key too":       append(bytes.Clone(text), key...),
		"headers":         headed,
		"broken block":    broken,
		"no end":          text[:len(text)-10],
		"five":            bytes.Repeat(EncodeCertificates(chain[:1]), 5),
		"too large":       bytes.Repeat([]byte{' '}, maxPEMBytes+1),
		"no DER":          pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: []byte("x")}),
		"16 KiB in a DER": pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: make([]byte, maxChainBytes+1)}),
	} {
		if _, err := DecodeCertificates(bad); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func FuzzDecodeCertificates(f *testing.F) {
	a := newAuthority(f, "Org1MSP")
	text := EncodeCertificates([]*x509.Certificate{a.Root()})
	f.Add(text)
	f.Add(append(text, text...))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		chain, err := DecodeCertificates(text)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		again, err := DecodeCertificates(EncodeCertificates(chain))
		if err != nil || !slices.EqualFunc(chain, again, (*x509.Certificate).Equal) {
			t.Fatalf("%d certificates became %d: %v", len(chain), len(again), err)
		}
	})
}

func FuzzIssue(f *testing.F) {
	a := newAuthority(f, "Org1MSP")
	f.Add(must[[]byte](f)(NewRequest(newKey(f), "alice")), "alice")
	f.Add([]byte{0x30}, "")
	f.Fuzz(func(t *testing.T, csr []byte, name string) {
		c, err := a.Issue(csr, name, today, day)
		if err != nil {
			return
		}
		if p, err := principalOf(c); err != nil || p.MSP != "Org1MSP" {
			t.Fatalf("issued %+v, %v", p, err)
		}
	})
}
