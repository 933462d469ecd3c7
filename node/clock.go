package node

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"torrente/payment/contract"
	"torrente/payment/ledger"
)

const (
	// attendEvery is how often the ledger is asked for its time, attendSoon how
	// soon again while something is wrong.
	attendEvery = time.Minute
	attendSoon  = 10 * time.Second
	// clockMargin is by how much less than the tolerance a clock that was wrong
	// must be off to count as right: one at the limit would have all connections
	// begin anew again and again.
	clockMargin = 10 * time.Second
)

// errNoAnswer says that what answers for the ledger is none.
var errNoAnswer = errors.New("the ledger says nothing of itself: update this program")

// attention is what we know of the ledger's time: whether our clock agrees with
// it. Without that nothing is sold and no coins are frozen (payment protocol,
// section 5), since both sides judge by their clocks when a commitment ends.
type attention struct {
	silence
	mu    sync.Mutex // guards the following
	wrong *ledger.WrongClock
	told  bool // the user was, of wrong
	// unlisted are torrents that wait for the clock to be right, or for the
	// ledger to take them.
	unlisted []unlisted
}

// unlisted is a torrent that the ledger does not know yet.
type unlisted struct {
	info []byte // its info dictionary
	told bool   // the user was, why
}

// attend asks the ledger for its time now and then, until the node ends.
func (p *purse) attend(ctx context.Context) {
	for ctx.Err() == nil {
		wait := attendEvery
		if _, err := p.askLedger(ctx); err != nil || p.wrongClock() != nil || !p.registerLate(ctx) {
			wait = attendSoon
		}
		p.complain()
		if p.listen() {
			wait = attendSoon
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
		case <-timer.C:
		}
	}
}

// askLedger asks the ledger about itself, and compares the clocks. The error may
// be a *ledger.WrongClock; it is not if an answer came in spite of that.
func (p *purse) askLedger(ctx context.Context) (*contract.LedgerInfo, error) {
	asked := p.node.cfg.Now()
	a, err := p.member.ask(ctx, contract.Query{Kind: contract.QueryLedger})
	answered := p.node.cfg.Now()
	if wrong, ok := errors.AsType[*ledger.WrongClock](err); ok {
		p.judged(wrong)
	}
	if err == nil && a.Ledger == nil {
		err = errNoAnswer
	}
	if err != nil {
		return nil, err
	}
	p.heard(answered)
	if a.Time != 0 {
		p.judged(p.compareClocks(asked, answered, time.Unix(int64(a.Time), 0)))
	}
	return a.Ledger, nil
}

// compareClocks judges our clock; one that was wrong is so until it is right by
// a margin.
func (p *purse) compareClocks(asked, answered, at time.Time) *ledger.WrongClock {
	if wrong := ledger.CompareClocks(asked, answered, at); wrong != nil {
		return wrong
	}
	if ledger.CompareClocks(asked.Add(clockMargin), answered.Add(-clockMargin), at) == nil {
		return nil
	}
	p.attention.mu.Lock()
	defer p.attention.mu.Unlock()
	return p.wrong
}

// judged notes what the comparison of the clocks gave. When that changes the
// connections of torrents that are sold begin anew: on those of before the peers
// have agreed to pay, or not to.
func (p *purse) judged(wrong *ledger.WrongClock) {
	p.attention.mu.Lock()
	was, told := p.wrong, p.told
	p.wrong = wrong
	if wrong == nil {
		p.told = false
	}
	p.attention.mu.Unlock()
	switch {
	case wrong == nil && was == nil || wrong != nil && was != nil:
		return
	case wrong != nil:
		p.node.cfg.Log.Warn("nothing is sold or bought", "why", wrong)
	case told:
		p.node.say("the clock of this machine is right again: what is sold is served again")
	}
	for _, t := range p.node.all() {
		if info := t.Info(); info == nil || info.Pay != nil {
			t.reconnect()
		}
	}
}

// wrongClock is how our clock is wrong; nil: it is right, as far as we know.
func (p *purse) wrongClock() error {
	p.attention.mu.Lock()
	defer p.attention.mu.Unlock()
	if p.wrong == nil {
		return nil
	}
	return p.wrong
}

// complain tells the user once that the clock is wrong, if something here is
// sold. Who buys is told by the error of the download.
func (p *purse) complain() {
	p.attention.mu.Lock()
	wrong := p.wrong
	speak := wrong != nil && !p.told && (len(p.unlisted) > 0 || p.node.sells())
	p.told = p.told || speak
	p.attention.mu.Unlock()
	if speak {
		p.node.say("%v", wrong)
	}
}

// sells reports whether a torrent is open that is complete and sold.
func (n *Node) sells() bool {
	for _, t := range n.all() {
		if info := t.Info(); info != nil && info.Pay != nil && t.pays() && isClosed(t.complete) {
			return true
		}
	}
	return false
}

// Register makes a torrent known to the ledger, so that it can be sold. The
// error may be a *ledger.WrongClock: then the user was told, and it is done when
// the clock is right.
func (n *Node) Register(ctx context.Context, info []byte) error {
	p := n.purse
	if _, err := p.askLedger(ctx); err != nil && p.wrongClock() == nil {
		return err
	}
	if wrong := p.wrongClock(); wrong != nil {
		p.attention.mu.Lock()
		p.unlisted = append(p.unlisted, unlisted{info: info})
		p.attention.mu.Unlock()
		p.complain()
		return wrong
	}
	return p.ask(ctx, &contract.RegisterTorrent{Info: info})
}

// registerLate registers what had to wait, and reports whether nothing is left.
// What the ledger refuses is not tried again; if it does not answer, that is
// tried at the next look.
func (p *purse) registerLate(ctx context.Context) bool {
	p.attention.mu.Lock()
	all := p.unlisted
	if p.wrong != nil {
		all = nil
	} else {
		p.unlisted = nil
	}
	p.attention.mu.Unlock()
	all = slices.DeleteFunc(all, func(u unlisted) bool { return p.listed(ctx, u) })
	p.attention.mu.Lock()
	defer p.attention.mu.Unlock()
	for _, u := range all {
		p.unlisted = append(p.unlisted, unlisted{u.info, true})
	}
	return len(p.unlisted) == 0
}

// listed tries to register a torrent, and reports whether there is no more to be
// tried. The user is told once what is in the way.
func (p *purse) listed(ctx context.Context, u unlisted) bool {
	err := p.ask(ctx, &contract.RegisterTorrent{Info: u.info})
	if err == nil || ctx.Err() != nil {
		return true
	}
	_, refused := errors.AsType[contract.Code](err)
	if refused {
		p.node.say("a torrent that is sold is not known to the ledger, which refuses it: %v", err)
	} else if !u.told {
		p.node.say("a torrent that is sold is not known to the ledger yet, which is asked again: %v", err)
	}
	return refused
}

// mayPay reports whether payment is offered to a peer, or its offer accepted.
func (t *Torrent) mayPay() bool { return t.pays() && t.node.purse.wrongClock() == nil }

// clockTrouble is a wrong clock that keeps what is missing from being bought.
func (t *Torrent) clockTrouble() error {
	if info := t.Info(); info == nil || info.Pay == nil || !t.pays() || isClosed(t.complete) {
		return nil
	}
	return t.node.purse.wrongClock()
}

// reconnect closes all connections: what was agreed on them is out of date.
func (t *Torrent) reconnect() {
	t.tell(func(time.Time) {
		for _, c := range t.conns {
			t.tasks.Go(c.closeAfter)
		}
	})
}
