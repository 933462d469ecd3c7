package contract

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"torrente/bencode"
	"torrente/identity"
	"torrente/payment"
)

const (
	hour  = 3600
	start = 1_772_366_400 // 2026-03-01 12:00 UTC, when all tests begin
	price = 10
)

// memory is a State in a map.
type memory map[string][]byte

func (m memory) Get(key string) ([]byte, error) { return m[key], nil }

func (m memory) GetMany(keys []string) (values [][]byte, err error) {
	for _, k := range keys {
		values = append(values, m[k])
	}
	return values, nil
}

func (m memory) Put(key string, value []byte) error {
	if len(value) == 0 || key == "" {
		return errors.New("an empty row")
	}
	m[key] = slices.Clone(value)
	return nil
}

func (m memory) Delete(key string) error { delete(m, key); return nil }

func (m memory) Range(prefix, after string, limit int) (rows []Row, err error) {
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if strings.HasPrefix(k, prefix) && k > after && len(rows) < limit {
			rows = append(rows, Row{k, m[k]})
		}
	}
	return rows, nil
}

// committed is a State as Fabric's: a transaction does not see its own writes.
// It also notes what was read and written.
type committed struct {
	memory
	written memory
	deleted map[string]bool
	ranges  int
	wrote   []string
}

func newCommitted(m memory) *committed {
	return &committed{memory: m, written: memory{}, deleted: map[string]bool{}}
}

func (c *committed) Put(key string, value []byte) error {
	c.wrote = append(c.wrote, key)
	delete(c.deleted, key)
	return c.written.Put(key, value)
}

func (c *committed) Delete(key string) error {
	c.wrote = append(c.wrote, key)
	delete(c.written, key)
	c.deleted[key] = true
	return nil
}

func (c *committed) Range(prefix, after string, limit int) ([]Row, error) {
	c.ranges++
	return c.memory.Range(prefix, after, limit)
}

// commit makes the writes of a transaction visible.
func (c *committed) commit() {
	maps.Copy(c.memory, c.written)
	for k := range c.deleted {
		delete(c.memory, k)
	}
	clear(c.written)
	clear(c.deleted)
	c.wrote = nil
}

// person is somebody with a key.
type person struct {
	name string
	key  *ecdsa.PrivateKey
	Creator
}

// maxCouncil is the most organisations of a test's federation.
const maxCouncil = 9

// mspOf is organisation i of a test's federation, from 1.
func mspOf(i int) string {
	if i == 1 {
		return "Org1MSP"
	}
	return fmt.Sprintf("Council%dMSP", i)
}

// adminOf is the name of its administrator.
func adminOf(i int) string {
	if i == 1 {
		return "admin"
	}
	return fmt.Sprintf("admin%d", i)
}

// people are made once: the same in every test.
var people = sync.OnceValue(func() map[string]*person {
	all := map[string]*person{}
	organisations := map[string]string{
		"admin": "Org1MSP", "alice": "Org1MSP", "bob": "Org1MSP", "seller": "Org1MSP", "other": "Org1MSP",
		"mallory": "Org1MSP", "stranger": "Org9MSP", "guest": mspOf(2),
	}
	for i := 2; i <= maxCouncil; i++ {
		organisations[adminOf(i)] = mspOf(i)
	}
	for name, msp := range organisations {
		d := sha256.Sum256([]byte("contract test " + name))
		n := new(big.Int).SetBytes(d[:])
		n.Mod(n, elliptic.P256().Params().N)
		key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), n.FillBytes(make([]byte, 32)))
		if err != nil {
			panic(err)
		}
		spki, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
		if err != nil {
			panic(err)
		}
		all[name] = &person{name, key, Creator{msp, spki}}
	}
	return all
})

var (
	authorityRoot = sync.OnceValue(newRoot)
	secondRoot    = sync.OnceValue(newRoot)
)

func newRoot() []byte {
	a, err := identity.NewAuthority("Org1MSP", time.Unix(start, 0), 24*365*time.Hour)
	if err != nil {
		panic(err)
	}
	return a.Root().Raw
}

