package wallet

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"torrente/internal/crashfs"
	"torrente/payment"
)

// facts is what a wallet was told and has acknowledged.
type facts struct {
	best     map[int]uint32 // by claim
	redeemed map[int]uint32
	closed   map[int]uint32
	ended    map[int]bool
	caps     map[int]uint32 // by opening
	owed     map[int]map[uint32]bool
	books    map[payment.Account][]byte
	pending  []payment.RequestID
}

// machine drives a wallet and the model of it. safe is what not even a loss of
// power may take.
type machine struct {
	t         *testing.T
	dir       string
	d         *crashfs.Disk
	w         *Wallet
	now       facts
	safeBest  map[int]uint32
	safeOwed  map[int]map[uint32]bool
	submitted byte
}

const modelChains = 4

func newMachine(t *testing.T) *machine {
	m := &machine{t: t, dir: t.TempDir(), now: facts{
		best: map[int]uint32{}, redeemed: map[int]uint32{}, closed: map[int]uint32{}, ended: map[int]bool{},
		caps: map[int]uint32{}, owed: map[int]map[uint32]bool{}, books: map[payment.Account][]byte{},
	}}
	m.reopen()
	return m
}

// reopen opens the folder as it is. Then all is folded, so all is safe.
func (m *machine) reopen() {
	m.t.Helper()
	m.d = new(crashfs.Disk)
	m.w = must[*Wallet](m.t)(Open(m.dir, on(m.d, testConfig())))
	m.allSafe()
}

func (m *machine) allSafe() {
	m.safeBest = maps.Clone(m.now.best)
	m.owedSafe()
}

func (m *machine) owedSafe() {
	m.safeOwed = map[int]map[uint32]bool{}
	for n, units := range m.now.owed {
		m.safeOwed[n] = maps.Clone(units)
	}
}

// abandon leaves a copy of the folder, as it is now, for the next process.
func (m *machine) abandon() {
	next := m.t.TempDir()
	copyFolder(m.t, next, m.dir)
	m.dir = next
}

func (m *machine) end() { ok(m.t, m.w.Close()) }

// claimed picks a claim that is held and counts links, and false if none is.
func (m *machine) claimed(r *rapid.T) (n int, c *payment.Commitment, found bool) {
	var open []int
	for n := range m.now.best {
		if _, closed := m.now.closed[n]; !closed && !m.now.ended[n] {
			open = append(open, n)
		}
	}
	if len(open) == 0 {
		return 0, nil, false
	}
	slices.Sort(open)
	n = rapid.SampledFrom(open).Draw(r, "claim")
	return n, commitment(n, false), true
}

func (m *machine) bought(r *rapid.T) (n int, c *payment.Commitment, found bool) {
	if len(m.now.caps) == 0 {
		return 0, nil, false
	}
	n = rapid.SampledFrom(slices.Sorted(maps.Keys(m.now.caps))).Draw(r, "opening")
	return n, commitment(100+n, true), true
}

func (m *machine) saveClaim(r *rapid.T) {
	n := rapid.IntRange(0, modelChains-1).Draw(r, "claim")
	ok(m.t, m.w.SaveClaim(commitment(n, false), payment.Signature{}))
	if _, held := m.now.best[n]; !held {
		m.now.best[n], m.safeBest[n] = 0, 0
	}
}

func (m *machine) links(r *rapid.T) {
	n, c, found := m.claimed(r)
	if !found {
		return
	}
	var batch []Paid
	for _, i := range rapid.SliceOfN(rapid.Uint32Range(1, testLinks), 1, 5).Draw(r, "links") {
		batch = append(batch, Paid{c.ID(), linkOf(c, i)})
		m.now.best[n] = max(m.now.best[n], i)
	}
	ok(m.t, m.w.Links(batch))
}

func (m *machine) redeem(r *rapid.T) {
	n, c, found := m.claimed(r)
	if !found {
		return
	}
	m.now.redeemed[n] = max(m.now.redeemed[n], rapid.Uint32Range(0, m.now.best[n]).Draw(r, "redeemed"))
	ok(m.t, m.w.Redeemed(map[payment.CommitmentID]uint32{c.ID(): m.now.redeemed[n]}))
}

