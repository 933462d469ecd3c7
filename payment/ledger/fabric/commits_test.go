package fabric

import (
	"context"
	"errors"
	"testing"

	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"torrente/payment/contract"
)

// filtered is a block with transactions, each of which is valid or conflicted.
func filtered(number uint64, valid map[string]bool) *peer.FilteredBlock {
	b := &peer.FilteredBlock{Number: number}
	for id, ok := range valid {
		code := peer.TxValidationCode_MVCC_READ_CONFLICT
		if ok {
			code = peer.TxValidationCode_VALID
		}
		b.FilteredTransactions = append(b.FilteredTransactions, &peer.FilteredTransaction{Txid: id, TxValidationCode: code})
	}
	return b
}

// streamed is an expectation of a transaction, once there is a stream.
func streamed(t *testing.T, s *commits, id string) *expectation {
	t.Helper()
	for {
		if e := s.expect(t.Context(), id, 7); e != nil {
			return e
		}
		if t.Context().Err() != nil {
			t.Fatal("there is no stream")
		}
	}
}

// What is expected is told with its block and verdict, once; who has forgotten it is
// told nothing.
func TestCommitsAreTold(t *testing.T) {
	more := make(chan *peer.FilteredBlock)
	defer close(more)
	c := listening(t, &teller{filtered: func(_ int, next uint64, tell func(*peer.FilteredBlock) bool) {
		for b := filtered(next, nil); tell(b); b = <-more {
		}
	}})
	s := &c.gateways[0].commits
	if s.expect(t.Context(), "early", 0) != nil || s.live != nil {
		t.Error("there is a stream, and no block is known that it could begin with")
	}
	good, bad, forgotten, never := streamed(t, s, "good"), streamed(t, s, "bad"), streamed(t, s, "forgotten"), streamed(t, s, "never")
	forgotten.forget()
	more <- filtered(8, map[string]bool{"other": true})
	more <- filtered(9, map[string]bool{"good": true, "bad": false, "forgotten": true})
	more <- filtered(10, map[string]bool{"good": false}) // as a second one of the same id is
	for e, want := range map[*expectation]verdict{good: {9, peer.TxValidationCode_VALID}, bad: {9, peer.TxValidationCode_MVCC_READ_CONFLICT}} {
		if got, told, err := e.wait(t.Context()); got != want || !told || err != nil {
			t.Errorf("%s: %+v, %v, %v; not %+v", e.id, got, told, err, want)
		}
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, told, err := never.wait(gone); told || !errors.Is(err, context.Canceled) {
		t.Errorf("%v, %v", told, err)
	}
	select {
	case <-forgotten.told:
		t.Error("it is told what nobody waits for")
	case <-never.by.done.Done():
		t.Error("the stream has ended, since a caller went away")
	default:
	}
	good.forget()
	never.forget()
	if left := len(never.by.waiting); left != 0 {
		t.Errorf("%d are waited for still", left)
	}
}

// A stream that breaks, or lacks a block, tells nothing any more: who waits asks, and
// the next has another stream, from the block on that is known by then.
func TestCommitsOfABrokenStream(t *testing.T) {
	for what, second := range map[string]*peer.FilteredBlock{"it breaks": nil, "it lacks a block": filtered(9, map[string]bool{"one": true})} {
		t.Run(what, func(t *testing.T) {
			ready := make(chan struct{})
			var from []uint64
			c := listening(t, &teller{filtered: func(stream int, next uint64, tell func(*peer.FilteredBlock) bool) {
				from = append(from, next)
				tell(filtered(next, nil))
				<-ready
				if stream == 1 && second != nil {
					tell(second)
				}
				if stream > 1 {
					tell(nil)
				}
			}})
			s := &c.gateways[0].commits
			one := streamed(t, s, "one")
			close(ready)
			if _, told, err := one.wait(t.Context()); told || err != nil {
				t.Errorf("%v, %v", told, err)
			}
			if two := streamed(t, s, "two"); two.by == one.by {
				t.Error("there is no other stream")
			}
		})
	}
}

// A stream that does not tell of what was sent is not waited for again.
func TestCommitsOfASilentStream(t *testing.T) {
	c := listening(t, &teller{filtered: func(_ int, next uint64, tell func(*peer.FilteredBlock) bool) {
		tell(filtered(next, nil))
		tell(nil)
	}})
	s := &c.gateways[0].commits
	one := streamed(t, s, "one")
	if _, told, err := one.wait(t.Context()); told || !errors.Is(err, errSilent) {
		t.Errorf("%v, %v", told, err)
	}
	if two := streamed(t, s, "two"); two.by == one.by {
		t.Error("there is no other stream")
	}
}

// While the own peer's stream has told of all blocks that this client knows of, a query
// is one question; else the peer is asked for its height, too.
func TestQueriesOfACurrentPeer(t *testing.T) {
	more := make(chan *peer.FilteredBlock)
	defer close(more)
	own := &teller{last: 9}
	own.filtered = func(stream int, next uint64, tell func(*peer.FilteredBlock) bool) {
		if tell(filtered(next, nil)); stream > 1 {
			tell(nil)
		}
		for b := range more {
			tell(b)
		}
	}
	own.says = func() string { return `{"ledger":{"height":0}}` }
	c := listening(t, own)
	s := &c.gateways[0].commits
	query := func(what string, questions int64, height uint64) {
		t.Helper()
		before := own.asked.Load()
		a, err := c.Query(t.Context(), contract.Query{Kind: contract.QueryLedger})
		if err != nil || a.Ledger == nil || a.Ledger.Height != height || own.asked.Load() != before+questions {
			t.Errorf("%s: %+v, %v, %d questions; not height %d, %d questions", what, a.Ledger, err, own.asked.Load()-before, height, questions)
		}
	}
	query("nothing is known", 3, 9)
	streamed(t, s, "one") // from block 9 on, or whatever is asked for first
	has := func(height uint64) {
		t.Helper()
		until(t, "the stream has told", func() bool { _, h := s.reached(t.Context(), 0); return h == height })
	}
	c.seen.Store(7)
	has(7)
	query("the stream is there", 1, 7)
	c.noteHeight(8)
	query("it is behind", 3, 9)
	more <- filtered(8, nil)
	more <- filtered(9, nil)
	has(9)
	query("it is not any more", 1, 9)
	says := own.says
	own.says = func() string {
		own.says = says
		more <- filtered(11, nil) // which lacks one, and ends the stream
		until(t, "the stream has broken", func() bool { l, _ := s.reached(t.Context(), 0); return l == nil })
		return says()
	}
	query("it broke while it was asked", 4, 9)
}