// must returns v, for calls in tests that cannot go on without it.
func must[V any](t failer) func(v V, err error) V {
	return func(v V, err error) V {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// failer is a *testing.T, or rapid's.
type failer interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// world is a ledger with its people, for one test.
type world struct {
	t       failer
	state   *committed
	ledger  payment.LedgerID
	now     uint64
	request byte
	film    payment.TorrentID // registered, 100 units
	chains  uint64
	last    *Transaction
}

// infoOf returns an info dictionary of so many units, sold on the ledger.
func infoOf(t failer, ledger payment.LedgerID, name string, units int) []byte {
	t.Helper()
	short := ledger.Short()
	return must[[]byte](t)(bencode.Encode(map[string]any{
		"length": units * payment.UnitBytes, "name": name, "piece length": 1 << 20,
		"pieces": string(make([]byte, 20*((units+63)/64))),
		"pay":    map[string]any{"federation": "https://example.org", "ledger": string(short[:])},
	}))
}

func testGenesis() *Genesis {
	g := &Genesis{
		Created: start, Name: "test", Price: price,
		Organisations: []Organisation{{"Org1MSP", people()["admin"].Account(), [][]byte{authorityRoot()}}},
	}
	for _, name := range []string{"alice", "bob", "mallory"} {
		g.Mints = append(g.Mints, Mint{people()[name].Account(), 10_000})
	}
	return g
}

func newWorld(t testing.TB) *world { return newCouncil(t, 1) }

// newCouncil is a world of n organisations.
func newCouncil(t testing.TB, n int) *world {
	t.Helper()
	g := testGenesis()
	for i := 2; i <= n; i++ {
		g.Organisations = append(g.Organisations, Organisation{mspOf(i), people()[adminOf(i)].Account(), [][]byte{secondRoot()}})
	}
	return beginWorld(t, g)
}

// beginWorld begins a ledger, with a film.
func beginWorld(t testing.TB, g *Genesis) *world {
	t.Helper()
	document := must[[]byte](t)(g.Encode())
	w := &world{t: t, state: newCommitted(memory{}), ledger: GenesisID(document), now: start}
	if err := Init(w.state, document); err != nil {
		t.Fatal(err)
	}
	w.state.commit()
	info := infoOf(t, w.ledger, "film", 100)
	w.film = sha256.Sum256(info)
	w.ok("other", &RegisterTorrent{Info: info})
	return w
}

func (w *world) transaction(args Arguments) *Transaction {
	w.request++
	return &Transaction{w.ledger, w.now, payment.RequestID{w.request}, args}
}

// apply executes a transaction, after a trip through its bytes, and commits.
func (w *world) apply(who string, tx *Transaction) Result {
	w.t.Helper()
	tx = must[*Transaction](w.t)(ParseTransaction(tx.Append(nil)))
	w.last = tx
	result := must[Result](w.t)(Apply(w.state, people()[who].Creator, tx))
	if len(w.state.wrote) > 0 != result.Wrote {
		w.t.Fatalf("%s: wrote %q, says %v", tx.Args.Call(), w.state.wrote, result.Wrote)
	}
	if !result.Code.Success() && result.Wrote {
		w.t.Fatalf("%s was refused (%v) and wrote %q", tx.Args.Call(), result.Code, w.state.wrote)
	}
	if w.state.ranges != 0 {
		w.t.Fatalf("%s read a range", tx.Args.Call())
	}
	w.state.commit()
	return result
}

// call executes a new transaction, and audits the books.
func (w *world) call(who string, args Arguments) Result {
	w.t.Helper()
	result := w.apply(who, w.transaction(args))
	w.audit()
	return result
}

func (w *world) audit() Books {
	w.t.Helper()
	return must[Books](w.t)(Audit(w.state.memory))
}

func (w *world) ok(who string, args Arguments) Result {
	w.t.Helper()
	result := w.call(who, args)
	if result.Code != OK {
		w.t.Fatalf("%s by %s: %v %v", args.Call(), who, result.Code, result.Items)
	}
	return result
}

// refused wants the whole call, or its only item, to end with code.
func (w *world) refused(who string, args Arguments, code Code) {
	w.t.Helper()
	w.expect(w.call(who, args), code)
}

func (w *world) expect(result Result, code Code) {
	w.t.Helper()
	got := result.Code
	if got == NoneDone || got == OK && len(result.Items) == 1 {
		got = result.Items[0]
	}
	if got != code {
		w.t.Fatalf("ended with %d (%v) %v, want %d (%v)", got, got, result.Items, code, code)
	}
}

// declare freezes coins for so many units at a margin of 100 percent.
func (w *world) declare(who string, units uint64) payment.IntentionID {
	w.t.Helper()
	w.ok(who, &Declare{Torrent: w.film, Units: units, Margin: 100, MaxPrice: price})
	return payment.IntentionOf(w.ledger, people()[who].Account(), w.film, w.last.Request)
}

// promise returns a commitment by who to receiver, and its chain.
func (w *world) promise(who, receiver string, intention payment.IntentionID, links uint32) (payment.Commitment, *payment.Chain) {
	w.t.Helper()
	w.chains++
	var id payment.ChainID
	binary.BigEndian.PutUint64(id[:], w.chains)
	chain := must[*payment.Chain](w.t)(payment.NewChain(payment.Seed{}, id, links))
	return payment.Commitment{
		Ledger: w.ledger, Intention: intention, Torrent: w.film,
		Payer: people()[who].Account(), Receiver: people()[receiver].Account(),
		Root: chain.Root(), Chain: id, Slot: uint32(w.chains), Links: links, Price: price, Epoch: 1, Expiry: w.now + 24*hour,
	}, chain
}

// opened registers a commitment with a first cap.
func (w *world) opened(who, receiver string, intention payment.IntentionID, links, first uint32) (payment.Commitment, *payment.Chain) {
	w.t.Helper()
	c, chain := w.promise(who, receiver, intention, links)
	w.ok(who, &OpenMany{[]Open{{c, first}}})
	return c, chain
}

func redeemOf(c *payment.Commitment, chain *payment.Chain, k uint8, index uint32) *RedeemMany {
	link, _ := chain.Link(index)
	return &RedeemMany{[]Redeem{{c.ID(), k, index, link}}}
}

func (w *world) closeOf(c *payment.Commitment, signer string, final uint32) payment.SignedClose {
	w.t.Helper()
	p := people()[signer]
	return must[payment.SignedClose](w.t)(payment.Close{Ledger: w.ledger, Commitment: c.ID(), Final: final}.Sign(p.key, p.MSP, p.SPKI))
}

func (w *world) account(who string) AccountInfo {
	w.t.Helper()
	return *must[Answer](w.t)(Ask(w.state.memory, Query{Kind: QueryAccount, Account: people()[who].Account()})).Account
}

// has checks an account's coins.
func (w *world) has(who string, available, frozen payment.Amount) {
	w.t.Helper()
	a := w.account(who)
	if a.Available != available || a.Frozen != frozen {
		w.t.Fatalf("%s has %s and %s frozen, want %s and %s", who, a.Available, a.Frozen, available, frozen)
	}
}