func (m *machine) sign(r *rapid.T) {
	n, c, found := m.claimed(r)
	if !found || m.now.redeemed[n] > m.now.best[n] {
		return
	}
	final := rapid.Uint32Range(m.now.redeemed[n], m.now.best[n]).Draw(r, "final")
	ok(m.t, m.w.SignedClose(closeOf(c, final)))
	m.now.closed[n], m.safeBest[n] = final, m.now.best[n]
}

func (m *machine) finish(r *rapid.T) {
	n, c, found := m.claimed(r)
	if found {
		ok(m.t, m.w.Ended(c.ID(), m.now.redeemed[n]))
		m.now.ended[n] = true
	}
}

func (m *machine) forget(*rapid.T) {
	for n := range m.now.ended {
		ok(m.t, m.w.Forget(commitment(n, false).ID()))
		delete(m.now.best, n)
		delete(m.now.redeemed, n)
		delete(m.now.closed, n)
	}
	if len(m.now.ended) > 0 {
		clear(m.now.ended)
		m.allSafe()
	}
}

func (m *machine) reserve(r *rapid.T) {
	n := rapid.IntRange(0, modelChains-1).Draw(r, "opening")
	units := rapid.Uint32Range(1, testLinks).Draw(r, "cap")
	m.submitted++
	request := payment.RequestID{m.submitted}
	ok(m.t, m.w.Reserve(Reservation{
		Request: request, Signed: []byte{m.submitted}, Openings: []Opening{openingOf(commitment(100+n, true), units)},
	}))
	m.now.caps[n] = max(m.now.caps[n], units)
	m.now.pending = append(m.now.pending, request)
	if m.now.owed[n] == nil {
		m.now.owed[n], m.safeOwed[n] = map[uint32]bool{}, map[uint32]bool{}
	}
}

func (m *machine) submissionDone(r *rapid.T) {
	if len(m.now.pending) == 0 {
		return
	}
	at := rapid.IntRange(0, len(m.now.pending)-1).Draw(r, "submission")
	ok(m.t, m.w.DoneSubmission(m.now.pending[at]))
	m.now.pending = slices.Delete(m.now.pending, at, at+1)
}

func (m *machine) owe(r *rapid.T) {
	n, c, found := m.bought(r)
	if !found {
		return
	}
	var batch []payment.Delivery
	fresh := 0
	for _, unit := range rapid.SliceOfN(rapid.Uint32Range(0, 3*chunkUnits), 1, 5).Draw(r, "units") {
		batch = append(batch, payment.Delivery{Commitment: c.ID(), Unit: unit})
		if !m.now.owed[n][unit] {
			m.now.owed[n][unit] = true
			fresh++
		}
	}
	if got, err := m.w.OwedMany(batch); err != nil || got != fresh {
		m.t.Fatalf("%d of %d are new, %v", got, fresh, err)
	}
}

func (m *machine) book(r *rapid.T) {
	account := payment.Account{rapid.ByteMax(3).Draw(r, "account")}
	book := rapid.SliceOfN(rapid.Byte(), 1, 20).Draw(r, "book")
	ok(m.t, m.w.SaveBook(account, book))
	m.now.books[account] = book
}

func (m *machine) sync(*rapid.T) {
	m.w.syncLinks()
	m.safeBest = maps.Clone(m.now.best)
}

func (m *machine) fold(*rapid.T) {
	m.w.write.Lock()
	defer m.w.write.Unlock()
	ok(m.t, m.w.fold(0))
	m.allSafe()
}

func (m *machine) restart(*rapid.T) {
	m.end()
	m.reopen()
}

// kill is SIGKILL: every write is there.
func (m *machine) kill(*rapid.T) {
	old := m.w
	m.abandon()
	ok(m.t, old.Close())
	m.reopen()
	m.check(nil)
}

