package identity

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestVerifyGivesThePrincipal(t *testing.T) {
	a := newAuthority(t, "Org1MSP")
	m := newMember(t, a, "alice")
	p, err := trusting(t, a).Verify(m.Chain(), today)
	if err != nil {
		t.Fatal(err)
	}
	want := Principal{"Org1MSP", must[[]byte](t)(x509.MarshalPKIXPublicKey(&m.Key().PublicKey))}
	if diff := cmp.Diff(want, p); diff != "" {
		t.Error(diff)
	}
	if !p.Equal(m.Principal()) || p.KeyID() != m.Principal().KeyID() {
		t.Error("the principal is not the identity's")
	}
}

func TestRenewalKeepsThePrincipal(t *testing.T) {
	a := newAuthority(t, "Org1MSP")
	b := must[*Authority](t)(NewAuthority("Org1MSP", today, year)) // a new root of the same organisation
	key := newKey(t)
	trust := trusting(t, a, b)
	first := must[Principal](t)(trust.Verify(issue(t, a, key, "alice", today, year).Chain(), today))
	second := must[Principal](t)(trust.Verify(issue(t, b, key, "alice", today, year).Chain(), today))
	if !first.Equal(second) {
		t.Errorf("%+v became %+v", first, second)
	}
}

func TestVerifyRefuses(t *testing.T) {
	a, other := newAuthority(t, "Org1MSP"), newAuthority(t, "Org2MSP")
	impostor := newAuthority(t, "Org1MSP") // calls itself as ours
	m := newMember(t, a, "alice")
	for _, c := range []struct {
		name   string
		chain  [][]byte
		change func(*Trust)
		at     time.Time
		want   error
	}{
		{"unknown organisation", newMember(t, newAuthority(t, "Org9MSP"), "eve").Chain(), nil, today, ErrOtherFederation},
		{"same name, other root", newMember(t, impostor, "eve").Chain(), nil, today, ErrOtherFederation},
		{"root sent along", append(newMember(t, impostor, "eve").Chain(), impostor.Root().Raw), nil, today, ErrOtherFederation},
		{"expired and of another federation", newMember(t, impostor, "eve").Chain(), nil, today.Add(2 * year), ErrOtherFederation},
		{"one organisation's root for another's member", forged(t, other, "Org1MSP"), nil, today, ErrOtherFederation},
		{"root removed", m.Chain(), func(tr *Trust) { tr.RemoveRoot("Org1MSP", a.Root()) }, today, ErrRootRemoved},
		{"root removed, then expired", m.Chain(), func(tr *Trust) { tr.RemoveRoot("Org1MSP", a.Root()) }, today.Add(2 * year), ErrRootRemoved},
		{"key revoked", m.Chain(), func(tr *Trust) { tr.RevokeKey(m.Principal().KeyID()) }, today, ErrRevoked},
		{"serial revoked", m.Chain(), func(tr *Trust) { tr.RevokeSerial(m.Leaf().SerialNumber) }, today, ErrRevoked},
		{"root's key revoked", m.Chain(), func(tr *Trust) { tr.RevokeKey(Principal{SPKI: a.Root().RawSubjectPublicKeyInfo}.KeyID()) }, today, ErrRevoked},
		{"expired", m.Chain(), nil, today.Add(year + time.Second), ErrExpired},
		{"not yet valid", m.Chain(), nil, today.Add(-maxBackdated - time.Second), ErrNotYetValid},
		{"no certificate", nil, nil, today, ErrMalformed},
		{"no DER", [][]byte{[]byte("certificate")}, nil, today, ErrMalformed},
		{"broken second", append(m.Chain(), []byte{0x30}), nil, today, ErrMalformed},
		{"five certificates", append(m.Chain(), a.Root().Raw, a.Root().Raw, a.Root().Raw, a.Root().Raw), nil, today, ErrMalformed},
		{"over 16 KiB", append(m.Chain(), make([]byte, maxChainBytes)), nil, today, ErrMalformed},
		{"the root itself", [][]byte{a.Root().Raw}, nil, today, ErrMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			trust := trusting(t, a, other)
			if c.change != nil {
				c.change(trust)
			}
			p, err := trust.Verify(c.chain, c.at)
			if !errors.Is(err, c.want) || p.SPKI != nil {
				t.Fatalf("got %+v, %v; want %v", p, err, c.want)
			}
		})
	}
}

