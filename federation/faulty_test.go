package federation

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"torrente/identity"
	"torrente/payment"
	"torrente/payment/contract"
	"torrente/payment/ledger"
	"torrente/payment/ledger/remote"
)

// faulty is a ledger that is there, and at times does not answer.
type faulty struct {
	shared
	query  func(contract.Query) error // called before each query; its error is the answer
	submit func() error               // likewise
}

func (f *faulty) Submit(ctx context.Context, tx *contract.Signed) (ledger.Receipt, error) {
	if f.submit != nil {
		if err := f.submit(); err != nil {
			return ledger.Receipt{}, err
		}
	}
	return f.shared.Submit(ctx, tx)
}

func (f *faulty) Query(ctx context.Context, q contract.Query) (contract.Answer, error) {
	if f.query != nil {
		if err := f.query(q); err != nil {
			return contract.Answer{}, err
		}
	}
	return f.shared.Query(ctx, q)
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	end, tick := time.After(20*time.Second), time.NewTicker(5*time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatal(what)
		}
	}
}

// The organisation that has the ledger replaces its root. Who was there to hear of
// it knows its portal at the next start, too.
func TestHostReplacesItsRoot(t *testing.T) {
	all, document := council(t, "A", "B")
	follow(t, all, document)
	a, b := all[0], all[1]
	b.serve(t)
	old := must[[]Root](t)(a.Roots(t.Context(), struct{}{}))
	old = slices.DeleteFunc(old, func(r Root) bool { return r.MSP != "A" })
	fresh := must[Root](t)(a.AddRoot(t.Context(), AddRootRequest{}))
	trusted := func(print string) bool {
		return slices.ContainsFunc(must[[]Root](t)(b.Roots(t.Context(), struct{}{})), func(r Root) bool { return r.Fingerprint == print && r.Trusted })
	}
	eventually(t, "the new root is not heard of", func() bool { return trusted(fresh.Fingerprint) })
	must[Root](t)(a.RemoveRoot(t.Context(), RemoveRootRequest{Fingerprint: old[0].Fingerprint}))
	eventually(t, "the old root stays", func() bool { return !trusted(old[0].Fingerprint) })
	b.stop()
	b.open(t)
	if b.directory().Price != 10 {
		t.Error("another directory")
	}
}

// A ledger that does not answer for a while ends no portal, and nothing of what it
// said meanwhile is lost.
func TestPortalOutlivesSilence(t *testing.T) {
	p := served(t, nil)
	p.stop()
	p.open(t)
	p.bounds.pause = time.Millisecond
	var failing atomic.Int32
	silent := &remote.Unreachable{URL: "https://x", Err: errors.New("silence")}
	p.ledger = &faulty{shared: p.books, query: func(contract.Query) error {
		if failing.Add(-1) >= 0 {
			return silent
		}
		return nil
	}}
	p.books = nil // it is as if elsewhere
	p.serve(t)
	other := p.ledger.(*faulty).shared
	propose := p.signed(t, p.administrator(), &contract.Propose{Decision: &contract.SetPrice{Price: 12}})
	failing.Store(4)
	if r, err := other.Submit(t.Context(), propose); err != nil || r.Err() != nil {
		t.Fatal(r, err)
	}
	eventually(t, "the price is not heard of", func() bool { return p.directory().Price == 12 })
	if failing.Load() > 0 {
		t.Error("no query failed")
	}
	for err, want := range map[error]bool{
		silent: true, context.DeadlineExceeded: true, errNoOwnRoot: false, nil: false,
		&remote.Refused{Failure: remote.Failure{Reason: remote.ReasonBusy}}:  true,
		&remote.Refused{Failure: remote.Failure{Reason: remote.ReasonQuery}}: false,
	} {
		if passing(err) != want {
			t.Errorf("%v: %v", err, !want)
		}
	}
}

// A standing that was read earlier never replaces one that was read later.
func TestOneRefreshAtATime(t *testing.T) {
	p := opened(t)
	p.ledger = &faulty{shared: p.books, query: func(contract.Query) error {
		if p.refreshing.TryLock() {
			p.refreshing.Unlock()
			t.Error("another standing can be read meanwhile")
		}
		return nil
	}}
	if err := p.refresh(t.Context()); err != nil {
		t.Error(err)
	}
}

// The administrator's certificate never ends while the federation is served, nor in
// a folder that nobody has opened for longer than it lives.
func TestAdministratorIsRenewed(t *testing.T) {
	all, document := council(t, "A", "B")
	all[0].open(t)
	all[0].bounds.keepUp = time.Millisecond
	all[0].serve(t)
	a, b := all[0], all[1]
	must[*Facts](t)(Join(JoinConfig{Dir: b.dir, Genesis: document, Ledger: a.at.Portal, Host: "A"}))
	b.open(t)
	b.stop()
	before := a.administrator().Leaf()
	for _, p := range all {
		p.clock.pass(memberLifetime + time.Hour)
	}
	eventually(t, "it is not renewed", func() bool { return !a.administrator().Leaf().Equal(before) })
	b.open(t)
	must[Funding](t)(b.Fund(t.Context(), FundRequest{To: payment.Account{7}.String(), Coins: 3}))
}

