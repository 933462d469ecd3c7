package federation

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"torrente/payment/contract"
	"torrente/payment/ledger/remote"
)

// faulty is a ledger that is there, and at times does not answer.
type faulty struct {
	shared
	query func(contract.Query) error // called before each query; its error is the answer
}

func (f *faulty) Query(ctx context.Context, q contract.Query) (contract.Answer, error) {
	if err := f.query(q); err != nil {
		return contract.Answer{}, err
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
	p.ledger = &faulty{p.books, func(contract.Query) error {
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
	p.ledger = &faulty{p.books, func(contract.Query) error {
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