// The edges of a certificate's life are part of it.
func TestVerifyAtTheEdges(t *testing.T) {
	a := newAuthority(t, "Org1MSP")
	m := newMember(t, a, "alice")
	trust := trusting(t, a)
	for _, at := range []time.Time{m.Leaf().NotBefore, m.NotAfter()} {
		if _, err := trust.Verify(m.Chain(), at); err != nil {
			t.Errorf("at %s: %v", at, err)
		}
	}
	_, err := trust.Verify(m.Chain(), m.Leaf().NotBefore.Add(-time.Second))
	if err == nil || !strings.Contains(err.Error(), "clock") {
		t.Errorf("the clock is not mentioned: %v", err)
	}
}

func TestRootsComeAndGo(t *testing.T) {
	old, next := newAuthority(t, "Org1MSP"), newAuthority(t, "Org1MSP")
	trust := trusting(t, old, next)
	byOld, byNext := newMember(t, old, "alice").Chain(), newMember(t, next, "bob").Chain()
	check := func(chain [][]byte, want error) {
		t.Helper()
		if _, err := trust.Verify(chain, today); !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	check(byOld, nil)
	check(byNext, nil)
	if !trust.RemoveRoot("Org1MSP", old.Root()) || trust.RemoveRoot("Org1MSP", old.Root()) || trust.RemoveRoot("Org2MSP", next.Root()) {
		t.Error("RemoveRoot does not say whether it removed one")
	}
	check(byOld, ErrRootRemoved)
	check(byNext, nil)
	if got := trust.Roots("Org1MSP"); len(got) != 1 || !got[0].Equal(next.Root()) {
		t.Errorf("%d roots left", len(got))
	}
	if err := trust.AddRoot("Org1MSP", old.Root()); err != nil {
		t.Fatal(err)
	}
	check(byOld, nil)
	if len(trust.Roots("Org1MSP")) != 2 || trust.Roots("Org2MSP") != nil {
		t.Error("the roots are not those added")
	}
}

func TestAddRootRefuses(t *testing.T) {
	a := newAuthority(t, "Org1MSP")
	if err := NewTrust().AddRoot("Org1MSP", newMember(t, a, "alice").Leaf()); !errors.Is(err, ErrMalformed) {
		t.Errorf("a member's certificate as a root: %v", err)
	}
	for _, msp := range []string{"", "a b", "a/b", "ä", strings.Repeat("x", 65)} {
		if err := NewTrust().AddRoot(msp, a.Root()); !errors.Is(err, ErrMalformed) {
			t.Errorf("organisation %q: %v", msp, err)
		}
	}
}

// sign makes a certificate that Issue would not.
func sign(t testing.TB, a *Authority, c *x509.Certificate, pub any) *x509.Certificate {
	t.Helper()
	if c.SerialNumber == nil {
		c.SerialNumber = must[*big.Int](t)(rand.Int(rand.Reader, big.NewInt(1<<62)))
	}
	if c.NotAfter.IsZero() {
		c.NotBefore, c.NotAfter = today, today.Add(year)
	}
	der := must[[]byte](t)(x509.CreateCertificate(rand.Reader, c, a.Root(), pub, a.Key()))
	return must[*x509.Certificate](t)(x509.ParseCertificate(der))
}

// forged is a certificate by a for a member of another organisation.
func forged(t testing.TB, a *Authority, msp string) [][]byte {
	t.Helper()
	return [][]byte{sign(t, a, &x509.Certificate{Subject: pkix.Name{Organization: []string{msp}, CommonName: "eve"}}, &newKey(t).PublicKey).Raw}
}

func TestVerifyLeaf(t *testing.T) {
	a := newAuthority(t, "Org1MSP")
	trust := trusting(t, a)
	p256 := &newKey(t).PublicKey
	p384 := &must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)).PublicKey
	ed, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey := &must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 2048)).PublicKey
	name := func(cn string, org ...string) pkix.Name { return pkix.Name{CommonName: cn, Organization: org} }
	alice := name("alice", "Org1MSP")
	for _, c := range []struct {
		what string
		cert x509.Certificate
		pub  any
		want error
	}{
		{"any EKU", x509.Certificate{Subject: alice, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageTimeStamping}}, p256, nil},
		{"no EKU", x509.Certificate{Subject: alice}, p256, nil},
		{"P-384", x509.Certificate{Subject: alice}, p384, ErrKeyType},
		{"Ed25519", x509.Certificate{Subject: alice}, ed, ErrKeyType},
		{"RSA", x509.Certificate{Subject: alice}, rsaKey, ErrKeyType},
		{"no organization", x509.Certificate{Subject: name("alice")}, p256, ErrMalformed},
		{"two organizations", x509.Certificate{Subject: name("alice", "Org1MSP", "Org2MSP")}, p256, ErrMalformed},
		{"organization with a slash", x509.Certificate{Subject: name("alice", "Org1MSP/x")}, p256, ErrMalformed},
		{"no name", x509.Certificate{Subject: name("", "Org1MSP")}, p256, ErrMalformed},
		{"two lines of name", x509.Certificate{Subject: name("a\nb", "Org1MSP")}, p256, ErrMalformed},
		{"unknown critical extension", x509.Certificate{Subject: alice, ExtraExtensions: []pkix.Extension{{Id: []int{1, 2, 3}, Critical: true}}}, p256, ErrMalformed},
	} {
		t.Run(c.what, func(t *testing.T) {
			leaf := sign(t, a, &c.cert, c.pub)
			if _, err := trust.Verify([][]byte{leaf.Raw}, today); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

// A chain over an intermediate authority, and what can happen to that one.
func TestVerifyIntermediate(t *testing.T) {
	a := newAuthority(t, "Org1MSP")
	key := newKey(t)
	cert := sign(t, a, &x509.Certificate{
		Subject: pkix.Name{Organization: []string{"Org1MSP"}, CommonName: "issuer"},
		IsCA:    true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: today, NotAfter: today.Add(100 * day),
	}, &key.PublicKey)
	between := must[*Authority](t)(LoadAuthority(cert, key))
	member := newKey(t)
	leaf := sign(t, between, &x509.Certificate{
		Subject:   pkix.Name{Organization: []string{"Org1MSP"}, CommonName: "alice"},
		NotBefore: today.Add(-day), NotAfter: today.Add(year),
	}, &member.PublicKey)
	chain := [][]byte{leaf.Raw, cert.Raw}
	trust := trusting(t, a)
	if _, err := trust.Verify(chain, today); err != nil {
		t.Fatal(err)
	}
	if _, err := trust.Verify(chain[:1], today); !errors.Is(err, ErrOtherFederation) {
		t.Errorf("without the intermediate: %v", err)
	}
	if _, err := trust.Verify(chain, today.Add(101*day)); !errors.Is(err, ErrExpired) {
		t.Errorf("after the intermediate's end: %v", err)
	}
	if _, err := trust.Verify(chain, today.Add(-time.Hour)); !errors.Is(err, ErrNotYetValid) {
		t.Errorf("before the intermediate's start: %v", err)
	}
	// Its sound second certificate saves a member whose issuer was replaced.
	again := sign(t, a, &x509.Certificate{
		Subject: cert.Subject,
		IsCA:    true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, &key.PublicKey)
	trust.RevokeSerial(cert.SerialNumber)
	if _, err := trust.Verify([][]byte{leaf.Raw, cert.Raw, again.Raw}, today); err != nil {
		t.Errorf("with the new certificate of the intermediate: %v", err)
	}
	if _, err := trust.Verify(chain, today); !errors.Is(err, ErrRevoked) {
		t.Errorf("with the intermediate revoked: %v", err)
	}
	// A member is no authority, whatever it signs.
	m := newMember(t, a, "mallory")
	fake := &Authority{"Org1MSP", m.Leaf(), m.Key()}
	bad := sign(t, fake, &x509.Certificate{Subject: pkix.Name{Organization: []string{"Org1MSP"}, CommonName: "eve"}}, &member.PublicKey)
	if _, err := trust.Verify([][]byte{bad.Raw, m.Leaf().Raw}, today); err == nil {
		t.Error("a member issued a certificate")
	}
}

// Trust against a model: sets that say who is good.
func TestTrustAgainstModel(t *testing.T) {
	authorities := []*Authority{newAuthority(t, "Org1MSP"), newAuthority(t, "Org1MSP"), newAuthority(t, "Org2MSP")}
	var members []*Identity
	for _, a := range authorities {
		members = append(members, newMember(t, a, "alice"), newMember(t, a, "bob"))
	}
	rapid.Check(t, func(t *rapid.T) {
		trust := NewTrust()
		var known, current [3]bool // roots ever added, roots trusted
		var revoked [6]bool
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			i := rapid.IntRange(0, 2).Draw(t, "authority")
			a, m := authorities[i], rapid.IntRange(0, 5).Draw(t, "member")
			switch rapid.SampledFrom([]string{"add", "remove", "revoke", "revoke serial"}).Draw(t, "what") {
			case "add":
				if err := trust.AddRoot(a.MSP(), a.Root()); err != nil {
					t.Fatal(err)
				}
				known[i], current[i] = true, true
			case "remove":
				if trust.RemoveRoot(a.MSP(), a.Root()) != current[i] {
					t.Fatal("RemoveRoot is wrong about whether it removed one")
				}
				current[i] = false
			case "revoke":
				trust.RevokeKey(members[m].Principal().KeyID())
				revoked[m] = true
			case "revoke serial":
				trust.RevokeSerial(members[m].Leaf().SerialNumber)
				revoked[m] = true
			}
		}
		for m, id := range members {
			var want error
			switch i := m / 2; {
			case !known[i]:
				want = ErrOtherFederation
			case !current[i]:
				want = ErrRootRemoved
			case revoked[m]:
				want = ErrRevoked
			}
			if _, err := trust.Verify(id.Chain(), today); !errors.Is(err, want) {
				t.Fatalf("member %d: got %v, want %v", m, err, want)
			}
		}
	})
}

// A federation changes its mind while connections come in.
func TestTrustChangesWhileUsed(t *testing.T) {
	a := newAuthority(t, "Org1MSP")
	m := newMember(t, a, "alice")
	trust := trusting(t, a)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				_, err := trust.Verify(m.Chain(), today)
				if err != nil && !errors.Is(err, ErrRootRemoved) && !errors.Is(err, ErrRevoked) {
					t.Error(err)
				}
			}
		})
	}
	for range 50 {
		trust.RemoveRoot("Org1MSP", a.Root())
		if err := trust.AddRoot("Org1MSP", a.Root()); err != nil {
			t.Error(err)
		}
	}
	trust.RevokeKey(m.Principal().KeyID())
	wg.Wait()
	if _, err := trust.Verify(m.Chain(), today); !errors.Is(err, ErrRevoked) {
		t.Errorf("in the end: %v", err)
	}
}

