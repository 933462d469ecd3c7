package federation

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"torrente/identity"
	"torrente/payment/ledger/remote"
)

func TestEnrol(t *testing.T) {
	p := served(t, nil)
	e := p.enrolled(t, "bob")
	if e.Identity.Name() != "bob" || e.Account != accountOf(e.Identity) {
		t.Errorf("enrolled as %s, %v", e.Identity.Name(), e.Account)
	}
	if e.Directory.LedgerID != p.books.ID() || e.Directory.URL != p.at.Portal || e.Directory.Portal != "" {
		t.Errorf("the directory is %+v", e.Directory)
	}
	m, err := p.registry.memberOf("bob")
	if err != nil || m.Account != e.Account || !m.Expires.Equal(e.Identity.NotAfter()) {
		t.Errorf("the registry has %+v, %v", m, err)
	}
	if byAccount, err := p.registry.memberOf(e.Account.String()); err != nil || byAccount.Name != "bob" {
		t.Errorf("by account: %+v, %v", byAccount, err)
	}
}

// A lost answer is asked for again: the same key gets the same certificate, and
// no other key gets one, however many try at once.
func TestInviteIsSpentOnce(t *testing.T) {
	p := served(t, nil)
	code := p.code(t, "")
	var mu sync.Mutex
	var won []EnrolRequest
	var group sync.WaitGroup
	for range 12 {
		r := p.request(t, code)
		group.Go(func() {
			_, err := Enrol(t.Context(), r)
			refused, ok := errors.AsType[*remote.Refused](err)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				won = append(won, r)
			case !ok || refused.Failure.Reason != remote.ReasonInvite || !strings.Contains(err.Error(), errUsedInvite.Error()):
				t.Errorf("the loser is told %v", err)
			}
		})
	}
	group.Wait()
	if len(won) != 1 {
		t.Fatalf("%d keys were certified by one invite", len(won))
	}
	first := must[*Enrolled](t)(Enrol(t.Context(), won[0]))
	p.clock.pass(8 * 24 * time.Hour) // the invite is over by now; the certificate is not
	again := must[*Enrolled](t)(Enrol(t.Context(), won[0]))
	if !bytes.Equal(first.Identity.Leaf().Raw, again.Identity.Leaf().Raw) {
		t.Error("the second answer has another certificate")
	}
}

func TestEnrolIsRefused(t *testing.T) {
	p, other := served(t, nil), served(t, nil)
	p.enrolled(t, "bob")
	old := p.code(t, "")
	p.clock.pass(defaultInvite + time.Second)
	unknown := p.code(t, "")
	unknown.Secret[0] ^= 1
	elsewhere := other.code(t, "")
	for name, tt := range map[string]struct {
		code   Code
		name   string
		url    string
		is     error
		reason remote.Reason
	}{
		"expired":          {old, "x", p.at.Portal, nil, remote.ReasonInvite},
		"unknown":          {unknown, "x", p.at.Portal, nil, remote.ReasonInvite},
		"name taken":       {p.code(t, ""), "bob", p.at.Portal, nil, remote.ReasonName},
		"name of account":  {p.code(t, ""), strings.Repeat("ab", 32), p.at.Portal, nil, remote.ReasonName},
		"another portal":   {elsewhere, "x", p.at.Portal, ErrOtherPortal, ""},
		"another host":     {p.code(t, ""), "x", strings.Replace(p.at.Portal, "127.0.0.1", "localhost", 1), ErrOtherPortal, ""},
		"nobody is there":  {p.code(t, ""), "x", "https://127.0.0.1:1", nil, ""},
		"no https address": {p.code(t, ""), "x", "http://127.0.0.1:1", nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := p.request(t, tt.code)
			r.URL, r.Name = tt.url, tt.name
			_, err := Enrol(t.Context(), r)
			if err == nil || tt.is != nil && !errors.Is(err, tt.is) {
				t.Fatalf("Enrol: %v", err)
			}
			if refused, ok := errors.AsType[*remote.Refused](err); ok != (tt.reason != "") || ok && refused.Failure.Reason != tt.reason {
				t.Errorf("Enrol: %v", err)
			}
		})
	}
	// Refused for its name, the invite is as good as before.
	code := p.code(t, "")
	r := p.request(t, code)
	r.Name = "bob"
	if _, err := Enrol(t.Context(), r); err == nil {
		t.Fatal("two members have one name")
	}
	r.Name = "dan"
	must[*Enrolled](t)(Enrol(t.Context(), r))
}

func TestEnrolSaysThatTheClockIsWrong(t *testing.T) {
	p := served(t, nil)
	r := p.request(t, p.code(t, ""))
	r.Now = func() time.Time { return p.clock.now().Add(-48 * time.Hour) }
	if _, err := Enrol(t.Context(), r); !errors.Is(err, ErrPortalTime) {
		t.Errorf("two days behind: %v", err)
	}
}

// Whoever lost certificate or root enrols the same key again, and keeps name
// and account; a revoked key does not.
func TestEnrolAgain(t *testing.T) {
	p := served(t, nil)
	r := p.request(t, p.code(t, "bob"))
	first := must[*Enrolled](t)(Enrol(t.Context(), r))
	p.clock.pass(memberLifetime + time.Hour)
	r.Code = p.code(t, "")
	again := must[*Enrolled](t)(Enrol(t.Context(), r))
	if again.Account != first.Account || again.Identity.Name() != "bob" {
		t.Errorf("enrolled again as %s, %v", again.Identity.Name(), again.Account)
	}
	must[Member](t)(p.Revoke(t.Context(), RevokeRequest{Who: "bob"}))
	r.Code = p.code(t, "")
	if _, err := Enrol(t.Context(), r); !errors.Is(err, identity.ErrRevoked) {
		t.Errorf("after revocation: %v", err)
	}
}

