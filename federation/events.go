package federation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"torrente/payment"
	"torrente/payment/ledger"
	"torrente/payment/ledger/remote"
)

// Bounds of the streams of ledger events.
const (
	maxStreams       = 2048
	maxAccountStream = 8
	streamBuffer     = 16 // blocks read ahead
)

// startOf is the first height of a stream: from, or the one behind the last
// event that the client has seen.
func startOf(r *http.Request) (uint64, bool) {
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		n, ok := heightOf(last)
		return n + 1, ok && n+1 != 0
	}
	n, ok := heightOf(r.URL.Query().Get("from"))
	return max(n, 1), ok
}

// events streams the ledger's blocks from a height on, as server-sent events
// with the height as id. Nothing is buffered for a slow client but a few
// blocks: the rest is read from the disk, or the feed, when its turn comes.
func (p *portal) events(w http.ResponseWriter, r *http.Request, c caller) {
	from, ok := startOf(r)
	if !ok {
		p.fail(w, http.StatusBadRequest, remote.ReasonMalformed, errors.New("a height is a whole number"))
		return
	}
	account := payment.AccountOf(c.principal.MSP, c.principal.SPKI)
	if !p.streams.enter(account) {
		p.busy(w)
		return
	}
	defer p.streams.leave(account)
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(p.stop, cancel)()
	s := &sender{w: w, out: http.NewResponseController(w), keepAlive: p.fed.bounds.keepAlive, slow: p.fed.bounds.slow}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	blocks, done := p.readAhead(ctx, from)
	err := s.run(blocks, func() error { _, err := p.identify(r, p.creators()); return err })
	cancel()
	<-done
	if err != nil {
		p.fed.log.Debug("a stream of events ends", "account", account, "reason", err)
	}
	panic(http.ErrAbortHandler) // so that the client does not take it for the end of the ledger
}

// readAhead reads blocks for a stream. The goroutine ends with ctx, or with the
// ledger; then blocks is closed, and done.
func (p *portal) readAhead(ctx context.Context, from uint64) (<-chan ledger.Block, <-chan struct{}) {
	blocks, done := make(chan ledger.Block, streamBuffer), make(chan struct{})
	go func() {
		defer close(done)
		defer close(blocks)
		for b, err := range p.fed.blocksFrom(ctx, from) {
			if err != nil {
				return
			}
			select {
			case blocks <- b:
			case <-ctx.Done():
				return
			}
		}
	}()
	return blocks, done
}

// sender writes one stream.
type sender struct {
	w               http.ResponseWriter
	out             *http.ResponseController
	keepAlive, slow time.Duration
}

// run sends blocks, and comments in between, until blocks end, the client is
// too slow, or it may not listen any more.
func (s *sender) run(blocks <-chan ledger.Block, allowed func() error) error {
	tick := time.NewTicker(s.keepAlive)
	defer tick.Stop()
	if err := s.send([]byte(": the ledger's blocks\n\n")); err != nil {
		return err
	}
	for {
		var text []byte
		select {
		case b, more := <-blocks:
			if !more {
				return nil
			}
			data, err := json.Marshal(b)
			if err != nil {
				return err
			}
			text = fmt.Appendf(nil, "event: %s\nid: %d\ndata: %s\n\n", remote.EventBlock, b.Height, data)
		case <-tick.C:
			text = []byte(":\n\n")
		}
		if err := allowed(); err != nil {
			return err
		}
		if err := s.send(text); err != nil {
			return err
		}
	}
}

// send writes and flushes; a client that does not read is cut off.
func (s *sender) send(text []byte) error {
	if err := s.out.SetWriteDeadline(time.Now().Add(s.slow)); err != nil {
		return err
	}
	if _, err := s.w.Write(text); err != nil {
		return err
	}
	return s.out.Flush()
}
