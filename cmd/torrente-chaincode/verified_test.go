package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"errors"
	"math/big"
	"reflect"
	"slices"
	"testing"
	"time"

	"torrente/identity"
	"torrente/payment"
	"torrente/payment/admission"
	"torrente/payment/contract"
)

// A certificate that is remembered is good in its time alone.
func TestRememberedCertificates(t *testing.T) {
	now := today
	c := &chaincode{ledger: contract.GenesisID(crowd().genesis), now: func() time.Time { return now }}
	e := serving(t, c)
	e.commit(e.invoke(fabricID("begin"), []byte("begin"), crowd().genesis))
	chain := crowd().alice.Chain()
	leaf := must[*x509.Certificate](t)(x509.ParseCertificate(chain[0]))
	for _, one := range []struct {
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
		now = one.at
		s := e.submit(fabricID(one.at.String()), sign(t, crowd().alice, one.at, transfer(crowd().bob, 1)))
		if one.is == nil {
			outcome(t, s)
		} else if !errors.Is(admission.ParseFailure(s.Error), one.is) {
			t.Errorf("%s: %+v", one.at, s)
		}
	}
	if !c.verified.good(evidenceOf(chain, [][]byte{crowd().alpha.Root().Raw}), today) {
		t.Error("nothing is remembered")
	}
}

// What is remembered is asked, and changes nothing of what a transaction depends
// on.
func TestTheRememberedIsAsked(t *testing.T) {
	signed := sign(t, crowd().alice, today, transfer(crowd().bob, 1))
	e := begun(t)
	first, second := e.submit(fabricID("x"), signed), e.submit(fabricID("x"), signed)
	if !reflect.DeepEqual(first, second) || first.Status != 200 {
		t.Errorf("%+v, then %+v", first, second)
	}
	c := &chaincode{ledger: contract.GenesisID(crowd().genesis), now: func() time.Time { return today }}
	stranger := enroll(authority("Alpha"), "alice")
	roots := [][]byte{crowd().alpha.Root().Raw}
	c.verified.remember(evidenceOf(stranger.Chain(), roots), today, stranger.Chain(), roots)
	e = serving(t, c)
	e.commit(e.invoke(fabricID("begin"), []byte("begin"), crowd().genesis))
	if s := e.submit(fabricID("x"), sign(t, stranger, today, transfer(crowd().bob, 1))); s.Status != 200 {
		t.Error(s) // the test has lied to it
	}
}

// An organisation whose 40 roots have one name, as have two authorities between them and
// the member: x509 gives up after so many signatures. Whatever comes of it, all
// endorsers come to the same.
func TestEndorsersAgreeOnAlikeRoots(t *testing.T) {
	from, until := today.Add(-time.Hour), today.Add(time.Hour)
	var all []*namesake
	var roots [][]byte
	for i := range 40 {
		all = append(all, newNamesake(t, int64(i), nil, from, until))
		roots = append(roots, all[i].certificate.Raw)
	}
	slices.SortFunc(roots, bytes.Compare)
	upper := newNamesake(t, 100, all[0], from, until)
	lower := newNamesake(t, 101, upper, from, until)
	key, leaf := lower.member(t, from, until)
	parsed := must[*x509.Certificate](t)(x509.ParseCertificate(leaf))
	account := payment.AccountOf("Gamma", parsed.RawSubjectPublicKeyInfo)
	document := must[[]byte](t)((&contract.Genesis{
		Created: uint64(today.Unix()), Name: "test", Price: 10,
		Organisations: []contract.Organisation{{MSP: "Gamma", Administrator: account, Roots: roots}},
		Mints:         []contract.Mint{{Account: account, Coins: 1000}},
	}).Encode())
	tx := &contract.Transaction{Ledger: contract.GenesisID(document), Time: uint64(today.Unix()), Args: transfer(crowd().bob, 1)}
	signed := must[*contract.Signed](t)(contract.Sign(key, [][]byte{leaf, lower.certificate.Raw, upper.certificate.Raw}, tx)).Append(nil)
	var first set
	for i := range 10 {
		e := serving(t, &chaincode{ledger: tx.Ledger, now: func() time.Time { return today }})
		e.commit(e.invoke(fabricID("begin"), []byte("begin"), document))
		s := e.submit(fabricID("x"), signed)
		if i == 0 {
			first = s
		}
		if !reflect.DeepEqual(first, s) {
			t.Fatalf("%+v, and %+v of another one", first, s)
		}
	}
}

// namesake is an authority named as all others of these tests.
type namesake struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newNamesake(t *testing.T, number int64, parent *namesake, from, until time.Time) *namesake {
	t.Helper()
	n := &namesake{key: must[*ecdsa.PrivateKey](t)(identity.NewKey())}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(number + 1), Subject: pkix.Name{Organization: []string{"Gamma"}, CommonName: "X"}, NotBefore: from, NotAfter: until,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, SubjectKeyId: []byte{1},
	}
	by := &namesake{template, n.key}
	if parent != nil {
		by = parent
	}
	der := must[[]byte](t)(x509.CreateCertificate(rand.Reader, template, by.certificate, &n.key.PublicKey, by.key))
	n.certificate = must[*x509.Certificate](t)(x509.ParseCertificate(der))
	return n
}

// member issues a certificate to a new key.
func (n *namesake) member(t *testing.T, from, until time.Time) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	key := must[*ecdsa.PrivateKey](t)(identity.NewKey())
	template := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{Organization: []string{"Gamma"}, CommonName: "m"}, NotBefore: from, NotAfter: until,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	return key, must[[]byte](t)(x509.CreateCertificate(rand.Reader, template, n.certificate, &key.PublicKey, n.key))
}

// A chain is remembered for a time in which none of all these certificates becomes
// valid, or stops being so.
func TestLife(t *testing.T) {
	at := func(hours int) time.Time { return today.Add(time.Duration(hours) * time.Hour) }
	now := newNamesake(t, 1, nil, at(-10), at(10))
	_, leaf := now.member(t, at(-5), at(5))
	past, future := newNamesake(t, 2, nil, at(-20), at(-2)), newNamesake(t, 3, nil, at(3), at(20))
	roots := [][]byte{now.certificate.Raw, past.certificate.Raw, future.certificate.Raw}
	var v verified
	e := evidenceOf([][]byte{leaf}, roots)
	v.remember(e, today, [][]byte{leaf}, roots)
	for when, good := range map[time.Time]bool{
		today: true, at(-2).Add(time.Second): true, at(-2): false, at(3).Add(-time.Second): true, at(3): false, at(-6): false, at(6): false,
	} {
		if v.good(e, when) != good {
			t.Errorf("%s: %v", when, !good)
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
	v.remember(name(0), at, [][]byte{der}, nil)
	for n := range uint64(5 * maxVerified) {
		v.remember(name(n+1), at, [][]byte{der}, nil)
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
	v.remember(name(1<<60), at, slices.Repeat([][]byte{[]byte("no certificate")}, 2), nil)
	if v.good(name(1<<60), at) {
		t.Error("what is no certificate was remembered")
	}
}
