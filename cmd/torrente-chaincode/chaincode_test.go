package main

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"torrente/identity"
	"torrente/payment"
	"torrente/payment/admission"
	"torrente/payment/contract"
	"torrente/payment/ledger/fabric/invocation"
)

// must returns v, for calls in tests that cannot go on without it.
func must[V any](t testing.TB) func(v V, err error) V {
	return func(v V, err error) V {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// today is when all tests happen.
var today = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// people is a federation of two organisations with members.
type people struct {
	alpha, beta       *identity.Authority
	admin, alice, bob *identity.Identity
	genesis           []byte
}

var crowd = sync.OnceValue(func() *people {
	p := &people{alpha: authority("Alpha"), beta: authority("Beta")}
	p.admin, p.alice, p.bob = enroll(p.alpha, "admin"), enroll(p.alpha, "alice"), enroll(p.beta, "bob")
	var err error
	p.genesis, err = (&contract.Genesis{
		Created: uint64(today.Unix()), Name: "test", Price: 10,
		Organisations: []contract.Organisation{
			{MSP: "Alpha", Administrator: accountOf(p.admin), Roots: [][]byte{p.alpha.Root().Raw}},
			{MSP: "Beta", Administrator: accountOf(p.admin), Roots: [][]byte{p.beta.Root().Raw}},
		},
		Mints: []contract.Mint{{Account: accountOf(p.alice), Coins: 1000}},
	}).Encode()
	if err != nil {
		panic(err)
	}
	return p
})

func authority(msp string) *identity.Authority {
	a, err := identity.NewAuthority(msp, today.Add(-time.Hour), 365*24*time.Hour)
	if err != nil {
		panic(err)
	}
	return a
}

// enroll makes a member of the authority's organisation.
func enroll(a *identity.Authority, name string) *identity.Identity {
	key, err := identity.NewKey()
	if err != nil {
		panic(err)
	}
	csr, err := identity.NewRequest(key, name)
	if err != nil {
		panic(err)
	}
	c, err := a.Issue(csr, name, today.Add(-time.Hour), 30*24*time.Hour)
	if err != nil {
		panic(err)
	}
	id, err := identity.New(key, []*x509.Certificate{c})
	if err != nil {
		panic(err)
	}
	return id
}

func accountOf(id *identity.Identity) payment.Account {
	p := id.Principal()
	return payment.AccountOf(p.MSP, p.SPKI)
}

var serial uint64

func sign(t *testing.T, who *identity.Identity, at time.Time, args contract.Arguments) []byte {
	t.Helper()
	serial++
	tx := &contract.Transaction{Ledger: contract.GenesisID(crowd().genesis), Time: uint64(at.Unix()), Args: args}
	binary.BigEndian.PutUint64(tx.Request[:], serial)
	return must[*contract.Signed](t)(contract.Sign(who.Key(), who.Chain(), tx)).Append(nil)
}

func transfer(to *identity.Identity, coins payment.Amount) *contract.Transfer {
	return &contract.Transfer{To: accountOf(to), Coins: coins}
}

// fabricID is a Fabric transaction's id.
func fabricID(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// begun is an endorser whose ledger has begun.
func begun(t *testing.T) *endorser {
	t.Helper()
	e := serving(t, &chaincode{ledger: contract.GenesisID(crowd().genesis), now: func() time.Time { return today }})
	s := e.invoke(fabricID("begin"), []byte(invocation.Begin), crowd().genesis)
	if s.Status != 200 {
		t.Fatalf("%+v", s)
	}
	e.commit(s)
	return e
}

func outcome(t *testing.T, s set) (o invocation.Outcome) {
	t.Helper()
	if s.Status != 200 {
		t.Fatalf("status %d: %s", s.Status, s.Error)
	}
	if err := json.Unmarshal([]byte(s.Answer), &o); err != nil {
		t.Fatal(err)
	}
	return o
}

func (e *endorser) submit(id string, signed []byte) set {
	e.t.Helper()
	return e.invoke(id, []byte(invocation.Submit), signed)
}

func (e *endorser) query(q contract.Query) (a contract.Answer) {
	e.t.Helper()
	s := e.invoke(fabricID("q"), []byte(invocation.Query), must[[]byte](e.t)(json.Marshal(q)))
	if err := json.Unmarshal([]byte(s.Answer), &a); s.Status != 200 || err != nil {
		e.t.Fatalf("%+v %v", s, err)
	}
	if len(s.Writes) > 0 {
		e.t.Errorf("a query writes %v", slices.Sorted(maps.Keys(s.Writes)))
	}
	return a
}

func TestBeginsOnce(t *testing.T) {
	e := serving(t, &chaincode{ledger: contract.GenesisID(crowd().genesis), now: func() time.Time { return today }})
	other := must[[]byte](t)((&contract.Genesis{
		Name: "other", Price: 1,
		Organisations: []contract.Organisation{{MSP: "Alpha", Roots: [][]byte{crowd().alpha.Root().Raw}}},
	}).Encode())
	if s := e.invoke(fabricID("x"), []byte(invocation.Begin), other); s.Status != 500 || !strings.Contains(s.Error, "this endorser is of") {
		t.Errorf("another's document: %+v", s)
	}
	if s := e.submit(fabricID("x"), sign(t, crowd().alice, today, transfer(crowd().bob, 1))); s.Status != 500 {
		t.Errorf("before it began: %+v", s)
	}
	s := e.invoke(fabricID("x"), []byte(invocation.Begin), crowd().genesis)
	if !outcome(t, s).Wrote {
		t.Errorf("%+v", s)
	}
	e.commit(s)
	if s := e.invoke(fabricID("y"), []byte(invocation.Begin), crowd().genesis); s.Status != 500 || len(s.Writes) > 0 {
		t.Errorf("twice: %+v", s)
	}
	l := e.query(contract.Query{Kind: contract.QueryLedger})
	if l.Ledger.Name != "test" || l.Ledger.Minted != 1000 || l.Time != uint64(today.Unix()) {
		t.Errorf("%+v", l)
	}
}

// Two endorsers, in two processes' worth of state, that execute the same
// transactions read and write the same, or Fabric would refuse them (L8).
func TestEndorsersAgree(t *testing.T) {
	a, b := begun(t), begun(t)
	if fmt.Sprintf("%q", a.state) != fmt.Sprintf("%q", b.state) {
		t.Error("they began differently")
	}
	var credits []contract.TxID
	steps := [][]byte{
		sign(t, crowd().alice, today, transfer(crowd().bob, 10)), sign(t, crowd().alice, today, transfer(crowd().bob, 5)),
		sign(t, crowd().alice, today, transfer(crowd().bob, 100_000)), sign(t, crowd().bob, today, transfer(crowd().alice, 1)),
	}
	for _, step := range steps[:2] {
		credits = append(credits, contract.IDOf(accountOf(crowd().alice), must[*contract.Signed](t)(contract.ParseSigned(step)).Body))
	}
	steps = append(steps, sign(t, crowd().bob, today, &contract.Sweep{Credits: append(credits, contract.TxID{9})}),
		sign(t, crowd().bob, today, transfer(crowd().alice, 15)))
	for i, step := range steps {
		id := fabricID(fmt.Sprint(i))
		x, y := a.submit(id, step), b.submit(id, step)
		if fmt.Sprintf("%q", x) != fmt.Sprintf("%q", y) {
			t.Errorf("step %d: one\n%q\nother\n%q", i, x, y)
		}
		a.commit(x)
		b.commit(y)
	}
	for _, e := range []*endorser{a, b} {
		info := e.query(contract.Query{Kind: contract.QueryAccount, Account: accountOf(crowd().alice)}).Account
		if info.Balance != 985 || info.Unswept != 15 {
			t.Errorf("%+v", info)
		}
	}
}

// A transaction that was executed has its receipt at any time, with the Fabric
// transaction that did it, and writes nothing.
func TestReceiptOutlivesTheClock(t *testing.T) {
	now := today
	e := serving(t, &chaincode{ledger: contract.GenesisID(crowd().genesis), now: func() time.Time { return now }})
	e.commit(e.invoke(fabricID("begin"), []byte(invocation.Begin), crowd().genesis))
	signed := sign(t, crowd().alice, today, transfer(crowd().bob, 7))
	s := e.submit(fabricID("first"), signed)
	first := outcome(t, s)
	if first.Code != contract.OK || first.Coins != 7 || !first.Wrote || first.Done != "" || len(s.Writes) != 4 {
		t.Errorf("%+v with %d writes", first, len(s.Writes))
	}
	var event invocation.Event
	name, text, _ := strings.Cut(s.Event, " ")
	if err := json.Unmarshal([]byte(text), &event); err != nil || name != invocation.EventName || event.Tx != first.Tx || event.Time != uint64(today.Unix()) || len(event.Events) != 1 || event.Events[0].Coins != 7 {
		t.Errorf("%s, %v", s.Event, err)
	}
	e.commit(s)
	now = today.Add(365 * 24 * time.Hour)
	again := e.submit(fabricID("second"), signed)
	got := outcome(t, again)
	if got.Done != fabricID("first") || got.Wrote || got.Tx != first.Tx || got.Coins != 7 || len(again.Writes) > 0 || again.Event != "" {
		t.Errorf("%+v", again)
	}
}

func TestClock(t *testing.T) {
	e := begun(t)
	for off, good := range map[time.Duration]bool{
		0: true, 5 * time.Minute: true, -5 * time.Minute: true, 5*time.Minute + time.Second: false, -5*time.Minute - time.Second: false,
	} {
		s := e.submit(fabricID("x"), sign(t, crowd().alice, today.Add(off), transfer(crowd().bob, 1)))
		if (s.Status == 200) != good {
			t.Errorf("%s off: %+v", off, s)
		}
		if good {
			continue
		}
		clock, ok := errors.AsType[*admission.ClockOff](admission.ParseFailure("chaincode response 500, " + s.Error))
		if !ok || !clock.Ledger.Equal(today) || !clock.Tx.Equal(today.Add(off)) || len(s.Writes) > 0 {
			t.Errorf("%s off: %+v", off, s)
		}
	}
}

// Whom the contract's roots do not name does nothing, whoever submits for them.
func TestWhoMaySubmit(t *testing.T) {
	e := begun(t)
	good := sign(t, crowd().alice, today, transfer(crowd().bob, 1))
	forged := slices.Clone(good)
	forged[len(forged)-1] ^= 1
	stranger := enroll(authority("Alpha"), "alice")
	nobody := enroll(authority("Gamma"), "x")
	for what, c := range map[string]struct {
		signed []byte
		is     error
	}{
		"forged":               {forged, payment.ErrSignature},
		"another authority":    {sign(t, stranger, today, transfer(crowd().bob, 1)), identity.ErrOtherFederation},
		"another organisation": {sign(t, nobody, today, transfer(crowd().bob, 1)), identity.ErrOtherFederation},
		"cut off":              {good[:len(good)-1], contract.ErrTransaction},
		"nothing":              {nil, contract.ErrTransaction},
	} {
		s := e.submit(fabricID("x"), c.signed)
		if f := admission.ParseFailure(s.Error); s.Status != 500 || !errors.Is(f, c.is) || !f.Final() || len(s.Writes) > 0 {
			t.Errorf("%s: %+v", what, s)
		}
	}
	s := e.submit(fabricID("x"), good)
	if len(s.Ranges) > 0 || !slices.ContainsFunc(s.Reads, func(r string) bool { return strings.Contains(r, "org") && strings.Contains(r, "Alpha") }) {
		t.Errorf("it depends on %q and %q", s.Reads, s.Ranges)
	}
	if e.needless > 0 {
		t.Errorf("%d iterators were closed that were at their end", e.needless)
	}
}

// Whose root was added may submit at once, and whose was removed is told so.
func TestRootsChange(t *testing.T) {
	e := begun(t)
	before, after := crowd().alpha.Root().Raw, authority("Alpha")
	newcomer := enroll(after, "newcomer")
	outcome(t, e.submit(fabricID("0"), sign(t, crowd().alice, today, transfer(crowd().bob, 1)))) // her certificate is remembered
	first := sign(t, newcomer, today, &contract.SetDelegate{Delegate: accountOf(crowd().bob)})
	if s := e.submit(fabricID("1"), first); !errors.Is(admission.ParseFailure(s.Error), identity.ErrOtherFederation) {
		t.Errorf("%+v", s)
	}
	for i, change := range []contract.Arguments{
		&contract.AddRoot{MSP: "Alpha", Certificate: after.Root().Raw}, &contract.RemoveRoot{MSP: "Alpha", Fingerprint: sha256.Sum256(before)},
	} {
		s := e.submit(fabricID(fmt.Sprint("change", i)), sign(t, crowd().admin, today, change))
		if o := outcome(t, s); o.Code != contract.OK || !o.Wrote {
			t.Fatalf("%+v", o)
		}
		e.commit(s)
		if o := outcome(t, e.submit(fabricID("2"), first)); o.Code != contract.OK {
			t.Errorf("%+v", o)
		}
	}
	s := e.submit(fabricID("3"), sign(t, crowd().alice, today, transfer(crowd().bob, 1)))
	if !errors.Is(admission.ParseFailure(s.Error), identity.ErrRootRemoved) || len(s.Writes) > 0 {
		t.Errorf("%+v", s)
	}
}

func TestArgumentsAreBounded(t *testing.T) {
	e := begun(t)
	for what, args := range map[string][][]byte{
		"none": {}, "one": {[]byte(invocation.Query)}, "three": {[]byte(invocation.Query), nil, nil},
		"no function": {[]byte("mint"), []byte("x")}, "a huge name": {make([]byte, 1<<20), nil},
		"a huge query": {[]byte(invocation.Query), make([]byte, invocation.MaxQuery+1)},
		"no query":     {[]byte(invocation.Query), []byte("x")}, "two queries": {[]byte(invocation.Query), []byte(`{"kind":"ledger"}{}`)},
		"an unknown field":    {[]byte(invocation.Query), []byte(`{"kind":"ledger","x":1}`)},
		"a huge transaction":  {[]byte(invocation.Submit), make([]byte, contract.MaxSigned+1)},
		"a huge genesis":      {[]byte(invocation.Begin), make([]byte, contract.MaxGenesis+1)},
		"a page of others":    {[]byte(invocation.Query), []byte(`{"kind":"roots","after":"acct/"}`)},
		"a page that is long": {[]byte(invocation.Query), []byte(`{"kind":"roots","limit":201}`)},
	} {
		s := e.invoke(fabricID("x"), args...)
		if f := admission.ParseFailure(s.Error); s.Status != 500 || f == nil || len(s.Error) > 8192 || len(s.Writes) > 0 {
			t.Errorf("%s: %d %.200s", what, s.Status, s.Error)
		}
	}
}

// Pages begin where the last one ended, whatever their length.
func TestPages(t *testing.T) {
	e := begun(t)
	for i := range 7 {
		s := e.submit(fabricID(fmt.Sprint(i)), sign(t, crowd().alice, today, transfer(crowd().bob, payment.Amount(i+1))))
		e.commit(s)
	}
	for limit := range 9 {
		q := contract.Query{Kind: contract.QueryCredits, Account: accountOf(crowd().bob), Limit: limit}
		seen := map[contract.TxID]payment.Amount{}
		for {
			a := e.query(q)
			for _, c := range a.Credits {
				seen[c.Tx] += c.Coins
			}
			if q.After = a.Next; q.After == "" {
				break
			}
		}
		sum := payment.Amount(0)
		for _, c := range seen {
			sum += c
		}
		if len(seen) != 7 || sum != 28 {
			t.Errorf("%d a page: %d credits, %s", limit, len(seen), sum)
		}
	}
	roots := e.query(contract.Query{Kind: contract.QueryRoots, Limit: 1})
	if len(roots.Roots) != 1 || roots.Next == "" {
		t.Errorf("%+v", roots)
	}
}

// Nobody but the organisation's peer is answered.
func TestPeersHaveACertificate(t *testing.T) {
	e := begun(t)
	p := newPKI(t)
	env := p.environment(t, payment.LedgerID{1})
	s := must[*settings](t)(readSettings(func(name string) string { return env[name] }))
	go func() { _ = s.server(&chaincode{}).Start() }()
	connect(t, s.address, p.client(t)) // it listens
	if got := e.query(contract.Query{Kind: contract.QueryLedger}); got.Ledger == nil {
		t.Errorf("%+v", got)
	}
	stranger := p.client(t)
	stranger.Certificates = nil
	conn := must[*tls.Conn](t)(tls.Dial("tcp", s.address, stranger))
	defer conn.Close()
	if _, err := conn.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a stranger: %v", err)
	}
}

func TestSettings(t *testing.T) {
	p := newPKI(t)
	good := p.environment(t, payment.LedgerID{1})
	empty := writePEM(t, t.TempDir(), "empty", nil)
	huge := writePEM(t, t.TempDir(), "huge", make([]byte, maxPEM+1))
	for name, bad := range map[string][]string{
		"CHAINCODE_ID": {""}, "CHAINCODE_SERVER_ADDRESS": {"", "localhost"}, "TORRENTE_LEDGER": {"", "00", strings.Repeat("g", 64)},
		"CHAINCODE_TLS_KEY": {"", empty, huge}, "CHAINCODE_TLS_CERT": {"/nowhere"}, "CHAINCODE_CLIENT_CA_CERT": {""},
		"TORRENTE_CLOCK_OFFSET": {"ten", "600"},
	} {
		for _, value := range bad {
			env := maps.Clone(good)
			env[name] = value
			if _, err := readSettings(func(name string) string { return env[name] }); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%s=%q: %v", name, value, err)
			}
		}
	}
	good["TORRENTE_CLOCK_OFFSET"] = "-10m"
	s := must[*settings](t)(readSettings(func(name string) string { return good[name] }))
	if off := time.Since(s.clock()).Round(time.Minute); off != 10*time.Minute {
		t.Errorf("the clock is %s behind", off)
	}
}
