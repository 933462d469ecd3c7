package payment

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"torrente/internal/vectors"
)

func testClose(t testing.TB) SignedClose {
	t.Helper()
	key := vectors.Key(t, "receiver")
	c := testCommitment(t)
	return must[SignedClose](t)(Close{c.Ledger, c.ID(), 1234}.Sign(key, "Org2MSP", spkiOf(t, key)))
}

func TestCloseVector(t *testing.T) {
	s := testClose(t)
	digest := s.Digest()
	vectors.Check(t, "close.json", map[string]string{
		"digest": hex.EncodeToString(digest[:]),
		"bytes":  hex.EncodeToString(s.Append(nil)),
	})
	if err := s.Verify(testCommitment(t).Receiver); err != nil {
		t.Error(err)
	}
}

func TestCloseVerifyRefuses(t *testing.T) {
	receiver := testCommitment(t).Receiver
	for what, spoil := range map[string]func(s *SignedClose) error{
		"final":      func(s *SignedClose) error { s.Final++; return ErrSignature },
		"ledger":     func(s *SignedClose) error { s.Ledger[31] ^= 1; return ErrSignature },
		"commitment": func(s *SignedClose) error { s.Commitment[0] ^= 1; return ErrSignature },
		"signature":  func(s *SignedClose) error { s.Signature = otherHalf(s.Signature); return ErrSignature },
		"MSP":        func(s *SignedClose) error { s.MSP = "Org1MSP"; return ErrSigner },
		"key":        func(s *SignedClose) error { s.SPKI = spkiOf(t, vectors.Key(t, "payer")); return ErrSigner },
	} {
		s := testClose(t)
		want := spoil(&s)
		if err := s.Verify(receiver); !errors.Is(err, want) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A commitment's signature is none of a close and the other way round: what is
// hashed begins with another tag.
func TestSignaturesDoNotCross(t *testing.T) {
	c, key := testCommitment(t), vectors.Key(t, "payer")
	s := must[SignedClose](t)(Close{c.Ledger, c.ID(), 0}.Sign(key, "Org1MSP", spkiOf(t, key)))
	if c.VerifySignature(s.MSP, s.SPKI, s.Signature) == nil {
		t.Error("a close signs a commitment")
	}
}

func TestParseSignedClose(t *testing.T) {
	s := testClose(t)
	b := s.Append(nil)
	got := must[*SignedClose](t)(ParseSignedClose(b))
	if !bytes.Equal(got.Append(nil), b) || got.Verify(testCommitment(t).Receiver) != nil {
		t.Errorf("%+v became %+v", s, got)
	}
	for i := range b {
		if _, err := ParseSignedClose(b[:i]); !errors.Is(err, ErrClose) {
			t.Fatalf("the first %d bytes: %v", i, err)
		}
	}
	if _, err := ParseSignedClose(append(b, 0)); !errors.Is(err, ErrClose) {
		t.Errorf("a byte more: %v", err)
	}
	s.Final = MaxLinks + 1
	if _, err := ParseSignedClose(s.Append(nil)); !errors.Is(err, ErrClose) {
		t.Errorf("beyond all chains: %v", err)
	}
	defer func() {
		if recover() == nil {
			t.Error("an impossible organisation was written")
		}
	}()
	s.MSP = strings.Repeat("x", 256)
	s.Append(nil)
}

func FuzzParseSignedClose(f *testing.F) {
	s := testClose(f)
	f.Add(s.Append(nil))
	f.Add([]byte{0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ParseSignedClose(b)
		if err != nil {
			return
		}
		if again := s.Append(nil); !bytes.Equal(again, b) {
			t.Fatalf("%x became %x", b, again)
		}
		_ = s.Verify(Account{}) // whatever the key, no panic
	})
}
