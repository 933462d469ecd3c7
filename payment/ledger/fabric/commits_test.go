package fabric

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/hyperledger/fabric-gateway/pkg/client"
	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	gatewaypb "github.com/hyperledger/fabric-protos-go-apiv2/gateway"
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

// streamed is an expectation of a transaction, once there is a stream, from block 7
// on.
func streamed(t *testing.T, s *commits, id string) (e *expectation) {
	t.Helper()
	until(t, "there is a stream", func() bool {
		s.open(t.Context(), 7)
		e = s.expect(id)
		return e != nil
	})
	return e
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
	if s.expect("early") != nil {
		t.Error("something is expected of no stream")
	}
	good, bad, forgotten, never := streamed(t, s, "good"), streamed(t, s, "bad"), streamed(t, s, "forgotten"), streamed(t, s, "never")
	forgotten.forget()
	more <- filtered(8, map[string]bool{"other": true})
	more <- filtered(9, map[string]bool{"good": true, "bad": false, "forgotten": true})
	more <- filtered(10, map[string]bool{"good": false}) // as a second one of the same id is
	for e, want := range map[*expectation]verdict{good: {9, peer.TxValidationCode_VALID}, bad: {9, peer.TxValidationCode_MVCC_READ_CONFLICT}} {
		if got, told, err := e.wait(t.Context(), shortestSilence); got != want || !told || err != nil {
			t.Errorf("%s: %+v, %v, %v; not %+v", e.id, got, told, err, want)
		}
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, told, err := never.wait(gone, shortestSilence); told || !errors.Is(err, context.Canceled) {
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
// another one is opened, after a while.
func TestCommitsOfABrokenStream(t *testing.T) {
	for what, second := range map[string]*peer.FilteredBlock{"it breaks": nil, "it lacks a block": filtered(9, map[string]bool{"one": true})} {
		t.Run(what, func(t *testing.T) {
			ready := make(chan struct{})
			own := &teller{filtered: func(stream int, next uint64, tell func(*peer.FilteredBlock) bool) {
				tell(filtered(next, nil))
				<-ready
				if stream == 1 && second != nil {
					tell(second)
				}
				if stream > 1 {
					tell(nil)
				}
			}}
			c := listening(t, own)
			s := &c.gateways[0].commits
			began := time.Now()
			one := streamed(t, s, "one")
			close(ready)
			if _, told, err := one.wait(t.Context(), shortestSilence); told || err != nil {
				t.Errorf("%v, %v", told, err)
			}
			if two := streamed(t, s, "two"); two.by == one.by || own.streams.Load() != 2 || time.Since(began) < streamEvery {
				t.Errorf("%d streams after %v", own.streams.Load(), time.Since(began))
			}
		})
	}
}

// A transaction that no block holds is not waited for: the stream is ended if it tells
// of nothing else either.
func TestCommitsOfASilentStream(t *testing.T) {
	for what, silent := range map[string]bool{"the stream is silent": true, "the transaction is lost": false} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			more := make(chan struct{})
			c := listening(t, &teller{filtered: func(_ int, next uint64, tell func(*peer.FilteredBlock) bool) {
				tell(filtered(next, nil))
				if <-more; !silent {
					tell(filtered(next+1, nil))
				}
				tell(nil)
			}})
			s := &c.gateways[0].commits
			one, two := streamed(t, s, "one"), streamed(t, s, "two")
			close(more)
			if _, told, err := one.wait(t.Context(), shortestSilence); told || !errors.Is(err, errSilent) {
				t.Errorf("%v, %v", told, err)
			}
			if ended := two.by.done.Err() != nil; ended != silent {
				t.Errorf("ended: %v", ended)
			}
		})
	}
}

// While the own peer's stream has told of all blocks that this client knows of, a query
// is one question; else the peer is asked for its height, too.
func TestQueriesOfACurrentPeer(t *testing.T) {
	more := make(chan *peer.FilteredBlock)
	defer close(more)
	own := &teller{last: 9, filtered: func(stream int, next uint64, tell func(*peer.FilteredBlock) bool) {
		if tell(filtered(next, nil)); stream > 1 {
			tell(nil)
		}
		for b := range more {
			tell(b)
		}
	}}
	says := func() string { return `{"ledger":{"height":0}}` }
	own.says = says
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
	has := func(height uint64) {
		t.Helper()
		until(t, "the stream has told", func() bool { _, h := s.reached(); return h == height })
	}
	query("there is no stream", 3, 9)
	has(9) // from the block on that the peer has just told of
	query("the stream is there", 1, 9)
	own.last = 10
	c.noteHeight(10)
	query("it is behind", 3, 10)
	more <- filtered(10, nil)
	has(10)
	query("it is not any more", 1, 10)
	own.says = func() string {
		own.says = says
		more <- filtered(12, nil) // which lacks one, and ends the stream
		until(t, "the stream has broken", func() bool { l, _ := s.reached(); return l == nil })
		return says()
	}
	query("it broke while it was asked", 4, 10)
}

// A stream's word spares the question for a commit. What was sent before, and what a
// stream did not tell of before it broke, is asked for.
func TestSendIsToldOrAsks(t *testing.T) {
	sent := make(chan string)
	own := &teller{last: 7}
	own.submitted = func(id string) {
		if own.streams.Load() > 0 {
			sent <- id
		}
	}
	own.filtered = func(_ int, next uint64, tell func(*peer.FilteredBlock) bool) {
		for tell(filtered(next, nil)) {
			id := <-sent
			if next++; id == "unheard" || !tell(filtered(next, map[string]bool{id: id != "conflicts"})) {
				return
			}
			next++
		}
	}
	c := listening(t, own)
	g := c.gateways[0]
	for _, one := range []struct {
		what, id  string
		before    bool
		height    uint64 // 1000: as the status says
		err       error
		questions int64 // since the beginning
	}{
		{"no stream", "first", false, 1000, nil, 1},
		{"told", "good", false, 1001, nil, 1},
		{"told of a conflict", "conflicts", false, 0, errInvalid, 1},
		{"sent before", "again", true, 1000, nil, 2},
		{"the stream breaks", "unheard", false, 1000, nil, 3},
	} {
		height, err := c.send(t.Context(), g, preparedTransaction(t, g, one.id), one.before)
		if got := own.statuses.Load(); height != one.height || !errors.Is(err, one.err) || got != one.questions {
			t.Errorf("%s: block %d, %v, %d questions; not %d, %v, %d", one.what, height, err, got, one.height, one.err, one.questions)
		}
		if one.what == "no stream" {
			until(t, "there is a stream", func() bool { _, h := g.commits.reached(); return h == 1000 })
		}
	}
}

// preparedTransaction is an endorsed one.
func preparedTransaction(t *testing.T, g *gateway, id string) *client.Transaction {
	t.Helper()
	action := &peer.ChaincodeActionPayload{Action: &peer.ChaincodeEndorsedAction{
		ProposalResponsePayload: bytesOf(t, &peer.ProposalResponsePayload{Extension: bytesOf(t, &peer.ChaincodeAction{})}),
	}}
	payload := &common.Payload{
		Header: &common.Header{ChannelHeader: bytesOf(t, &common.ChannelHeader{ChannelId: "torrente"})},
		Data:   bytesOf(t, &peer.Transaction{Actions: []*peer.TransactionAction{{Payload: bytesOf(t, action)}}}),
	}
	return must[*client.Transaction](t)(g.client.NewTransaction(bytesOf(t, &gatewaypb.PreparedTransaction{
		TransactionId: id, Envelope: &common.Envelope{Payload: bytesOf(t, payload)},
	})))
}
