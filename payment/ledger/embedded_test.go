package ledger

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"torrente/identity"
	"torrente/payment"
	"torrente/payment/admission"
	"torrente/payment/contract"
)

func TestSubmitAndReopen(t *testing.T) {
	dir := created(t)
	e := must[*Embedded](t)(Open(dir, Config{Now: fixed(today)}))
	if e.ID() != contract.GenesisID(crowd().genesis) || !bytes.Equal(e.Genesis(), crowd().genesis) {
		t.Error("another ledger")
	}
	s, r := pay(t, e, 100)
	if r.Height != 1 || r.Coins != 100 || r.Err() != nil {
		t.Errorf("%+v", r)
	}
	before := e.Status()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	again := opened(t, dir)
	if diff := cmp.Diff(before, again.Status()); diff != "" || before.Height != 1 {
		t.Error(diff)
	}
	if got := account(t, again, crowd().bob); got.Balance != 1000 || got.Unswept != 100 {
		t.Errorf("%+v", got)
	}
	// The same transaction gives the same receipt, in another life and hour.
	if got := submit(t, again, s); !cmp.Equal(got, r) {
		t.Errorf("%+v, then %+v", r, got)
	}
	if b := must[contract.Books](t)(again.Audit()); b.Minted != 1_001_000 || !b.Conserved() {
		t.Errorf("%+v", b)
	}
}

// A transaction sent again as it is has its receipt, when its time and its
// certificate are long past; signed anew, it is refused for them.
func TestReceiptOutlivesTheClock(t *testing.T) {
	now := today
	e := must[*Embedded](t)(Open(created(t), Config{Now: func() time.Time { return now }}))
	defer e.Close()
	s, r := pay(t, e, 1)
	now = today.Add(365 * 24 * time.Hour)
	if got := submit(t, e, s); !cmp.Equal(got, r) {
		t.Errorf("%+v, then %+v", r, got)
	}
	late := sign(t, crowd().alice, e.ID(), now, transfer(crowd().bob, 1))
	if _, err := e.Submit(context.Background(), late); !errors.Is(err, identity.ErrExpired) {
		t.Errorf("an expired certificate: %v", err)
	}
}

func TestClock(t *testing.T) {
	e := opened(t, created(t))
	for off, want := range map[time.Duration]bool{
		0: true, 5 * time.Minute: true, -5 * time.Minute: true, 5*time.Minute + time.Second: false, -5*time.Minute - time.Second: false,
	} {
		_, err := e.Submit(context.Background(), sign(t, crowd().alice, e.ID(), today.Add(off), transfer(crowd().bob, 1)))
		clock, refused := errors.AsType[*ClockOff](err)
		if refused == want {
			t.Errorf("%s off: %v", off, err)
		}
		if refused && (!strings.Contains(err.Error(), "5m1s") || !clock.Ledger.Equal(today)) {
			t.Errorf("%s off: %v", off, err)
		}
	}
	if s := (&ClockOff{Tx: today, Ledger: today.Add(time.Hour)}).Error(); !strings.Contains(s, "1h0m0s behind the ledger's (2026-03-01 13:00:00)") {
		t.Error(s)
	}
}

func TestWhoMaySubmit(t *testing.T) {
	e := opened(t, created(t))
	foreign := must[*identity.Authority](t)(identity.NewAuthority("Org1MSP", today.Add(-time.Hour), 24*time.Hour))
	forger, stranger := enroll(foreign, "alice"), must[*identity.Authority](t)(identity.NewAuthority("Org2MSP", today.Add(-time.Hour), 24*time.Hour))
	good := func() *contract.Signed { return sign(t, crowd().alice, e.ID(), today, transfer(crowd().bob, 1)) }
	for what, c := range map[string]struct {
		make func() *contract.Signed
		want error
	}{
		"another authority": {func() *contract.Signed { return sign(t, forger, e.ID(), today, transfer(crowd().bob, 1)) }, identity.ErrOtherFederation},
		"another organisation": {func() *contract.Signed {
			return sign(t, enroll(stranger, "x"), e.ID(), today, transfer(crowd().bob, 1))
		}, identity.ErrOtherFederation},
		"another's certificate": {func() *contract.Signed {
			s := good()
			s.Chain = crowd().bob.Chain()
			return s
		}, payment.ErrSignature},
		"a changed body": {func() *contract.Signed {
			s := good()
			s.Body[len(s.Body)-1] ^= 1
			return s
		}, payment.ErrSignature},
		"no body": {func() *contract.Signed {
			s := good()
			s.Body = nil
			return s
		}, contract.ErrTransaction},
		"no chain": {func() *contract.Signed {
			s := good()
			s.Chain = nil
			return s
		}, contract.ErrTransaction},
		"no certificate": {func() *contract.Signed {
			s := good()
			s.Chain = [][]byte{{1}}
			return s
		}, identity.ErrMalformed},
		"a huge chain": {func() *contract.Signed {
			s := good()
			s.Chain = [][]byte{make([]byte, 1<<20)}
			return s
		}, contract.ErrTransaction},
	} {
		if r, err := e.Submit(context.Background(), c.make()); !errors.Is(err, c.want) {
			t.Errorf("%s: %+v %v", what, r, err)
		}
	}
	if h := e.Status().Height; h != 0 {
		t.Errorf("height %d", h)
	}
}

