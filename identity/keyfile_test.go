package identity

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"testing"

	"pgregory.net/rapid"
)

// NIST SP 800-38A F.3.17 and F.3.18, CFB128-AES256.
func TestCFBOfNIST(t *testing.T) {
	key := unhex(t, "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
	iv := unhex(t, "000102030405060708090a0b0c0d0e0f")
	plain := unhex(t, "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"+
		"30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710")
	sealed := unhex(t, "dc7e84bfda79164b7ecd8486985d386039ffed143b28b1c832113c6331e5407b"+
		"df10132415e54b92a13ed0a8267ae2f975a385741ab9cef82031623d55b1e471")
	for n := range len(plain) + 1 {
		got := bytes.Clone(plain[:n])
		if err := cfbEncrypt(key, iv, got); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, sealed[:n]) {
			t.Errorf("%d bytes encrypt to %x", n, got)
		}
		if err := cfbDecrypt(key, iv, got); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, plain[:n]) {
			t.Errorf("%d bytes decrypt to %x", n, got)
		}
	}
}

// keyFileVector is one line of testdata/keyfile_vectors.json, for any
// implementation: file opened with password gives payload, or the outcome.
type keyFileVector struct {
	Note     string `json:"note"`
	Password hexed  `json:"password_hex"`
	File     hexed  `json:"file_hex"`
	Outcome  string `json:"outcome"`
	Payload  hexed  `json:"payload_hex,omitempty"`
}

var outcomes = map[string]error{
	"opens": nil, "damaged": ErrDamaged, "wrong password": ErrWrongPassword,
	"cost": ErrCost, "unknown format": ErrUnknownFormat, "password": ErrPassword,
}

func TestKeyFileVectors(t *testing.T) {
	if *update {
		writeKeyFileVectors(t)
	}
	seen := map[string]bool{}
	for _, v := range readVectors[keyFileVector](t, "keyfile_vectors.json") {
		want, known := outcomes[v.Outcome]
		if !known {
			t.Fatalf("%s: unknown outcome %q", v.Note, v.Outcome)
		}
		seen[v.Outcome] = true
		t.Run(v.Note, func(t *testing.T) {
			payload, err := Open(v.Password, v.File)
			if !errors.Is(err, want) || !bytes.Equal(payload, v.Payload) {
				t.Fatalf("got %x, %v; want %x, %v", payload, err, v.Payload, want)
			}
			if want != nil {
				return
			}
			// Sealing with the same salt and IV gives the same file.
			cost, err := readHeader(v.File)
			if err != nil {
				t.Fatal(err)
			}
			again, err := seal(v.Password, v.Payload, cost, [48]byte(v.File[saltStart:]))
			if err != nil || !bytes.Equal(again, v.File) {
				t.Fatalf("sealed again: %x, %v", again, err)
			}
		})
	}
	if len(seen) != len(outcomes) {
		t.Errorf("only %v of the outcomes occur", seen)
	}
}

// rfcKey is the P-256 key of RFC 6979 A.2.5.
func rfcKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	return must[*ecdsa.PrivateKey](t)(ecdsa.ParseRawPrivateKey(elliptic.P256(),
		unhex(t, "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721")))
}

