package payment

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"testing"
)

// A key has one encoding, the one that certificates have: what differs from it in
// a bit is another key, or none.
func TestKeysHaveOneEncoding(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	spki := spkiOf(t, key)
	if got, err := ParseKey(spki); err != nil || !got.Equal(&key.PublicKey) {
		t.Fatal(got, err)
	}
	for i := range 8 * len(spki) {
		other := bytes.Clone(spki)
		other[i/8] ^= 1 << (i % 8)
		sameAsX509(t, other)
	}
	compressed := append(bytes.Clone(spki[:26]), elliptic.MarshalCompressed(elliptic.P256(), key.X, key.Y)...)
	compressed[1], compressed[24] = 0x39, 34
	for what, b := range map[string][]byte{
		"compressed": compressed, "more": append(bytes.Clone(spki), 0), "less": spki[:90], "nothing": nil, "infinity": append(bytes.Clone(spki[:26]), 0),
		"zero": append(bytes.Clone(spki[:27]), make([]byte, 64)...),
	} {
		if _, err := ParseKey(b); !errors.Is(err, ErrKey) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// sameAsX509 compares ParseKey with what the standard library reads and writes.
func sameAsX509(t *testing.T, spki []byte) {
	t.Helper()
	got, err := ParseKey(spki)
	if (err == nil) != (got != nil) || err != nil && !errors.Is(err, ErrKey) {
		t.Fatalf("%x: %v, %v", spki, got, err)
	}
	parsed, unread := x509.ParsePKIXPublicKey(spki)
	key, ok := parsed.(*ecdsa.PublicKey)
	if ok = unread == nil && ok && key.Curve == elliptic.P256(); ok {
		again, err := x509.MarshalPKIXPublicKey(key)
		ok = err == nil && bytes.Equal(again, spki)
	}
	if ok != (err == nil) || ok && !got.Equal(key) {
		t.Fatalf("%x: %v, and crypto/x509 says %v", spki, err, ok)
	}
}

func FuzzParseKey(f *testing.F) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(spki)
	f.Add(spki[:50])
	f.Fuzz(sameAsX509)
}