// A refusal is a receipt, and no block: nothing happened. When its reason is
// gone, the same transaction may succeed.
func TestRefusalsAreReceipts(t *testing.T) {
	e := opened(t, created(t))
	much := sign(t, crowd().bob, e.ID(), today, transfer(crowd().alice, 1001))
	if r := submit(t, e, much); r.Code != contract.NoCoins || r.Height != 0 || r.Err() == nil {
		t.Errorf("%+v", r)
	}
	other := sign(t, crowd().bob, payment.LedgerID{1}, today, transfer(crowd().alice, 1))
	if r := submit(t, e, other); r.Code != contract.OtherLedger {
		t.Errorf("%+v", r)
	}
	s, _ := pay(t, e, 1)
	credit := contract.IDOf(accountOf(crowd().alice), s.Body)
	submit(t, e, sign(t, crowd().bob, e.ID(), today, &contract.Sweep{Credits: []contract.TxID{credit}}))
	if r := submit(t, e, much); r.Code != contract.OK || r.Height != 3 {
		t.Errorf("%+v", r)
	}
}

// Revocation and the removal of a root act from the next block on.
func TestFederationActs(t *testing.T) {
	dir := created(t)
	e := must[*Embedded](t)(Open(dir, Config{Now: fixed(today)}))
	p := crowd().bob.Principal()
	old := sign(t, crowd().bob, e.ID(), today, transfer(crowd().alice, 1))
	submit(t, e, sign(t, crowd().admin, e.ID(), today, &contract.Revoke{MSP: p.MSP, SPKI: p.SPKI}))
	if r := submit(t, e, old); r.Code != contract.Revoked {
		t.Errorf("revoked: %+v", r)
	}
	submit(t, e, sign(t, crowd().admin, e.ID(), today, &contract.Reinstate{Account: accountOf(crowd().bob)}))
	next := must[*identity.Authority](t)(identity.NewAuthority("Org1MSP", today.Add(-24*time.Hour), 365*24*time.Hour))
	carol := enroll(next, "carol")
	early := sign(t, carol, e.ID(), today, &contract.SetDelegate{Delegate: accountOf(crowd().bob)})
	if _, err := e.Submit(context.Background(), early); !errors.Is(err, identity.ErrOtherFederation) {
		t.Errorf("before its root: %v", err)
	}
	for _, args := range []contract.Arguments{
		&contract.AddRoot{MSP: "Org1MSP", Certificate: next.Root().Raw},
		&contract.RemoveRoot{MSP: "Org1MSP", Fingerprint: fingerprint(crowd().authority.Root())},
	} {
		if r := submit(t, e, sign(t, crowd().admin, e.ID(), today, args)); r.Code != contract.OK {
			t.Fatalf("%+v", r)
		}
	}
	for range 2 { // now, and after a restart
		if _, err := e.Submit(context.Background(), sign(t, crowd().alice, e.ID(), today, transfer(crowd().bob, 1))); !errors.Is(err, identity.ErrRootRemoved) {
			t.Errorf("of a removed root: %v", err)
		}
		delegate := &contract.SetDelegate{Delegate: payment.Account{byte(e.Status().Height)}}
		if r := submit(t, e, sign(t, carol, e.ID(), today, delegate)); r.Code != contract.OK {
			t.Errorf("of the new root: %+v", r)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		e = must[*Embedded](t)(Open(dir, Config{Now: fixed(today)}))
	}
	e.Close()
	if r := must[Report](t)(Verify(dir)); !r.Conserved || r.Transactions != 6 {
		t.Errorf("%+v", r)
	}
}

func fingerprint(c *x509.Certificate) [32]byte { return contract.GenesisID(c.Raw) }

func TestOneProcessAtATime(t *testing.T) {
	dir := created(t)
	opened(t, dir)
	if _, err := Open(dir, Config{}); !errors.Is(err, ErrInUse) {
		t.Errorf("twice: %v", err)
	}
	if err := Create(dir, crowd().genesis); !errors.Is(err, ErrExists) {
		t.Errorf("again: %v", err)
	}
	if _, err := Open(t.TempDir(), Config{}); !errors.Is(err, ErrNone) {
		t.Errorf("nothing: %v", err)
	}
	if _, err := Verify(t.TempDir()); !errors.Is(err, ErrNone) {
		t.Errorf("nothing: %v", err)
	}
	if err := Create(t.TempDir(), []byte("x")); !errors.Is(err, contract.ErrGenesis) {
		t.Errorf("no genesis: %v", err)
	}
}

func TestClosedLedgerRefuses(t *testing.T) {
	e := must[*Embedded](t)(Open(created(t), Config{Now: fixed(today)}))
	s := sign(t, crowd().alice, e.ID(), today, transfer(crowd().bob, 1))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := e.Query(ctx, contract.Query{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a query given up: %v", err)
	}
	if err := errors.Join(e.Close(), e.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Submit(context.Background(), s); !errors.Is(err, ErrClosed) {
		t.Errorf("submit: %v", err)
	}
	if _, err := e.Query(context.Background(), contract.Query{Kind: contract.QueryLedger}); !errors.Is(err, ErrClosed) {
		t.Errorf("query: %v", err)
	}
	for _, err := range e.Events(context.Background(), 0) {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("events: %v", err)
		}
	}
}

// Everybody at once: each transaction once, in one order, all in the books.
func TestManySubmittersShareBlocks(t *testing.T) {
	dir := created(t)
	e := opened(t, dir)
	const submitters, each = 16, 20
	var all sync.WaitGroup
	for range submitters {
		var batch []*contract.Signed
		for range each {
			batch = append(batch, sign(t, crowd().alice, e.ID(), today, transfer(crowd().bob, 1)))
		}
		all.Go(func() {
			for _, s := range batch {
				for range 2 { // the second is the first again
					if r, err := e.Submit(context.Background(), s); err != nil || r.Code != contract.OK {
						t.Error(r, err)
					}
				}
			}
		})
	}
	all.Wait()
	if a := account(t, e, crowd().bob); a.Unswept != submitters*each {
		t.Errorf("%+v", a)
	}
	r := must[Report](t)(Verify(dir)) // while it is open
	if r.Transactions != submitters*each || r.Height != e.Status().Height || r.Height >= r.Transactions {
		t.Errorf("%+v", r)
	}
}

func TestEvents(t *testing.T) {
	e := opened(t, created(t))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	pay(t, e, 1)
	pay(t, e, 2)
	seen := make(chan Block)
	done := make(chan error)
	go func() {
		for b, err := range e.Events(ctx, 2) {
			if err != nil {
				done <- err
				return
			}
			seen <- b
		}
	}()
	expect := func(height uint64, coins payment.Amount) {
		t.Helper()
		b := <-seen
		if b.Height != height || b.Time != uint64(today.Unix()) || len(b.Events) != 1 {
			t.Fatalf("%+v", b)
		}
		if v := b.Events[0]; v.Kind != payment.EventTransfer || v.Coins != coins || v.Height != height || v.Account != accountOf(crowd().alice) {
			t.Errorf("%+v", v)
		}
	}
	expect(2, 2)
	pay(t, e, 3)
	expect(3, 3)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	n := 0
	for b, err := range e.Events(context.Background(), 0) {
		if n++; err != nil || b.Height != uint64(n) {
			t.Fatal(b, err)
		}
		if n == 3 {
			break
		}
	}
}

// The derived state is made anew when it is missing, behind, damaged, or of
// another ledger or layout; each time the answers are the same.
func TestStateIsMadeAnew(t *testing.T) {
	dir := created(t)
	state := filepath.Join(dir, stateFile)
	e := must[*Embedded](t)(Open(dir, Config{Now: fixed(today)}))
	_, first := pay(t, e, 1)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	behind := must[[]byte](t)(os.ReadFile(state))
	e = must[*Embedded](t)(Open(dir, Config{Now: fixed(today)}))
	s, second := pay(t, e, 2)
	want := e.Status()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	whole := must[[]byte](t)(os.ReadFile(state))
	for what, content := range map[string][]byte{
		"missing": nil, "empty": {}, "behind": behind, "cut": whole[:len(whole)/2], "rubbish": bytes.Repeat([]byte("rubbish!"), 4096),
		"one byte more": append(bytes.Clone(whole), 0),
		"zeros":         make([]byte, len(whole)), "flipped": flipped(whole, second),
		"of another layout": flipped(whole, second),
	} {
		if err := errors.Join(os.RemoveAll(state), os.WriteFile(state, content, 0o600)); err != nil {
			t.Fatal(err)
		}
		switch what {
		case "missing":
			os.Remove(state)
		case "behind":
			if err := writeSum(state); err != nil { // a good file, of before
				t.Fatal(err)
			}
		case "of another layout": // as the first was noted: the file alone
			sum := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(nil, uint64(len(content))), checksum(content))
			if err := os.WriteFile(state+sumSuffix, sum, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		e := must[*Embedded](t)(Open(dir, Config{Now: fixed(today)}))
		if got := e.Status(); !cmp.Equal(got, want) {
			t.Errorf("%s: %+v", what, got)
		}
		if got := submit(t, e, s); !cmp.Equal(got, second) || first.Height != 1 {
			t.Errorf("%s: %+v", what, got)
		}
		if a := account(t, e, crowd().bob); a.Unswept != 3 {
			t.Errorf("%s: %+v", what, a)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// flipped changes one bit of the value of a receipt's row.
func flipped(whole []byte, r Receipt) []byte {
	c := bytes.Clone(whole)
	at := bytes.LastIndex(c, append([]byte(rowReceipt), r.Tx[:]...))
	c[at+len(rowReceipt)+len(r.Tx)+9] ^= 1
	return c
}

// Wherever a bit of the state flips, the ledger opens with the right answers.
func TestFlippedStateNeverLies(t *testing.T) {
	dir := created(t)
	state := filepath.Join(dir, stateFile)
	e := must[*Embedded](t)(Open(dir, Config{Now: fixed(today)}))
	pay(t, e, 7)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	whole := must[[]byte](t)(os.ReadFile(state))
	for at := 0; at < len(whole); at += len(whole)/97 + 1 {
		c := bytes.Clone(whole)
		c[at] ^= 1 << (at % 8)
		if err := os.WriteFile(state, c, 0o600); err != nil {
			t.Fatal(err)
		}
		e, err := Open(dir, Config{Now: fixed(today)})
		if err != nil {
			t.Fatalf("byte %d: %v", at, err)
		}
		if a := account(t, e, crowd().bob); a.Unswept != 7 {
			t.Errorf("byte %d: %+v", at, a)
		}
		if err := e.Close(); err != nil {
			t.Fatalf("byte %d: %v", at, err)
		}
	}
}

func TestRepairsAreReported(t *testing.T) {
	dir := created(t)
	e := must[*Embedded](t)(Open(dir, Config{Now: fixed(today)}))
	pay(t, e, 1)
	e.Close()
	f := must[*os.File](t)(os.OpenFile(filepath.Join(dir, LogFile), os.O_APPEND|os.O_WRONLY, 0))
	must[int](t)(f.Write([]byte{0, 0, 1}))
	f.Close()
	var out bytes.Buffer
	e = must[*Embedded](t)(Open(dir, Config{Now: fixed(today), Log: slog.New(slog.NewTextHandler(&out, nil))}))
	e.Close()
	if s := out.String(); !strings.Contains(s, "height=2 bytes=3") {
		t.Error(s)
	}
}

// A block stays within what the log can be read back with, however large its
// transactions and certificates are, and its events within one message.
func TestBlocksAreBounded(t *testing.T) {
	big := &request{Candidate: &admission.Candidate{Signed: &contract.Signed{
		Body: make([]byte, contract.MaxBody), Chain: [][]byte{make([]byte, 16<<10)},
	}}}
	if n := len(big.Signed.Append(nil)) + 4; big.size() != n {
		t.Errorf("%d bytes, counted as %d", n, big.size())
	}
	e := &Embedded{requests: make(chan *request, maxBlockTxs)}
	for range maxBlockTxs {
		e.requests <- big
	}
	var b block
	for _, r := range e.gather(big) {
		b.txs = append(b.txs, r.Signed)
	}
	if n := len(b.append(nil)); n > maxBlockBytes || n < fullBlockBytes {
		t.Errorf("a block of %d bytes", n)
	}
	small := &request{Candidate: &admission.Candidate{Signed: &contract.Signed{Chain: [][]byte{make([]byte, 16<<10)}}}}
	e.requests = make(chan *request, 2*maxBlockTxs)
	for range 2 * maxBlockTxs {
		e.requests <- small
	}
	b = block{}
	for _, r := range e.gather(small) {
		b.txs = append(b.txs, r.Signed)
	}
	if n := len(b.append(nil)); n > maxBlockBytes || len(b.txs) > maxBlockTxs {
		t.Errorf("a block of %d transactions, %d bytes", len(b.txs), n)
	}
}

// When a block is full of events, the requests left over make the next one.
func TestFullBlocksAreFollowed(t *testing.T) {
	e := opened(t, created(t))
	b := &batch{events: maxBlockEvents}
	s := sign(t, crowd().alice, e.ID(), today, transfer(crowd().bob, 1))
	r := &request{must[*admission.Candidate](t)(admission.Identify(s)), e.Trust(), make(chan reply, 1)}
	if err := e.build(b, []*request{r}); err != nil || len(b.replies) != 0 {
		t.Errorf("%+v %v", b.replies, err)
	}
	b = &batch{}
	if err := e.build(b, []*request{r, r}); err != nil || len(b.replies) != 2 || len(b.txs) != 1 {
		t.Errorf("%+v %v", b.replies, err)
	}
}
