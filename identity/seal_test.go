package identity

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"pgregory.net/rapid"
)

func TestSealedMessagesCarryOver(t *testing.T) {
	s := shaken(t)
	rapid.Check(t, func(t *rapid.T) {
		plain := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "plain")
		prefix := rapid.SliceOfN(rapid.Byte(), 0, 9).Draw(t, "prefix")
		from := rapid.IntRange(0, 1).Draw(t, "from")
		sealed, err := s[from].Seal(bytes.Clone(prefix), plain)
		if err != nil || len(sealed) != len(prefix)+len(plain)+SealOverhead || !bytes.HasPrefix(sealed, prefix) {
			t.Fatalf("sealed %x, %v", sealed, err)
		}
		got, err := s[1-from].Open(bytes.Clone(prefix), sealed[len(prefix):])
		if err != nil || !bytes.Equal(got, append(prefix, plain...)) {
			t.Fatalf("got %x, %v", got, err)
		}
	})
}

func TestSealedMessagesInPlace(t *testing.T) {
	s := shaken(t)
	buf := append(make([]byte, 0, 100), "message"...)
	sealed := must[[]byte](t)(s[0].Seal(buf[:0], buf))
	if plain := must[[]byte](t)(s[1].Open(sealed[:0], sealed)); string(plain) != "message" {
		t.Errorf("got %q", plain)
	}
}

// What somebody on the way can do to sealed messages ends the session.
func TestSealedMessagesRefused(t *testing.T) {
	for name, attack := range map[string]func(s [2]*Session, first, second []byte) []byte{
		"replayed":      func(s [2]*Session, first, _ []byte) []byte { return first },
		"a bit flipped": func(_ [2]*Session, _, second []byte) []byte { second[0] ^= 1; return second },
		"tag changed":   func(_ [2]*Session, _, second []byte) []byte { second[len(second)-1] ^= 1; return second },
		"cut short":     func(_ [2]*Session, _, second []byte) []byte { return second[:len(second)-1] },
		"empty":         func([2]*Session, []byte, []byte) []byte { return nil },
		"lengthened":    func(_ [2]*Session, _, second []byte) []byte { return append(second, 0) },
		"one left out": func(s [2]*Session, _, _ []byte) []byte {
			third, _ := s[0].Seal(nil, []byte("third"))
			return third
		},
		"sent back": func(s [2]*Session, _, _ []byte) []byte {
			_, _ = s[1].Seal(nil, []byte("first"))
			own, _ := s[1].Seal(nil, []byte("second"))
			return own
		},
		"another session's": func([2]*Session, []byte, []byte) []byte {
			other := shaken(t)
			_, _ = other[0].Seal(nil, []byte("first"))
			second, _ := other[0].Seal(nil, []byte("second"))
			return second
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := shaken(t)
			first := must[[]byte](t)(s[0].Seal(nil, []byte("first")))
			second := must[[]byte](t)(s[0].Seal(nil, []byte("second")))
			good := bytes.Clone(second)
			if _, err := s[1].Open(nil, bytes.Clone(first)); err != nil {
				t.Fatal(err)
			}
			if plain, err := s[1].Open(nil, attack(s, first, second)); !errors.Is(err, ErrTampered) || plain != nil {
				t.Fatalf("got %q, %v", plain, err)
			}
			if _, err := s[1].Open(nil, good); !errors.Is(err, ErrTampered) {
				t.Errorf("the session went on: %v", err)
			}
		})
	}
}

// The first message to open must be the other side's, or nobody is
// authenticated.
func TestNotAuthenticatedByGarbage(t *testing.T) {
	s := shaken(t)
	if _, err := s[0].Open(nil, make([]byte, SealOverhead)); !errors.Is(err, ErrTampered) || s[0].Authenticated() {
		t.Errorf("%v, authenticated %v", err, s[0].Authenticated())
	}
}

func TestSealBeforeTheKeys(t *testing.T) {
	s := meet(t).start(t)
	if _, err := s[0].Seal(nil, nil); !errors.Is(err, ErrNotDone) {
		t.Errorf("seal: %v", err)
	}
	if _, err := s[0].Open(nil, make([]byte, 16)); !errors.Is(err, ErrNotDone) {
		t.Errorf("open: %v", err)
	}
}

func TestSealCounterEnds(t *testing.T) {
	s := shaken(t)
	s[0].sealing.next, s[1].opening.next = math.MaxUint64-1, math.MaxUint64-1
	last := must[[]byte](t)(s[0].Seal(nil, []byte("last")))
	if plain, err := s[1].Open(nil, last); err != nil || string(plain) != "last" {
		t.Fatalf("%q, %v", plain, err)
	}
	for range 2 {
		if _, err := s[0].Seal(nil, nil); !errors.Is(err, ErrSpent) {
			t.Errorf("seal: %v", err)
		}
		if _, err := s[1].Open(nil, last); !errors.Is(err, ErrSpent) {
			t.Errorf("open: %v", err)
		}
	}
}

// No two messages, of either direction, share a nonce and key.
func TestNoncesDiffer(t *testing.T) {
	s := shaken(t)
	seen := map[string]bool{}
	for i := range 2 {
		for range 1000 {
			if err := s[i].sealing.advance(); err != nil {
				t.Fatal(err)
			}
			if n := string(s[i].sealing.nonce[:]); seen[n] {
				t.Fatalf("nonce %x twice", n)
			} else {
				seen[n] = true
			}
		}
	}
}

func TestSealAllocatesNothing(t *testing.T) {
	s := shaken(t)
	plain, buf, back := make([]byte, 64), make([]byte, 0, 128), make([]byte, 0, 128)
	if n := testing.AllocsPerRun(100, func() {
		sealed, err := s[0].Seal(buf, plain)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s[1].Open(back, sealed); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Close does not take the keys from who still reads or writes.
func TestSealAfterClose(t *testing.T) {
	s := shaken(t)
	s[0].Close()
	s[1].Close()
	sealed := must[[]byte](t)(s[0].Seal(nil, []byte("bye")))
	if plain := must[[]byte](t)(s[1].Open(nil, sealed)); string(plain) != "bye" {
		t.Errorf("got %q", plain)
	}
}

func BenchmarkSealOpen(b *testing.B) {
	for name, size := range map[string]int{"link": 40, "block": 16384} {
		b.Run(name, func(b *testing.B) {
			s := shaken(b)
			plain, buf, back := make([]byte, size), make([]byte, 0, size+SealOverhead), make([]byte, 0, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				sealed, err := s[0].Seal(buf, plain)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := s[1].Open(back, sealed); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkHandshake(b *testing.B) {
	m := meet(b)
	b.ReportAllocs()
	for b.Loop() {
		s := m.start(b)
		if _, errs := shake(s, nil); errs != [2]error{} {
			b.Fatal(errs)
		}
	}
}
