package federation

import (
	"bufio"
	"context"
	"fmt"
	"iter"
	"testing"

	"torrente/payment"
	"torrente/payment/ledger"
	"torrente/payment/ledger/remote"
)

// More members of a portal whose ledger is elsewhere follow it than the portal that
// has it lets one account have streams, and each hears everything, the old blocks
// as well as the new.
func TestMembersShareOneStream(t *testing.T) {
	all, document := council(t, "A", "B")
	follow(t, all, document)
	a, b := all[0], all[1]
	a.pay(t, payment.Account{7}, oldBlocks+10) // before B's portal listens: not kept
	b.serve(t)
	before := a.books.Status().Height
	var streams []*bufio.Scanner
	for i := range maxAccountStream + 4 {
		s, _ := b.streamOf(t, b.enrolled(t, fmt.Sprint("m", i)).Identity, fmt.Sprint(remote.PathEvents, "?from=", before+1), "")
		streams = append(streams, s)
	}
	late, _ := b.streamOf(t, b.enrolled(t, "late").Identity, remote.PathEvents+"?from=1", "")
	a.pay(t, payment.Account{7}, 2)
	want := fmt.Sprint([]uint64{before + 1, before + 2})
	for i, s := range streams {
		if got := fmt.Sprint(nextIDs(t, s, 2)); got != want {
			t.Errorf("member %d hears %s, not %s", i, got, want)
		}
	}
	ids := nextIDs(t, late, int(before)+2)
	for i, id := range ids {
		if id != fmt.Sprint(i+1) {
			t.Fatalf("block %d comes as %s", i+1, id)
		}
	}
}

// A feed keeps its last blocks, and no more events than it may.
func TestFeedIsBounded(t *testing.T) {
	block := func(h uint64, events int) ledger.Block {
		return ledger.Block{Height: h, Events: make([]payment.LedgerEvent, events)}
	}
	f := newFeed()
	f.begin(10)
	for h := range uint64(3 * feedBlocks) {
		f.add(block(11+h, 0))
		f.add(block(11+h, 0)) // again
	}
	if n := len(f.blocks); n != feedBlocks || f.last != 10+3*feedBlocks {
		t.Errorf("%d blocks up to %d", n, f.last)
	}
	for range 3 {
		f.add(block(f.last+1, feedEvents/2+1))
	}
	if n := len(f.blocks); n != 1 || f.events != feedEvents/2+1 {
		t.Errorf("%d blocks of %d events", n, f.events)
	}
}

// Whatever a member asks for, and however much is forgotten while it is slow, it
// gets each block once and in order, by few streams at a time.
func TestFeedLeavesNothingOut(t *testing.T) {
	const height = 5 * feedBlocks
	f := newFeed()
	f.begin(1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	read := func(_ context.Context, h uint64) iter.Seq2[ledger.Block, error] {
		return func(yield func(ledger.Block, error) bool) {
			if len(f.old) > oldStreams {
				t.Error("too many streams")
			}
			for ; yield(ledger.Block{Height: h}, nil); h++ {
			}
		}
	}
	next := uint64(1)
	for b, err := range f.from(ctx, 0, read) {
		if next > height {
			if err != context.Canceled {
				t.Errorf("%+v, %v", b, err)
			}
			break
		}
		if err != nil || b.Height != next {
			t.Fatalf("%d, not %d: %v", b.Height, next, err)
		}
		for f.last < min(3*next, height) { // the ledger is faster than the member
			f.add(ledger.Block{Height: f.last + 1})
		}
		if next++; next > height {
			cancel()
		}
	}
}