// powerLoss leaves any sectors of what was not synced. What is left must be
// between what was safe and what was acknowledged.
func (m *machine) powerLoss(r *rapid.T) {
	old := m.w
	m.dir = lost(m.t, m.d, m.dir, func(n int) int { return rapid.IntRange(0, n-1).Draw(r, "kept") })
	ok(m.t, old.Close())
	safeBest, safeOwed := m.safeBest, m.safeOwed
	m.reopen()
	for n, best := range m.now.best {
		c, _ := m.w.Claim(commitment(n, false).ID())
		if c.Best.Index < safeBest[n] || c.Best.Index > best {
			m.t.Fatalf("claim %d: index %d, of %d counted and %d synced", n, c.Best.Index, best, safeBest[n])
		}
		m.now.best[n] = c.Best.Index
	}
	for n, units := range m.now.owed {
		left := map[uint32]bool{}
		for _, unit := range must[[]uint32](m.t)(m.w.OwedUnits(commitment(100+n, true).ID())) {
			if left[unit] = true; !units[unit] {
				m.t.Fatalf("opening %d: unit %d was never owed", n, unit)
			}
		}
		for unit := range safeOwed[n] {
			if !left[unit] {
				m.t.Fatalf("opening %d: unit %d was folded and is lost", n, unit)
			}
		}
		m.now.owed[n] = left
	}
	m.allSafe()
}

// check compares the wallet with the model.
func (m *machine) check(*rapid.T) {
	m.t.Helper()
	var units uint64
	for n, best := range m.now.best {
		c := commitment(n, false)
		got, held := m.w.Claim(c.ID())
		final, closed := m.now.closed[n]
		if !held || got.Best != linkOf(c, best) || got.Redeemed != m.now.redeemed[n] || got.Ended != m.now.ended[n] ||
			closed != (got.Close != nil) || closed && got.Close.Final != final {
			m.t.Fatalf("claim %d: %+v, model %+v", n, got, m.now)
		}
		if closed {
			best = min(best, final)
		}
		if !m.now.ended[n] && best > m.now.redeemed[n] {
			units += uint64(best - m.now.redeemed[n])
		}
	}
	if got, coins := m.w.Redeemable(today); got != units || coins != payment.Amount(10*units) {
		m.t.Fatalf("%d units, %s coins redeemable, not %d", got, coins, units)
	}
	for n, units := range m.now.caps {
		id := commitment(100+n, true).ID()
		o, _ := m.w.Opening(id)
		owed := must[[]uint32](m.t)(m.w.OwedUnits(id))
		if o.Cap != units || int(o.Owed) != len(owed) || !slices.Equal(owed, slices.Sorted(maps.Keys(m.now.owed[n]))) {
			m.t.Fatalf("opening %d: %+v, %v owed, model %+v", n, o, owed, m.now)
		}
	}
	if len(m.w.Claims()) != len(m.now.best) || len(m.w.Openings()) != len(m.now.caps) {
		m.t.Fatal("there are more chains than in the model")
	}
	var pending []payment.RequestID
	for _, s := range must[[]Submission](m.t)(m.w.PendingSubmissions()) {
		pending = append(pending, s.Request)
	}
	if !slices.Equal(pending, m.now.pending) {
		m.t.Fatalf("pending %v, not %v", pending, m.now.pending)
	}
	if d := cmp.Diff(m.now.books, must[map[payment.Account][]byte](m.t)(m.w.Books())); d != "" {
		m.t.Fatal(d)
	}
}

// P3 and P4: whatever happens when, nothing that was acknowledged is lost.
func TestModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		m := newMachine(t)
		defer m.end()
		r.Repeat(map[string]func(*rapid.T){
			"": m.check, "claim": m.saveClaim, "links": m.links, "more links": m.links, "redeem": m.redeem,
			"close": m.sign, "end": m.finish, "forget": m.forget, "reserve": m.reserve, "done": m.submissionDone,
			"owe": m.owe, "owe more": m.owe, "book": m.book, "sync": m.sync, "fold": m.fold,
			"restart": m.restart, "kill": m.kill, "power loss": m.powerLoss,
		})
	})
}
