package node

import (
	"fmt"
	"time"
)

// keepHeightEvery is how often it is kept how far the ledger's events are
// handled. What is handled twice does no harm, so that is a matter of work only.
const keepHeightEvery = 5 * time.Second

// handled is how far the ledger's events are handled; the purse's run alone
// uses it. A block counts when all that it means to us is kept, and is not
// looked at again. One that was handled when the process died, before that was
// kept, is handled again by the next, which changes nothing.
type handled struct {
	next   uint64 // the first block that is not
	kept   uint64 // what the wallet says that next is
	when   time.Time
	looked bool // the wallet was asked
}

// nextBlock returns the block to go on with. A height beyond the ledger's is of
// another ledger, or of this one before it was restored: all is handled anew.
func (p *purse) nextBlock(last uint64) (uint64, error) {
	h := &p.handled
	if !h.looked {
		height, err := p.member.Wallet.Height()
		if err != nil {
			return 0, err
		}
		*h = handled{next: height, kept: height, when: time.Now(), looked: true}
	}
	if h.next > last+1 {
		p.node.cfg.Log.Warn("the ledger has fewer blocks than it had: its events are handled anew", "now", last, "then", h.next-1)
		h.next = 0
	}
	return h.next, nil
}

// hasHandled notes a block, and keeps that now and then.
func (p *purse) hasHandled(height uint64) error {
	h := &p.handled
	h.next = height + 1
	if time.Since(h.when) < keepHeightEvery {
		return nil
	}
	return p.keepHeight()
}

// keepHeight keeps how far the events are handled, after what they changed in
// the Books. While those cannot be read nothing is kept.
func (p *purse) keepHeight() error {
	h := &p.handled
	if h.next == h.kept || p.unread != nil {
		return nil
	}
	if err := p.saveBooks(); err != nil {
		return err
	}
	if err := p.member.Wallet.SetHeight(h.next); err != nil {
		return fmt.Errorf("keep how far the ledger's events are handled: %w", err)
	}
	h.kept, h.when = h.next, time.Now()
	return nil
}