func writeKeyFileVectors(t *testing.T) {
	t.Helper()
	var saltAndIV [48]byte
	for i := range saltAndIV {
		saltAndIV[i] = byte(i)
	}
	payload := must[[]byte](t)(keyPayload(rfcKey(t)))
	password := []byte("correct horse battery staple")
	sealed := func(payload []byte, cost Cost) []byte {
		return must[[]byte](t)(seal(password, payload, cost, saltAndIV))
	}
	good := sealed(payload, Cost{1, 16, 256})
	changed := func(at int, to ...byte) []byte {
		f := bytes.Clone(good)
		copy(f[at:], to)
		return f
	}
	vectors := []keyFileVector{
		{"a P-256 key, lowest usual cost", password, good, "opens", payload},
		{"a P-256 key, default cost", password, sealed(payload, DefaultCost), "opens", payload},
		{"columns no power of two, payload of whole blocks", password, sealed(payload[:32], Cost{3, 5, 7}), "opens", payload[:32]},
		{"nothing sealed", password, sealed(nil, cheap), "opens", nil},
		{"another password", []byte("correct horse battery stapler"), good, "wrong password", nil},
		{"no password", nil, good, "wrong password", nil},
		{"a flipped bit of the ciphertext", password, changed(72, good[72]^0x80), "damaged", nil},
		{"cut short by one byte", password, good[:len(good)-1], "damaged", nil},
		{"one byte too many", password, append(bytes.Clone(good), 0), "damaged", nil},
		{"empty", password, nil, "damaged", nil},
		{"ciphertext changed by who knows the format", password, rehash(changed(72, good[72]^0x80)), "wrong password", nil},
		{"length beyond the file", password, rehash(changed(lengthStart, 0xff, 0xff, 0xff, 0xff)), "damaged", nil},
		{"time 0", password, rehash(changed(8, 0, 0, 0, 0)), "cost", nil},
		{"time 22", password, rehash(changed(8, 0, 0, 0, 22)), "cost", nil},
		{"rows 2", password, rehash(changed(12, 0, 0, 0, 2)), "cost", nil},
		{"rows 49153", password, rehash(changed(12, 0, 0, 0xc0, 1)), "cost", nil},
		{"columns 0", password, rehash(changed(16, 0, 0, 0, 0)), "cost", nil},
		{"columns 257", password, rehash(changed(16, 0, 0, 1, 1)), "cost", nil},
		{"all costs 2^32 - 1", password, rehash(changed(8, bytes.Repeat([]byte{0xff}, 12)...)), "cost", nil},
		{"a later format", password, rehash(changed(7, '2')), "unknown format", nil},
		{"a password over 4,096 bytes", bytes.Repeat([]byte("x"), 4097), good, "password", nil},
	}
	text := must[[]byte](t)(json.MarshalIndent(map[string]any{
		"about":   "Key files (docs/protocol.md, Key file): opening file_hex with password_hex ends in outcome, and gives payload_hex if it opens.",
		"vectors": vectors,
	}, "", " "))
	if err := os.WriteFile("testdata/keyfile_vectors.json", append(text, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

// rehash puts the right SHA-256 under a changed file.
func rehash(file []byte) []byte {
	body := file[:len(file)-sha256.Size]
	sum := sha256.Sum256(body)
	return append(bytes.Clone(body), sum[:]...)
}

// The layout as docs/protocol.md has it, read without the package's constants.
func TestKeyFileLayout(t *testing.T) {
	f := must[[]byte](t)(Seal([]byte("pw"), []byte("twelve bytes"), Cost{2, 4, 6}))
	if len(f) != 72+12+32+32 || string(f[:8]) != "TRNTKEY1" {
		t.Fatalf("%d bytes, %q", len(f), f[:8])
	}
	for at, want := range map[int]uint32{8: 2, 12: 4, 16: 6, 68: 12} {
		if got := binary.BigEndian.Uint32(f[at:]); got != want {
			t.Errorf("at %d: %d, want %d", at, got, want)
		}
	}
	if got := sha256.Sum256(f[:116]); !bytes.Equal(got[:], f[116:]) {
		t.Error("the last 32 bytes are not SHA-256 of those before")
	}
	g := must[[]byte](t)(Seal([]byte("pw"), []byte("twelve bytes"), Cost{2, 4, 6}))
	if bytes.Equal(f[20:52], g[20:52]) || bytes.Equal(f[52:68], g[52:68]) {
		t.Error("two files have the same salt or IV")
	}
}

func TestEveryFlippedBitIsDamage(t *testing.T) {
	password := []byte("password")
	file := must[[]byte](t)(SealKey(password, newKey(t), cheap))
	for i := range 8 * len(file) {
		bad := bytes.Clone(file)
		bad[i/8] ^= 1 << (i % 8)
		// ErrDamaged comes before the derivation, which a flipped bit could
		// otherwise make last for hours.
		if payload, err := Open(password, bad); !errors.Is(err, ErrDamaged) || payload != nil {
			t.Fatalf("bit %d flipped: %v", i, err)
		}
	}
	for n := range len(file) {
		if _, err := Open(password, file[:n]); !errors.Is(err, ErrDamaged) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
}

// Who rewrites the digest too is stopped by the HMAC, whatever bit is changed.
func TestEveryChangedBitIsRefused(t *testing.T) {
	password := []byte("password")
	file := must[[]byte](t)(SealKey(password, newKey(t), cheap))
	for i := range 8 * (len(file) - sha256.Size) {
		bad := bytes.Clone(file)
		bad[i/8] ^= 1 << (i % 8)
		payload, err := Open(password, rehash(bad))
		known := errors.Is(err, ErrWrongPassword) || errors.Is(err, ErrCost) || errors.Is(err, ErrDamaged) || errors.Is(err, ErrUnknownFormat)
		if !known || payload != nil {
			t.Fatalf("bit %d changed: %v", i, err)
		}
		if at := i / 8; at >= headerBytes && !errors.Is(err, ErrWrongPassword) {
			t.Fatalf("bit %d of ciphertext or HMAC changed: %v", i, err)
		}
	}
}

func TestSealOpensAgain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		password := rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(t, "password")
		payload := rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "payload")
		other := rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(t, "other")
		cost := Cost{rapid.Uint32Range(1, 3).Draw(t, "time"), rapid.Uint32Range(3, 20).Draw(t, "rows"), rapid.Uint32Range(1, 9).Draw(t, "columns")}
		file, err := Seal(password, payload, cost)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Open(password, file); err != nil || !bytes.Equal(got, payload) {
			t.Fatalf("got %x, %v", got, err)
		}
		if _, err := Open(other, file); !bytes.Equal(other, password) && !errors.Is(err, ErrWrongPassword) {
			t.Fatalf("password %x opens the file of %x: %v", other, password, err)
		}
	})
}

