package fabric

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hyperledger/fabric-gateway/pkg/client"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
)

// streamEvery is how soon after a stream another one is opened: a peer that gives
// none would be asked for one with each call.
const streamEvery = time.Second

// errSilent means that a stream did not tell of a transaction in time.
var errSilent = errors.New("the peer told of no commit")

// commits tells which blocks one peer of the own organisation has, and what became
// of the transactions in them, by its stream of filtered blocks (Fabric,
// "DeliverFiltered"): one message for each block, where a question for each
// transaction costs a call and two signatures. Whoever has no answer by it asks.
// A block is told of when its writes can be read (Fabric, "blocksItr").
type commits struct {
	gateway *gateway

	mu     sync.Mutex
	live   *stream // nil: there was none yet
	opened time.Time
}

// stream is one stream. It is done when the stream has broken.
type stream struct {
	done    context.Context
	end     context.CancelFunc
	height  uint64                    // the last block that it told of; 0: none, so that something may be missed
	waiting map[string]chan<- verdict // by Fabric's id of the transaction
}

// verdict is what became of a Fabric transaction.
type verdict struct {
	height uint64
	code   peer.TxValidationCode
}

// expectation is one transaction that is waited for.
type expectation struct {
	of     *commits
	by     *stream
	height uint64 // of the stream before the transaction was sent
	id     string
	told   chan verdict
}

// open opens a stream, unless there is one or was just now. It begins at the block
// that the peer has just told of, and lasts as long as the client, whose life is given.
func (s *commits) open(life context.Context, height uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current() != nil || time.Since(s.opened) < streamEvery {
		return
	}
	l := &stream{waiting: map[string]chan<- verdict{}}
	l.done, l.end = context.WithCancel(life)
	s.live, s.opened = l, time.Now()
	go func() {
		defer l.end()
		s.read(l, height)
	}()
}

// current is the stream, or nil if it has broken. The lock is held.
func (s *commits) current() *stream {
	if s.live != nil && s.live.done.Err() == nil {
		return s.live
	}
	return nil
}

// reached returns the stream and the last block that it told of; 0: there is none.
func (s *commits) reached() (*stream, uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.current()
	if l == nil {
		return nil, 0
	}
	return l, l.height
}

// expect says before a transaction is sent that its commit is waited for. It
// returns nil if there is no stream that has told of a block.
func (s *commits) expect(id string) *expectation {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.current()
	if l == nil || l.height == 0 {
		return nil
	}
	e := &expectation{of: s, by: l, height: l.height, id: id, told: make(chan verdict, 1)}
	l.waiting[id] = e.told
	return e
}

// read hands on what a stream tells until it breaks, or lacks a block.
func (s *commits) read(l *stream, next uint64) {
	ctx, cancel := context.WithCancel(l.done)
	blocks, err := s.gateway.network.FilteredBlockEvents(ctx, client.WithStartBlock(next))
	if err != nil {
		cancel()
		return // as a stream that broke at once
	}
	defer drain(cancel, blocks)
	for b := range blocks {
		if b.GetNumber() != next {
			return
		}
		next++
		s.tell(l, b)
	}
}

func (s *commits) tell(l *stream, b *peer.FilteredBlock) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l.height = b.GetNumber()
	for _, tx := range b.GetFilteredTransactions() {
		if to, waited := l.waiting[tx.GetTxid()]; waited {
			delete(l.waiting, tx.GetTxid())
			to <- verdict{b.GetNumber(), tx.GetTxValidationCode()} // it has room for one
		}
	}
}

// wait returns what became of the transaction. told is false if the stream has
// broken: then it is to be asked for. The error is errSilent after the longest time: the
// transaction is lost, or late; a stream that told of nothing else either is ended.
func (e *expectation) wait(ctx context.Context, longest time.Duration) (v verdict, told bool, err error) {
	timer := time.NewTimer(longest)
	defer timer.Stop()
	select {
	case v = <-e.told:
		return v, true, nil
	case <-e.by.done.Done():
		return v, false, nil
	case <-timer.C:
		e.endIfSilent()
		return v, false, errSilent
	case <-ctx.Done():
		return v, false, ctx.Err()
	}
}

// endIfSilent ends the stream if it told of nothing since the transaction was sent.
func (e *expectation) endIfSilent() {
	e.of.mu.Lock()
	defer e.of.mu.Unlock()
	if e.by.height == e.height {
		e.by.end()
	}
}

// forget ends an expectation.
func (e *expectation) forget() {
	e.of.mu.Lock()
	defer e.of.mu.Unlock()
	delete(e.by.waiting, e.id)
}
