package node

import (
	"context"
	"errors"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"torrente/payment/contract"
	"torrente/payment/ledger"
	"torrente/payment/wallet"
)

// streamed is a ledger that notes from which block on its events are asked for,
// and which blocks were given.
type streamed struct {
	ledger.Ledger

	mu    sync.Mutex // guards the following
	from  []uint64
	given []uint64
}

func (s *streamed) Events(ctx context.Context, height uint64) iter.Seq2[ledger.Block, error] {
	s.mu.Lock()
	s.from = append(s.from, height)
	s.mu.Unlock()
	return func(yield func(ledger.Block, error) bool) {
		for b, err := range s.Ledger.Events(ctx, height) {
			if err == nil {
				s.mu.Lock()
				s.given = append(s.given, b.Height)
				s.mu.Unlock()
			}
			if !yield(b, err) {
				return
			}
		}
	}
}

// take returns what was noted since the last time.
func (s *streamed) take() (from, given []uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	from, given = s.from, s.given
	s.from, s.given = nil, nil
	return from, given
}

// height is that of the last block.
func (d *dealing) height() uint64 {
	d.t.Helper()
	a, err := d.club.ledger.Query(context.Background(), contract.Query{Kind: contract.QueryLedger})
	if err != nil {
		d.t.Fatal(err)
	}
	return a.Ledger.Height
}

// kept is how far the seller's wallet says that events are handled.
func (d *dealing) kept() uint64 {
	d.t.Helper()
	h, err := d.seller.Wallet.Height()
	if err != nil {
		d.t.Fatal(err)
	}
	return h
}

// once runs the seller's node until it has nothing more to do.
func (d *dealing) once(s *streamed) (from, given []uint64) {
	d.t.Helper()
	n, _ := d.run(d.seller)
	synctest.Wait()
	if err := n.Close(); err != nil {
		d.t.Error(err)
	}
	return s.take()
}

// watchEvents makes the seller's ledger tell what was asked of it.
func (d *dealing) watchEvents() *streamed {
	s := &streamed{Ledger: d.club.ledger}
	d.seller.Ledger = s
	return s
}

// Blocks that a run has handled are not read again by the next; those that came
// meanwhile are.
func TestEventsGoOnWhereTheyEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := startDealing(t)
		s := d.watchEvents()
		first := d.height()
		if from, given := d.once(s); !slices.Equal(from, []uint64{0}) || len(given) != int(first) || d.kept() != first+1 {
			t.Errorf("the first run asked from %v, got %v, kept %d, of %d", from, given, d.kept(), first)
		}
		d.open(10, 4*time.Hour)
		if from, given := d.once(s); !slices.Equal(from, []uint64{first + 1}) || !slices.Equal(given, []uint64{first + 1}) || d.kept() != first+2 {
			t.Errorf("the second run asked from %v, got %v, kept %d", from, given, d.kept())
		}
		if from, given := d.once(s); !slices.Equal(from, []uint64{first + 2}) || given != nil {
			t.Errorf("the third run asked from %v, got %v", from, given)
		}
	})
}

// How far the events are handled is kept every few seconds, not for every block.
func TestHeightIsKeptNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := startDealing(t)
		n, _ := d.run(d.seller)
		defer n.Close()
		synctest.Wait()
		if d.kept() != 0 {
			t.Errorf("kept at once: %d", d.kept())
		}
		pass(keepHeightEvery)
		d.open(1, 4*time.Hour)
		synctest.Wait()
		if want := d.height() + 1; d.kept() != want {
			t.Errorf("kept %d, want %d", d.kept(), want)
		}
		before := d.kept()
		d.open(1, 4*time.Hour)
		synctest.Wait()
		if d.kept() != before {
			t.Errorf("kept for every block: %d", d.kept())
		}
	})
}

// A process that dies after it has handled a block, and before it has kept that,
// leaves what the next one handles again, with no effect.
func TestEventsHandledTwiceChangeNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := startDealing(t)
		sale := d.open(10, 4*time.Hour)
		sale.pay(6)
		pass(5 * time.Hour)
		d.do(d.buyer, &contract.Refund{Settles: []contract.Settle{{Commitment: sale.id}}})
		s := d.watchEvents()
		d.once(s)
		before, ok := d.seller.Wallet.Claim(sale.id)
		books, err := d.seller.Wallet.Books()
		if !ok || !before.Ended || err != nil {
			t.Fatalf("%+v, %v", before, err)
		}
		if err := d.seller.Wallet.SetHeight(0); err != nil { // as it was when it died
			t.Fatal(err)
		}
		if _, given := d.once(s); len(given) != int(d.height()) {
			t.Errorf("%d of %d blocks were read again", len(given), d.height())
		}
		after, _ := d.seller.Wallet.Claim(sale.id)
		again, err := d.seller.Wallet.Books()
		if after.Ended != before.Ended || after.Redeemed != before.Redeemed || len(again) != len(books) || err != nil {
			t.Errorf("the claim was %+v and is %+v; %d books and %d, %v", before, after, len(books), len(again), err)
		}
		if got := told(t, d.seller); !slices.Equal(got, []string{wallet.EventExpired}) {
			t.Errorf("history: %v", got)
		}
	})
}

// A block whose effect could not be kept is handled again, and counts only then.
func TestEventsWaitForTheirEffect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := startDealing(t)
		s := d.watchEvents()
		var down atomic.Bool
		d.seller.Refresh = func(context.Context) error {
			if down.Load() {
				return errors.New("the federation says nothing")
			}
			return nil
		}
		n, _ := d.run(d.seller)
		defer n.Close()
		pass(2 * keepHeightEvery)
		s.take()
		down.Store(true)
		stranger := d.club.issue(t, "stranger").Principal()
		d.do(&Membership{Identity: d.club.treasury}, &contract.Revoke{MSP: stranger.MSP, SPKI: stranger.SPKI})
		block := d.height()
		pass(2 * keepHeightEvery)
		if _, given := s.take(); !slices.Equal(given, []uint64{block}) || d.kept() > block {
			t.Errorf("blocks %v were given, kept %d, of %d", given, d.kept(), block)
		}
		down.Store(false)
		pass(2 * time.Second)
		if from, given := s.take(); !slices.Equal(from, []uint64{block}) || !slices.Equal(given, []uint64{block}) || d.kept() != block+1 {
			t.Errorf("asked from %v, got %v, kept %d, of %d", from, given, d.kept(), block)
		}
	})
}

// Whom to trust is kept nowhere, so every run asks for it before it goes on: a
// revocation in a block of the last run still counts.
func TestTrustIsAskedAtEachStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := startDealing(t)
		s := d.watchEvents()
		d.once(s)
		asked := 0
		d.seller.Refresh = func(context.Context) error { asked++; return nil }
		if _, given := d.once(s); asked != 1 || given != nil {
			t.Errorf("asked %d times, after blocks %v", asked, given)
		}
	})
}

// A wallet that has seen more blocks than there are handles all that there are.
func TestEventsOfAShorterLedger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := startDealing(t)
		s := d.watchEvents()
		if err := d.seller.Wallet.SetHeight(d.height() + 2); err != nil {
			t.Fatal(err)
		}
		if from, given := d.once(s); !slices.Equal(from, []uint64{0}) || len(given) != int(d.height()) || d.kept() != d.height()+1 {
			t.Errorf("asked from %v, got %v, kept %d", from, given, d.kept())
		}
	})
}