func FuzzVerify(f *testing.F) {
	a := newAuthority(f, "Org1MSP")
	trust := trusting(f, a)
	m := newMember(f, a, "alice")
	f.Add(m.Leaf().Raw, a.Root().Raw)
	f.Add(a.Root().Raw, m.Leaf().Raw)
	f.Add([]byte{0x30, 0x80}, []byte{})
	f.Fuzz(func(t *testing.T, leaf, issuer []byte) {
		p, err := trust.Verify([][]byte{leaf, issuer}, today)
		switch {
		case err == nil && !p.Equal(m.Principal()):
			t.Fatalf("a certificate that was never issued is %+v's", p)
		case err != nil && (RefusalCode(err) == 0 || p.SPKI != nil):
			t.Fatalf("%+v, %v", p, err)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	a := newAuthority(b, "Org1MSP")
	trust, chain := trusting(b, a), newMember(b, a, "alice").Chain()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := trust.Verify(chain, today); err != nil {
			b.Fatal(err)
		}
	}
}

// What one organisation revokes is no other's: the same key there, or a key of
// which it only says that it is its own, is trusted. Who is reinstated is too.
func TestRevokedKeysAreOfAnOrganisation(t *testing.T) {
	a, b := newAuthority(t, "Org1MSP"), newAuthority(t, "Org2MSP")
	trust := trusting(t, a)
	if err := trust.AddRoot("Org2MSP", b.Root()); err != nil {
		t.Fatal(err)
	}
	m := newMember(t, b, "bob")
	root := Principal{SPKI: b.Root().RawSubjectPublicKeyInfo}.KeyID()
	for _, x := range []struct {
		keys []RevokedKey
		want error
	}{
		{[]RevokedKey{{"Org1MSP", m.Principal().KeyID()}, {"Org1MSP", root}}, nil},
		{[]RevokedKey{{"Org2MSP", m.Principal().KeyID()}}, ErrRevoked},
		{nil, nil},
		{[]RevokedKey{{"Org2MSP", root}}, ErrRevoked},
		{[]RevokedKey{{Key: m.Principal().KeyID()}}, ErrRevoked},
	} {
		trust.SetRevokedKeys(x.keys)
		if _, err := trust.Verify(m.Chain(), today); !errors.Is(err, x.want) {
			t.Errorf("%v: %v, want %v", x.keys, err, x.want)
		}
	}
}
