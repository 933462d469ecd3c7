package fabric

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hyperledger/fabric-gateway/pkg/client"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
)

// errSilent means that a stream did not tell of a transaction in time.
var errSilent = errors.New("the peer told of no commit")

// commits tells which blocks one peer of the own organisation has, and what became
// of the transactions in them, by its stream of filtered blocks (Fabric,
// "DeliverFiltered"): one message for each block, where a question for each
// transaction costs a call and two signatures. Whoever has no answer by it asks.
// A block is told of when its writes can be read (Fabric, "blocksItr").
type commits struct {
	gateway *gateway

	mu   sync.Mutex
	live *stream // nil: no stream
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
	of   *commits
	by   *stream
	id   string
	told chan verdict
}

// expect says before a transaction is sent that its commit is waited for. It
// returns nil if there is no stream yet: one is opened then, from the block known
// on, if that is not 0.
func (s *commits) expect(client context.Context, id string, known uint64) *expectation {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.listening(client, known)
	if l == nil || l.height == 0 {
		return nil
	}
	e := &expectation{s, l, id, make(chan verdict, 1)}
	l.waiting[id] = e.told
	return e
}

// reached returns a stream and the last block that it told of. It opens one as
// expect does, and returns 0 meanwhile.
func (s *commits) reached(client context.Context, known uint64) (*stream, uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.listening(client, known)
	if l == nil {
		return nil, 0
	}
	return l, l.height
}

// listening returns the stream, or nil after opening one. The lock is held.
func (s *commits) listening(client context.Context, known uint64) *stream {
	if s.live != nil && s.live.done.Err() == nil {
		return s.live
	}
	if known > 0 {
		s.live = s.listen(client, known)
	}
	return nil
}

// listen opens a stream, which lasts as long as the client does. The lock is held.
func (s *commits) listen(client context.Context, next uint64) *stream {
	l := &stream{waiting: map[string]chan<- verdict{}}
	l.done, l.end = context.WithCancel(client)
	go func() {
		defer l.end()
		s.read(l, next)
	}()
	return l
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
// broken: then it is to be asked for. After statusTimeout the stream is ended, and
// the next transaction has another: this one lacks a block, or its peer is dead.
func (e *expectation) wait(ctx context.Context) (v verdict, told bool, err error) {
	timer := time.NewTimer(statusTimeout)
	defer timer.Stop()
	select {
	case v = <-e.told:
		return v, true, nil
	case <-e.by.done.Done():
		return v, false, nil
	case <-timer.C:
		e.by.end()
		return v, false, errSilent
	case <-ctx.Done():
		return v, false, ctx.Err()
	}
}

// forget ends an expectation.
func (e *expectation) forget() {
	e.of.mu.Lock()
	defer e.of.mu.Unlock()
	delete(e.by.waiting, e.id)
}
