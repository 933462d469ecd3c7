package main

import (
	"crypto/x509"
	"encoding/binary"
	"errors"
	"slices"
	"testing"
	"time"

	"torrente/identity"
	"torrente/payment/admission"
	"torrente/payment/contract"
)

// A certificate that is remembered is good in its time alone, and what a
// transaction depends on is the same as when it was verified.
func TestRememberedCertificates(t *testing.T) {
	now := today
	e := serving(t, &chaincode{ledger: contract.GenesisID(crowd().genesis), now: func() time.Time { return now }})
	e.commit(e.invoke(fabricID("begin"), []byte("begin"), crowd().genesis))
	leaf := must[*x509.Certificate](t)(x509.ParseCertificate(crowd().alice.Chain()[0]))
	var first set
	for i, c := range []struct {
		at time.Time
		is error
	}{
		{today, nil},
		{leaf.NotAfter, nil},
		{leaf.NotAfter.Add(time.Second), identity.ErrExpired},
		{leaf.NotBefore, nil},
		{leaf.NotBefore.Add(-time.Second), identity.ErrNotYetValid},
		{today, nil},
	} {
		now = c.at
		s := e.submit(fabricID(c.at.String()), sign(t, crowd().alice, c.at, transfer(crowd().bob, 1)))
		if c.is != nil {
			if !errors.Is(admission.ParseFailure(s.Error), c.is) {
				t.Errorf("%s: %+v", c.at, s)
			}
			continue
		}
		outcome(t, s)
		if i == 0 {
			first = s
		}
		if len(s.Ranges) > 0 || len(s.Reads) != len(first.Reads) {
			t.Errorf("%s: it depends on %q and %q, the first on %q", c.at, s.Reads, s.Ranges, first.Reads)
		}
	}
}

// What is remembered is one chain with one list of roots.
func TestEvidence(t *testing.T) {
	a, b, c := []byte("a"), []byte("bc"), []byte("b")
	seen := map[evidence]int{}
	for i, one := range [][2][][]byte{
		{{a}, {b}}, {{a, b}, nil}, {nil, {a, b}}, {{a}, {c, []byte("c")}}, {{a, c}, {[]byte("c")}}, {{b}, {a}}, {{a}, {b, b}},
	} {
		e := evidenceOf(one[0], one[1])
		if before, known := seen[e]; known {
			t.Errorf("%d is as %d", i, before)
		}
		seen[e] = i
	}
}

// So many are kept, of those that were asked for last.
func TestRememberedIsBounded(t *testing.T) {
	var v verified
	name := func(n uint64) (e evidence) { binary.BigEndian.PutUint64(e[:], n); return e }
	der := crowd().alpha.Root().Raw
	at := crowd().alpha.Root().NotBefore
	v.remember(name(0), [][]byte{der}, nil)
	for n := range uint64(5 * maxVerified) {
		v.remember(name(n+1), [][]byte{der}, nil)
		if n%1000 == 0 && !v.good(name(0), at) {
			t.Fatalf("it was forgotten after %d others", n)
		}
		if len(v.recent)+len(v.before) > 2*maxVerified {
			t.Fatalf("%d and %d are kept", len(v.recent), len(v.before))
		}
	}
	if v.good(name(1), at) || !v.good(name(5*maxVerified), at) || v.good(name(0), at.Add(-time.Second)) {
		t.Error("another one was kept, or its time forgotten")
	}
	v.remember(name(1<<60), slices.Repeat([][]byte{[]byte("no certificate")}, 2), nil)
	if v.good(name(1<<60), at) {
		t.Error("what is no certificate was remembered")
	}
}
