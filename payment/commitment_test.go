package payment

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math"
	"math/big"
	"testing"

	"torrente/internal/vectors"
)

func testCommitment(t testing.TB) *Commitment {
	t.Helper()
	return &Commitment{
		Ledger: LedgerID{1}, Intention: IntentionID{2}, Torrent: TorrentID{3},
		Payer:    AccountOf("Org1MSP", spkiOf(t, vectors.Key(t, "payer"))),
		Receiver: AccountOf("Org2MSP", spkiOf(t, vectors.Key(t, "receiver"))),
		Root:     Link{4}, Chain: ChainID{5}, Slot: 6, Links: 65536, Price: 7, Epoch: 8, Expiry: 1767225600,
	}
}

type commitmentVector struct {
	Layout    string       `json:"layout"`
	ID        CommitmentID `json:"id"`
	MSP       string       `json:"msp"`
	SPKI      string       `json:"spki"`
	Signature string       `json:"signature"`
}

func TestCommitmentVector(t *testing.T) {
	c, key := testCommitment(t), vectors.Key(t, "payer")
	sig := must[Signature](t)(c.Sign(key))
	spki := spkiOf(t, key)
	if err := c.VerifySignature("Org1MSP", spki, sig); err != nil {
		t.Fatal(err)
	}
	vectors.Check(t, "commitment.json", commitmentVector{
		hex.EncodeToString(c.Append(nil)), c.ID(), "Org1MSP", hex.EncodeToString(spki), hex.EncodeToString(sig[:]),
	})
}

func TestCommitmentRoundTrip(t *testing.T) {
	c := testCommitment(t)
	b := c.Append([]byte("x"))[1:]
	got := must[*Commitment](t)(ParseCommitment(b))
	if len(b) != CommitmentBytes || *got != *c || got.ID() != c.ID() {
		t.Errorf("%d bytes, %+v became %+v", len(b), c, got)
	}
	if start := c.Start(); start != (Claim{0, c.Root}) {
		t.Errorf("starts at %v", start)
	}
}

// The signature covers every byte: the original project's covered 32 of them.
func TestSignatureCoversEveryByte(t *testing.T) {
	c, key := testCommitment(t), vectors.Key(t, "payer")
	sig, spki, b := must[Signature](t)(c.Sign(key)), spkiOf(t, key), c.Append(nil)
	for bit := range 8 * len(b) {
		b[bit/8] ^= 1 << (bit % 8)
		changed, err := ParseCommitment(b)
		if err == nil && changed.VerifySignature("Org1MSP", spki, sig) == nil {
			t.Errorf("bit %d is not signed", bit)
		}
		b[bit/8] ^= 1 << (bit % 8)
	}
}

func TestParseCommitmentRefuses(t *testing.T) {
	good := testCommitment(t).Append(nil)
	be := binary.BigEndian
	for what, spoil := range map[string]func(b []byte) []byte{
		"short":         func(b []byte) []byte { return b[:255] },
		"long":          func(b []byte) []byte { return append(b, 0) },
		"empty":         func([]byte) []byte { return nil },
		"tag":           func(b []byte) []byte { b[7] = '2'; return b },
		"unit":          func(b []byte) []byte { be.PutUint32(b[216:], 1<<15); return b },
		"no links":      func(b []byte) []byte { be.PutUint32(b[220:], 0); return b },
		"too long":      func(b []byte) []byte { be.PutUint32(b[220:], MaxLinks+1); return b },
		"product wraps": func(b []byte) []byte { be.PutUint64(b[224:], math.MaxUint64/65536+1); return b },
		"to oneself":    func(b []byte) []byte { copy(b[136:168], b[104:136]); return b },
		"late":          func(b []byte) []byte { be.PutUint64(b[240:], MaxTime+1); return b },
		"flags":         func(b []byte) []byte { b[255] = 1; return b },
	} {
		if _, err := ParseCommitment(spoil(bytes.Clone(good))); !errors.Is(err, ErrCommitment) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestVerifySignatureRefuses(t *testing.T) {
	c, key := testCommitment(t), vectors.Key(t, "payer")
	spki := spkiOf(t, key)
	sig := must[Signature](t)(c.Sign(key))
	stranger := must[Signature](t)(c.Sign(vectors.Key(t, "stranger")))
	for what, bad := range map[string]struct {
		msp  string
		spki []byte
		sig  Signature
		want error
	}{
		"a stranger's signature": {"Org1MSP", spki, stranger, ErrSignature},
		"a stranger's key":       {"Org1MSP", spkiOf(t, vectors.Key(t, "stranger")), stranger, ErrSigner},
		"another organisation":   {"Org2MSP", spki, sig, ErrSigner},
		"zero":                   {"Org1MSP", spki, Signature{}, ErrSignature},
		"upper half":             {"Org1MSP", spki, otherHalf(sig), ErrSignature},
	} {
		if err := c.VerifySignature(bad.msp, bad.spki, bad.sig); !errors.Is(err, bad.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
	c.Payer = AccountOf("Org1MSP", []byte("no key"))
	if err := c.VerifySignature("Org1MSP", []byte("no key"), sig); !errors.Is(err, ErrKey) {
		t.Errorf("no key: %v", err)
	}
}

// otherHalf returns the second signature that plain ECDSA has for the same
// bytes: (r, n - s).
func otherHalf(sig Signature) Signature {
	s := new(big.Int).SetBytes(sig[32:])
	s.Sub(elliptic.P256().Params().N, s).FillBytes(sig[32:])
	return sig
}

func TestSignaturesAreLowAndTheSame(t *testing.T) {
	key := vectors.Key(t, "payer")
	for i := range 64 {
		digest := [32]byte{byte(i)}
		a, b := must[Signature](t)(Sign(key, digest)), must[Signature](t)(Sign(key, digest))
		if a != b || !a.Verify(&key.PublicKey, digest) {
			t.Fatalf("digest %d: %x and %x", i, a, b)
		}
		if high := otherHalf(a); high.Verify(&key.PublicKey, digest) {
			t.Fatalf("digest %d: the upper half is accepted", i)
		}
	}
	p384 := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	if _, err := Sign(p384, [32]byte{}); !errors.Is(err, ErrKey) {
		t.Errorf("P-384: %v", err)
	}
	if _, err := ParseKey(spkiOf(t, p384)); !errors.Is(err, ErrKey) {
		t.Errorf("P-384: %v", err)
	}
}

func FuzzParseCommitment(f *testing.F) {
	f.Add(testCommitment(f).Append(nil))
	f.Add(make([]byte, CommitmentBytes))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseCommitment(b)
		if err != nil {
			return
		}
		if again := c.Append(nil); !bytes.Equal(again, b) {
			t.Fatalf("%x became %x", b, again)
		}
	})
}

func BenchmarkVerifyCommitment(b *testing.B) {
	c, key := testCommitment(b), vectors.Key(b, "payer")
	sig, spki := must[Signature](b)(c.Sign(key)), spkiOf(b, key)
	b.ReportAllocs()
	for b.Loop() {
		if err := c.VerifySignature("Org1MSP", spki, sig); err != nil {
			b.Fatal(err)
		}
	}
}