func TestRenew(t *testing.T) {
	p := served(t, nil)
	e := p.enrolled(t, "bob")
	c := p.client(t, e.Identity)
	chain := must[[]*x509.Certificate](t)(c.Renew(t.Context()))
	if !chain[0].Equal(e.Identity.Leaf()) {
		t.Error("a new certificate was renewed")
	}
	p.clock.pass(memberLifetime/2 + time.Hour)
	chain = must[[]*x509.Certificate](t)(c.Renew(t.Context()))
	next := must[*identity.Identity](t)(identity.New(e.Identity.Key(), chain))
	if !next.NotAfter().After(e.Identity.NotAfter()) || accountOf(next) != e.Account || next.Name() != "bob" {
		t.Errorf("renewed until %s as %s", next.NotAfter(), next.Name())
	}
	// Another key's request is no renewal.
	key := must[*ecdsa.PrivateKey](t)(identity.NewKey())
	csr := must[[]byte](t)(identity.NewRequest(key, "bob"))
	status, f, _ := p.ask(t, p.web(t, tlsOf(next)), "POST", remote.PathRenew, string(csr))
	if status != 403 || f.Reason != remote.ReasonCertificate {
		t.Errorf("another key: %d %+v", status, f)
	}
	// A member whose root the federation trusts, but has no key of, renews elsewhere.
	a := must[*identity.Authority](t)(identity.NewAuthority("Alpha", p.clock.now(), time.Hour))
	must[Root](t)(p.AddRoot(t.Context(), AddRootRequest{Certificate: identity.EncodeCertificates([]*x509.Certificate{a.Root()})}))
	foreign := certified(t, a, "eve", p.clock.now(), time.Hour)
	if _, err := p.client(t, foreign).Renew(t.Context()); err == nil || !strings.Contains(err.Error(), errForeign.Error()) {
		t.Errorf("a foreign root's member: %v", err)
	}
}

// requestOf is an enrolment as JSON.
func requestOf(t testing.TB, invite, csr string) string {
	return string(must[[]byte](t)(json.Marshal(enrolment{Invite: invite, CSR: csr})))
}

func TestParseEnrolment(t *testing.T) {
	code := Code{}.String()
	key := must[*ecdsa.PrivateKey](t)(identity.NewKey())
	der := must[[]byte](t)(identity.NewRequest(key, "bob"))
	text := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
	forged := bytes.Clone(der)
	forged[len(forged)-1] ^= 1
	b64 := base64.StdEncoding.EncodeToString
	p384 := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	other := must[[]byte](t)(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "x"}}, p384))
	for name, tt := range map[string]struct {
		body string
		err  error
	}{
		"PEM":              {requestOf(t, code, text), nil},
		"DER":              {requestOf(t, code, b64(der)), nil},
		"unknown fields":   {strings.Replace(requestOf(t, code, b64(der)), "{", `{"later":1,`, 1), nil},
		"two requests":     {requestOf(t, code, text+text), errRequest},
		"a certificate":    {requestOf(t, code, strings.ReplaceAll(text, " REQUEST", "")), errRequest},
		"a forged one":     {requestOf(t, code, b64(forged)), errRequest},
		"another curve":    {requestOf(t, code, b64(other)), errRequest},
		"no base64":        {requestOf(t, code, "%%"), errRequest},
		"no request":       {requestOf(t, code, ""), errRequest},
		"a huge one":       {requestOf(t, code, b64(make([]byte, 20_000))), errRequest},
		"no invite":        {requestOf(t, "", b64(der)), ErrCode},
		"something behind": {requestOf(t, code, b64(der)) + "{}", nil},
	} {
		t.Run(name, func(t *testing.T) {
			_, csr, _, err := parseEnrolment([]byte(tt.body))
			if name == "something behind" {
				if err == nil {
					t.Error("it was accepted")
				}
				return
			}
			if !errors.Is(err, tt.err) {
				t.Errorf("%v, not %v", err, tt.err)
			}
			if err == nil && !bytes.Equal(csr.der, der) {
				t.Error("it is another request")
			}
		})
	}
}

func FuzzParseEnrolment(f *testing.F) {
	key := must[*ecdsa.PrivateKey](f)(identity.NewKey())
	der := must[[]byte](f)(identity.NewRequest(key, "bob"))
	f.Add([]byte(requestOf(f, Code{}.String(), base64.StdEncoding.EncodeToString(der))))
	f.Add([]byte(`{"invite":"","csr":"-----BEGIN CERTIFICATE REQUEST-----\n"}`))
	f.Add([]byte(`[[[[`))
	f.Fuzz(func(t *testing.T, body []byte) {
		_, csr, _, err := parseEnrolment(body)
		if err == nil && (len(csr.der) > maxRequest || len(csr.spki) == 0) {
			t.Fatal("a request without a key, or too long")
		}
	})
}

func TestInvitesAreForgotten(t *testing.T) {
	p := opened(t)
	for range 3 {
		must[Invitation](t)(p.Invite(t.Context(), InviteRequest{Lifetime: time.Hour}))
	}
	p.clock.pass(keepInvites + 2*time.Hour)
	must[Invitation](t)(p.Invite(t.Context(), InviteRequest{}))
	if n := p.registry.count(t, bucketInvites); n != 1 {
		t.Errorf("%d invites are left", n)
	}
	for _, bad := range []InviteRequest{{Lifetime: -1}, {Lifetime: 2 * longestInvite}, {Name: "a\nb"}, {Name: strings.Repeat("x", 65)}, {Name: strings.Repeat("ab", 32)}} {
		if i, err := p.Invite(t.Context(), bad); err == nil {
			t.Errorf("%+v: %+v", bad, i)
		}
	}
}
