package node

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"time"

	"torrente/payment"
	"torrente/payment/contract"
	"torrente/payment/ledger"
	"torrente/payment/wallet"
	"torrente/peerwire"
)

// purse does for all torrents of a node what payment needs outside of a Swarm:
// it keeps the Books, and calls the ledger. One account, one ledger, one purse.
type purse struct {
	node    *Node
	member  *Membership
	account payment.Account
	ledger  ledger.Ledger

	lending
	unregistered unregistered
	attention

	mu       sync.Mutex // guards the following
	price    payment.Amount
	epoch    uint64
	before   payment.Amount // the price of the epoch before
	deals    map[payment.CommitmentID]*dealt
	frozen   map[payment.TorrentID]*frozen
	alias    peerwire.Alias
	watching map[payment.CommitmentID]bool // true: asked for again meanwhile

	handled handled
	ending  sync.Mutex // held while the end of a commitment to us is kept
	pricing sync.Mutex // held while a price is learned and told
}

const (
	// ledgerTime is how long a call on the ledger may take.
	ledgerTime = 30 * time.Second
	// keepBooksEvery is how often books are kept whose loss would cost the
	// other side some credit, and no coin.
	keepBooksEvery = 5 * time.Second
)

func newPurse(n *Node, m *Membership) *purse {
	p := m.Identity.Principal()
	return &purse{
		node: n, member: m, account: payment.AccountOf(p.MSP, p.SPKI), ledger: m.Ledger,
		lending: newLending(), unregistered: newUnregistered(m.Wallet), attention: attention{silence: silence{last: n.cfg.Now()}},
		deals:  map[payment.CommitmentID]*dealt{},
		frozen: map[payment.TorrentID]*frozen{}, watching: map[payment.CommitmentID]bool{},
	}
}