func TestSealRefuses(t *testing.T) {
	if _, err := Seal(nil, make([]byte, maxPayloadBytes+1), cheap); err == nil {
		t.Error("too long a payload was sealed")
	}
	if _, err := Seal(nil, nil, Cost{}); !errors.Is(err, ErrCost) {
		t.Errorf("no cost: %v", err)
	}
	if _, err := Seal(make([]byte, maxPasswordBytes+1), nil, cheap); !errors.Is(err, ErrPassword) {
		t.Errorf("too long a password: %v", err)
	}
	p384 := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	for _, key := range []*ecdsa.PrivateKey{nil, p384} {
		if _, err := SealKey(nil, key, cheap); !errors.Is(err, ErrKeyType) {
			t.Errorf("another kind of key: %v", err)
		}
	}
	largest := must[[]byte](t)(Seal(nil, make([]byte, maxPayloadBytes), cheap))
	if _, err := Open(nil, largest); err != nil {
		t.Errorf("the largest payload: %v", err)
	}
}

func FuzzOpen(f *testing.F) {
	password := []byte("password")
	file := must[[]byte](f)(Seal(password, []byte("payload"), cheap))
	f.Add(file, false)
	f.Add(file[:len(file)-40], true)
	f.Add(rehash(append([]byte("TRNTKEY1"), make([]byte, 200)...)), false)
	f.Add([]byte{}, true)
	f.Fuzz(func(t *testing.T, file []byte, fix bool) {
		if fix && len(file) >= sha256.Size {
			file = rehash(file)
		}
		if cost, err := readHeader(file); err == nil && uint64(cost.Time)*uint64(cost.Rows)*uint64(cost.Columns) > 1<<16 {
			return // a good file, but too slow for a fuzz target
		}
		payload, err := Open(password, file)
		if err == nil && len(payload) != len(file)-headerBytes-tailBytes {
			t.Fatalf("%d bytes opened from a file of %d", len(payload), len(file))
		}
	})
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	return must[[]byte](t)(hex.DecodeString(s))
}
