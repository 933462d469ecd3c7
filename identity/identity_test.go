package identity

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	keyPath, certPath := filepath.Join(dir, "key"), filepath.Join(dir, "certificate.pem")
	a := newAuthority(t, "Org1MSP")
	m := newMember(t, a, "alice")
	password := []byte("password")
	load := func() (*Identity, error) { return Load(keyPath, certPath, password) }

	if _, err := load(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("from an empty folder: %v", err)
	}
	if err := WriteCertificateFile(certPath, []*x509.Certificate{m.Leaf()}); err != nil {
		t.Fatal(err)
	}
	if _, err := load(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a key: %v", err)
	}
	if err := CreateKeyFile(keyPath, password, m.Key(), cheap); err != nil {
		t.Fatal(err)
	}
	got := must[*Identity](t)(load())
	if !got.Principal().Equal(m.Principal()) || !got.Key().Equal(m.Key()) || got.Name() != "alice" || !bytes.Equal(got.Chain()[0], m.Leaf().Raw) {
		t.Errorf("another identity came back: %+v", got.Principal())
	}
	if _, err := Load(keyPath, certPath, []byte("passwort")); !errors.Is(err, ErrWrongPassword) || !strings.Contains(err.Error(), keyPath) {
		t.Errorf("wrong password: %v", err)
	}
	if err := WriteCertificateFile(certPath, []*x509.Certificate{newMember(t, a, "bob").Leaf()}); err != nil {
		t.Fatal(err)
	}
	if _, err := load(); !errors.Is(err, ErrMismatch) {
		t.Errorf("with another's certificate: %v", err)
	}
	if err := WriteCertificateFile(certPath, []*x509.Certificate{a.Root()}); err != nil {
		t.Fatal(err)
	}
	if _, err := load(); !errors.Is(err, ErrMalformed) {
		t.Errorf("with the root as certificate: %v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	m := newMember(t, newAuthority(t, "Org1MSP"), "alice")
	if _, err := New(m.Key(), nil); !errors.Is(err, ErrMalformed) {
		t.Errorf("no certificate: %v", err)
	}
	if _, err := New(newKey(t), []*x509.Certificate{m.Leaf()}); !errors.Is(err, ErrMismatch) {
		t.Errorf("another key: %v", err)
	}
}

// A key file is its owner's alone, whatever was there before it, and is never
// overwritten by a new key.
func TestKeyFilePermissions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	first, second := newKey(t), newKey(t)
	if err := CreateKeyFile(path, nil, first, cheap); err != nil {
		t.Fatal(err)
	}
	if err := CreateKeyFile(path, nil, second, cheap); !errors.Is(err, ErrExists) {
		t.Errorf("created over another: %v", err)
	}
	if got := must[*ecdsa.PrivateKey](t)(ReadKeyFile(path, nil)); !got.Equal(first) {
		t.Error("the first key is gone")
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := ReplaceKeyFile(path, []byte("new"), first, cheap); err != nil {
		t.Fatal(err)
	}
	info := must[fs.FileInfo](t)(os.Stat(path))
	if info.Mode() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	if got := must[*ecdsa.PrivateKey](t)(ReadKeyFile(path, []byte("new"))); !got.Equal(first) {
		t.Error("another key came back")
	}
	if left := must[[]fs.DirEntry](t)(os.ReadDir(filepath.Dir(path))); len(left) != 1 {
		t.Errorf("%d files left", len(left))
	}
}

func TestReadKeyFileRefuses(t *testing.T) {
	dir := t.TempDir()
	large, fifo := filepath.Join(dir, "large"), filepath.Join(dir, "fifo")
	if err := os.WriteFile(large, make([]byte, maxSealedBytes+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{large, fifo, dir, filepath.Join(dir, "none")} {
		if _, err := ReadKeyFile(path, nil); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
		if _, err := ReadCertificateFile(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s as certificate: %v", path, err)
		}
	}
	if err := CreateKeyFile(filepath.Join(dir, "none", "key"), nil, newKey(t), cheap); err == nil {
		t.Error("a key was written into a folder that is not there")
	}
}

// What is sealed is a P-256 key in PKCS #8 behind its kind, and nothing else
// passes for one.
func TestOpenKeyRefuses(t *testing.T) {
	a := newAuthority(t, "Org1MSP")
	good := must[[]byte](t)(keyPayload(a.Key()))
	p384 := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	for what, payload := range map[string][]byte{
		"nothing":      nil,
		"another kind": append([]byte{2}, good[1:]...),
		"no PKCS #8":   append([]byte{payloadKey}, a.Root().Raw...),
		"cut short":    good[:len(good)-1],
		"P-384":        append([]byte{payloadKey}, must[[]byte](t)(x509.MarshalPKCS8PrivateKey(p384))...),
	} {
		file := must[[]byte](t)(Seal(nil, payload, cheap))
		if key, err := OpenKey(nil, file); !errors.Is(err, ErrNoKey) || key != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}