// run learns the price and then what happens on the ledger, until the node
// ends.
func (p *purse) run(ctx context.Context) {
	defer p.keepEnd()
	p.node.tasks.Go(func() { p.keepBooks(ctx) })
	p.node.tasks.Go(func() { p.attend(ctx) })
	for ctx.Err() == nil {
		if err := p.follow(ctx); err != nil && ctx.Err() == nil {
			p.node.cfg.Log.Warn("ledger", "err", err)
		}
		wait := time.Second
		if p.wrongClock() != nil {
			wait = attendSoon
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// keepEnd keeps at the end of the node what was only kept now and then.
func (p *purse) keepEnd() {
	p.keepAll()
	if err := p.keepHeight(); err != nil {
		p.node.cfg.Log.Error("the ledger's events are handled again at the next start", "err", err)
	}
}

// follow learns how things stand, and then what changes. Whom to trust is asked
// anew, because what earlier blocks said of that is kept nowhere.
func (p *purse) follow(ctx context.Context) error {
	l, err := p.askLedger(ctx)
	if err != nil {
		return err
	}
	p.learnPrice(l.Price, l.Before, l.Epoch)
	if err := p.resend(ctx); err != nil {
		return err
	}
	if err := p.refreshTrust(ctx); err != nil {
		return err
	}
	from, err := p.nextBlock(l.Height)
	if err != nil {
		return err
	}
	for block, err := range p.ledger.Events(ctx, from) {
		if err != nil {
			return err
		}
		for _, e := range block.Events {
			if err := p.learn(ctx, e); err != nil {
				return err
			}
		}
		if err := p.hasHandled(block.Height); err != nil {
			return err
		}
	}
	return nil
}

func (p *purse) refreshTrust(ctx context.Context) error {
	if p.member.Refresh == nil {
		return nil
	}
	return p.member.Refresh(ctx)
}

// learn takes one event: of the federation, or of our own coins. Taken again it
// changes nothing.
func (p *purse) learn(ctx context.Context, e payment.LedgerEvent) error {
	switch e.Kind {
	case payment.EventPrice:
		p.learnPrice(e.Price, e.Before, e.Epoch)
	case payment.EventRevoked, payment.EventReinstated, payment.EventRoots:
		return p.refreshTrust(ctx)
	case payment.EventRefunded:
		if err := p.ended(e); err != nil {
			return err
		}
		p.tellAll(e)
	default:
		if e.Receiver == p.account || e.Account == p.account {
			p.tellAll(e)
		}
	}
	return nil
}

// learnPrice takes the price of an epoch, and that of the epoch before, unless a
// later one is known, and tells all who go by it.
func (p *purse) learnPrice(price, before payment.Amount, epoch uint64) {
	p.pricing.Lock()
	defer p.pricing.Unlock()
	if epoch < p.priceEvent().Epoch {
		return
	}
	p.mu.Lock()
	p.price, p.before, p.epoch = price, before, epoch
	p.mu.Unlock()
	p.setPrice(price)
	p.tellAll(p.priceEvent())
}

func (p *purse) priceEvent() payment.LedgerEvent {
	p.mu.Lock()
	defer p.mu.Unlock()
	return payment.LedgerEvent{Kind: payment.EventPrice, Price: p.price, Epoch: p.epoch, Before: p.before}
}

// tellAll tells every torrent of an event; each knows what concerns it.
func (p *purse) tellAll(e payment.LedgerEvent) {
	for _, t := range p.node.all() {
		t.tell(func(now time.Time) { t.ledger(now, e) })
	}
}

// submit signs a call, keeps it in the wallet with what it reserves, and sends
// it until its outcome is known; the same bytes each time, so that it has the
// effect of one, also after a crash.
func (p *purse) submit(ctx context.Context, reserve wallet.Reservation, args contract.Arguments) (ledger.Receipt, error) {
	tx := &contract.Transaction{
		Ledger: p.ledger.ID(), Time: uint64(p.node.cfg.Now().Unix()), Request: reserve.Request, Args: args,
	}
	signed, err := contract.Sign(p.member.Identity.Key(), p.member.Certified().Chain(), tx)
	if err != nil {
		return ledger.Receipt{}, err
	}
	reserve.Signed = signed.Append(nil)
	if err := p.member.Wallet.Reserve(reserve); err != nil {
		return ledger.Receipt{}, err
	}
	r, err := p.send(ctx, reserve.Request, signed)
	if err != nil {
		return r, fmt.Errorf("%s: %w", args.Call(), err)
	}
	return r, nil
}

// send sends a transaction. Its outcome, good or bad, ends its place in the
// wallet; without one it is sent again at the next start.
func (p *purse) send(ctx context.Context, request payment.RequestID, signed *contract.Signed) (ledger.Receipt, error) {
	ctx, cancel := context.WithTimeout(ctx, ledgerTime)
	defer cancel()
	r, err := p.ledger.Submit(ctx, signed)
	if err != nil {
		return r, err
	}
	if err := p.member.Wallet.DoneSubmission(request); err != nil {
		return r, err
	}
	if len(r.Items) == 1 && r.Items[0].Err() != nil {
		return r, r.Items[0] // it says more than that none was done
	}
	return r, r.Err()
}

// resend sends what was reserved before a crash, as it was.
func (p *purse) resend(ctx context.Context) error {
	pending, err := p.member.Wallet.PendingSubmissions()
	if err != nil {
		return err
	}
	for _, s := range pending {
		signed, err := contract.ParseSigned(s.Signed)
		if err != nil {
			return err
		}
		if _, err := p.send(ctx, s.Request, signed); err != nil {
			p.node.cfg.Log.Warn("a transaction of the last run", "err", err)
			if hopeless(err) {
				if err := p.member.Wallet.DoneSubmission(s.Request); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// ask makes a call that reserves nothing.
func (p *purse) ask(ctx context.Context, args contract.Arguments) error {
	_, err := p.submit(ctx, wallet.Reservation{Request: newRequest()}, args)
	return err
}

func newRequest() (id payment.RequestID) {
	rand.Read(id[:])
	return id
}

// watch asks what the ledger knows of a commitment to us; once at a time,
// however often a peer hints that there is news.
func (p *purse) watch(ctx context.Context, t *Torrent, id payment.CommitmentID) error {
	p.mu.Lock()
	_, busy := p.watching[id]
	p.watching[id] = busy
	p.mu.Unlock()
	if busy {
		return nil
	}
	for {
		err := p.look(ctx, t, id)
		p.mu.Lock()
		again := p.watching[id]
		if again && err == nil {
			p.watching[id] = false
		} else {
			delete(p.watching, id)
		}
		p.mu.Unlock()
		if err != nil || !again {
			return err
		}
	}
}

func (p *purse) look(ctx context.Context, t *Torrent, id payment.CommitmentID) error {
	c, err := p.member.commitment(ctx, id)
	if err != nil || c == nil {
		return err // its event will come when it is registered
	}
	e := payment.LedgerEvent{Kind: payment.EventCap, Commitment: id, Cap: c.Cap}
	if c.Settled || c.Released {
		e.Kind = payment.EventReleased
	}
	t.tell(func(now time.Time) { t.ledger(now, e) })
	return nil
}

// commitment is what the ledger knows of one; nil: nothing.
func (m *Membership) commitment(ctx context.Context, id payment.CommitmentID) (*contract.CommitmentInfo, error) {
	a, err := m.ask(ctx, contract.Query{Kind: contract.QueryCommitment, Commitment: id})
	if err != nil || len(a.Commitments) == 0 {
		return nil, err
	}
	return &a.Commitments[0], nil
}