// A ledger elsewhere that refuses the portal's certificate says nothing of the
// member's; the member's own is told.
func TestRefusalOfThePortal(t *testing.T) {
	p := opened(t)
	refused := &remote.Refused{Status: 403, Failure: remote.Failure{
		Reason: remote.ReasonCertificate, Refusal: identity.RefusalCode(identity.ErrExpired),
	}}
	p.ledger = &faulty{shared: p.books, submit: func() error { return refused }}
	portal := newPortal(t.Context(), p.Federation, nil)
	a := must[*identity.Authority](t)(identity.NewAuthority("Alpha", p.clock.now(), time.Hour))
	for _, x := range []struct {
		by   *identity.Identity
		want remote.Reason
	}{
		{p.administrator(), remote.ReasonUnavailable},
		{certified(t, a, "eve", p.clock.now(), time.Hour), remote.ReasonCertificate},
	} {
		w := httptest.NewRecorder()
		body := strings.NewReader(string(p.signed(t, x.by, &contract.SetDelegate{}).Append(nil)))
		portal.submit(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", body), caller{})
		var f remote.Failure
		if err := json.Unmarshal(w.Body.Bytes(), &f); err != nil || f.Reason != x.want {
			t.Errorf("%s is told %+v, %v", x.by.Name(), f, err)
		}
	}
}

// A call whose end is not known is finished while the federation is served.
func TestPendingIsFinished(t *testing.T) {
	p := opened(t)
	p.bounds.keepUp = time.Millisecond
	var silent atomic.Bool
	silent.Store(true)
	p.ledger = &faulty{shared: p.books, submit: func() error {
		if silent.Load() {
			return &remote.Unreachable{URL: "https://x", Err: errors.New("silence")}
		}
		return nil
	}}
	p.serve(t)
	to := payment.Account{7}
	_, err := p.Fund(t.Context(), FundRequest{To: to.String(), Coins: 3})
	if err == nil || !strings.Contains(err.Error(), "do not repeat it") {
		t.Fatal(err)
	}
	silent.Store(false)
	eventually(t, "it is not finished", func() bool { return p.registry.count(t, bucketPending) == 0 })
	if got := p.balance(t, to); got != 3 {
		t.Errorf("the account has %s", got)
	}
}

// Commands reach the process while it still reads the ledger.
func TestCommandsWhileCatchingUp(t *testing.T) {
	p := opened(t)
	asked := false
	p.ledger = &faulty{shared: p.books, query: func(contract.Query) error {
		if asked {
			return nil
		}
		asked = true
		c, err := Connect(t.Context(), p.dir)
		if err == nil {
			_, err = c.Members(t.Context(), struct{}{})
		}
		return err
	}}
	p.serve(t)
	if !asked {
		t.Error("the ledger was not asked")
	}
}

// endless is a ledger whose lists never end.
type endless struct {
	shared
	next []string
}

func (e *endless) Query(ctx context.Context, q contract.Query) (a contract.Answer, err error) {
	if q.Kind == contract.QueryLedger {
		return e.shared.Query(ctx, q)
	}
	a.Next, e.next = e.next[0], append(e.next[1:], e.next[0])
	return a, nil
}

// A ledger cannot keep a portal reading for ever.
func TestEndlessLists(t *testing.T) {
	p := opened(t)
	for _, next := range [][]string{{"a"}, {"a", "b"}, {"b", "a"}} {
		p.ledger = &endless{p.books, next}
		if err := p.refresh(t.Context()); !errors.Is(err, errEndless) {
			t.Errorf("%v: %v", next, err)
		}
	}
}

// nameless answers with nothing.
type nameless struct{ shared }

func (nameless) Query(context.Context, contract.Query) (a contract.Answer, err error) { return a, nil }

// A ledger that answers with nothing ends no portal.
func TestNamelessLedger(t *testing.T) {
	p := opened(t)
	p.ledger = nameless{p.books}
	for _, err := range []error{p.refresh(t.Context()), p.catchUp(t.Context())} {
		if !errors.Is(err, errNameless) {
			t.Error(err)
		}
	}
}

// A member that is told of a revocation asks for the directory at once: it must not
// be the one of before, however late the portal itself reads the ledger.
func TestTheDirectoryIsAsNewAsTheEvents(t *testing.T) {
	p := opened(t)
	p.serve(t)
	member := p.enrolled(t, "member").Identity.Principal()
	account := payment.AccountOf(member.MSP, member.SPKI)
	from := p.standing().ledger.Height + 1
	for _, call := range []contract.Arguments{&contract.Revoke{MSP: member.MSP, SPKI: member.SPKI}, &contract.Reinstate{Account: account}} {
		// By no portal: nobody reads the lists anew.
		r, err := p.books.Submit(t.Context(), p.signed(t, p.administrator(), call))
		if err != nil || r.Err() != nil {
			t.Fatal(r, err)
		}
		for b, err := range p.blocksFrom(t.Context(), from) {
			if err != nil {
				t.Fatal(err)
			}
			if b.Height == r.Height {
				break
			}
		}
		revoked := slices.ContainsFunc(p.directory().Revoked, func(one contract.Revocation) bool { return one.Account == account })
		if revoked != (call.Call() == contract.CallRevoke) {
			t.Errorf("after %s: %v", call.Call(), revoked)
		}
	}
}
