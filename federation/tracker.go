package federation

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"torrente/payment"
	"torrente/payment/contract"
	"torrente/payment/ledger"
	"torrente/payment/ledger/fabric"
	"torrente/payment/ledger/remote"
	"torrente/tracker/server"
)

// errSold is what a peer of a sold torrent is told on the plain tracker: there
// its announce proves no account.
var errSold = errors.New("this torrent is sold: announce it with a member's certificate at the federation's https address")

// newTracker makes the tracker that answers on both addresses. Whoever comes
// over TLS has shown a member's certificate before.
func (f *Federation) newTracker() *server.Server {
	return server.New(server.Config{
		Now: f.now,
		Allow: func(r *http.Request, hash [20]byte) error {
			if r.TLS == nil && f.sold.has(hash) {
				return errSold
			}
			return nil
		},
	})
}

// announce answers members' announces of what is sold. Others are told why not
// in the words of a tracker, which is what their programs show.
func (p *portal) announce(w http.ResponseWriter, r *http.Request) {
	if _, err := p.identify(r, p.members()); err != nil {
		p.tracker.Refuse(w, err)
		return
	}
	p.slot(func(w http.ResponseWriter, r *http.Request, _ caller) { p.tracker.ServeHTTP(w, r) })(w, r, caller{})
}

// sold knows the info-hashes of the torrents on the ledger, as announces carry
// them: SHA-1 of the info dictionary, and the first 20 bytes of its SHA-256.
// The registry keeps them, with the height up to which the ledger was read.
type sold struct {
	mu     sync.RWMutex // guards the following
	hashes map[[20]byte]struct{}
	height uint64
}

func newSold() *sold { return &sold{hashes: map[[20]byte]struct{}{}} }

func (s *sold) has(hash [20]byte) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, ok := s.hashes[hash]
	return ok
}

// reached returns the last block whose torrents are known.
func (s *sold) reached() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.height
}

var keyHeight = []byte("height")

// load reads what the registry remembers.
func (s *sold) load(r *registry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return r.db.View(func(tx *bbolt.Tx) error {
		if b := tx.Bucket(bucketSeen).Get(keyHeight); len(b) == 8 {
			s.height = binary.BigEndian.Uint64(b)
		}
		return tx.Bucket(bucketSold).ForEach(func(k, _ []byte) error {
			if len(k) == 20 {
				s.hashes[[20]byte(k)] = struct{}{}
			}
			return nil
		})
	})
}

// add notes the torrents of a block, on disk only if there are any: the blocks
// behind the last one noted are read again after a start.
func (s *sold) add(r *registry, height uint64, hashes [][20]byte) error {
	if len(hashes) > 0 {
		at := binary.BigEndian.AppendUint64(nil, height)
		err := r.db.Update(func(tx *bbolt.Tx) error {
			for _, h := range hashes {
				if err := tx.Bucket(bucketSold).Put(h[:], at); err != nil {
					return err
				}
			}
			return tx.Bucket(bucketSeen).Put(keyHeight, at)
		})
		if err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range hashes {
		s.hashes[h] = struct{}{}
	}
	s.height = height
	return nil
}

// catchUp reads the torrents of all blocks that are there.
func (f *Federation) catchUp(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(openPatience, func() { cancel(errNoAnswer) })
	defer silence.Stop()
	a, err := f.ledger.Query(ctx, contract.Query{Kind: contract.QueryLedger})
	if err != nil {
		return whyEnded(ctx, err)
	}
	if a.Ledger == nil {
		return errNameless
	}
	height := a.Ledger.Height
	if f.sold.reached() >= height {
		return nil
	}
	err = f.followTorrents(ctx, func() bool {
		silence.Reset(openPatience)
		return f.sold.reached() < height
	})
	return whyEnded(ctx, err)
}

// followTorrents notes the torrents that are registered, until more says no.
func (f *Federation) followTorrents(ctx context.Context, more func() bool) error {
	for b, err := range f.ledger.Events(ctx, f.sold.reached()+1) {
		if err == nil {
			err = f.note(ctx, b)
		}
		if err != nil {
			return fmt.Errorf("follow the ledger: %w", err)
		}
		if f.books == nil {
			f.feed.add(b)
		}
		if !more() {
			return nil
		}
	}
	return nil
}

// keepFollowing follows the ledger until ctx ends. What may be otherwise later, as
// the silence of a ledger over a network, is waited for: members are enrolled and
// peers find each other meanwhile.
func (f *Federation) keepFollowing(ctx context.Context) error {
	for pause := f.bounds.pause; ; pause = min(2*pause, 30*f.bounds.pause) {
		before := f.sold.reached()
		err := f.followTorrents(ctx, func() bool { return true })
		switch {
		case ctx.Err() != nil:
			return nil
		case !passing(err):
			return err
		case f.sold.reached() > before:
			pause = f.bounds.pause
		}
		f.log.Warn("the ledger cannot be followed at the moment: it is tried again", "reason", err)
		wait := time.NewTimer(pause)
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return nil
		}
	}
}

// passing reports whether an answer of the ledger may be another one later. A
// refused certificate is renewed, and an unknown root may be replaced again.
func passing(err error) bool {
	if refused, ok := errors.AsType[*remote.Refused](err); ok {
		r := refused.Failure.Reason
		return r == remote.ReasonBusy || r == remote.ReasonUnavailable || r == remote.ReasonCertificate
	}
	_, far := errors.AsType[*remote.Unreachable](err)
	_, silent := errors.AsType[*fabric.Unreachable](err)
	_, stranger := errors.AsType[*remote.Stranger](err)
	_, wrong := errors.AsType[*ledger.WrongClock](err)
	return far || silent || stranger || wrong || errors.Is(err, context.DeadlineExceeded)
}

// note takes in a block. The torrents come last: they say up to which block all
// is known, so that what failed is done when the block comes again.
func (f *Federation) note(ctx context.Context, b ledger.Block) error {
	if err := f.upTo(ctx, b); err != nil {
		return err
	}
	return f.noteTorrents(ctx, b)
}

func (f *Federation) noteTorrents(ctx context.Context, b ledger.Block) error {
	var hashes [][20]byte
	for _, e := range b.Events {
		if e.Kind != payment.EventTorrent {
			continue
		}
		more, err := f.announced(ctx, e.Torrent)
		if err != nil {
			return err
		}
		hashes = append(hashes, more...)
	}
	return f.sold.add(f.registry, b.Height, hashes)
}

// announced returns the info-hashes under which a torrent's peers announce.
func (f *Federation) announced(ctx context.Context, id payment.TorrentID) (hashes [][20]byte, err error) {
	a, err := f.ledger.Query(ctx, contract.Query{Kind: contract.QueryTorrent, Torrent: id})
	if err != nil || a.Torrent == nil {
		return nil, err
	}
	if a.Torrent.V2 {
		hashes = append(hashes, [20]byte(id[:20]))
	}
	if a.Torrent.V1 {
		raw, err := hex.DecodeString(a.Torrent.SHA1)
		if err != nil || len(raw) != 20 {
			return nil, fmt.Errorf("torrent %v: its SHA-1 is %.50q", id, a.Torrent.SHA1)
		}
		hashes = append(hashes, [20]byte(raw))
	}
	return hashes, nil
}
