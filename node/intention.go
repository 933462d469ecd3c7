package node

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"torrente/payment"
	"torrente/payment/contract"
	"torrente/payment/wallet"
	"torrente/swarm"
)

// intentionLife is how old an intention may be for the ledger to open on it,
// less an hour.
const intentionLife = 7*24*time.Hour - time.Hour

// errPromised says that more coins would have to be frozen than are allowed.
var errPromised = errors.New("all coins frozen for this torrent are promised to sellers: allow more with --pay-up-to")

// frozen is the intention of a torrent: coins frozen for it. It outlives the
// process: the next run goes on with it.
type frozen struct {
	mu        sync.Mutex // held while it is declared, opened on, or raised
	known     bool       // it was looked up, and is there
	intention payment.IntentionID
	request   payment.RequestID
	price     payment.Amount
	epoch     uint64
	units     uint64         // that the coins suffice for, margin included
	free      uint64         // of those, promised to nobody
	wanted    uint64         // units
	coins     payment.Amount // frozen in sum
	slots     map[payment.Account]uint32
	// chain, of so many links, was begun for the first purchase.
	chain   <-chan made
	links   uint32
	credits <-chan credits // that were asked for then
	// rose is why nothing more is declared in this run: the user agreed to a
	// lower price.
	rose error
}

// priceRose says that a price went up between what the user was told and what
// would have been frozen.
type priceRose struct{ from, to payment.Amount }

func (e *priceRose) Error() string {
	return fmt.Sprintf("the price rose from %s to %s coins a unit meanwhile: run the command again to see the new cost", e.from, e.to)
}

func (p *purse) intentionOf(t payment.TorrentID) *frozen {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.frozen[t]
	if f == nil {
		f = &frozen{slots: map[payment.Account]uint32{}}
		p.frozen[t] = f
	}
	return f
}

// adoptIntention goes on with the intention of an earlier run. What cannot be
// opened on any more is closed, and its coins return.
func (p *purse) adoptIntention(ctx context.Context, torrent payment.TorrentID, f *frozen) error {
	for _, i := range p.member.Wallet.Intentions() {
		if i.Torrent != torrent {
			continue
		}
		if err := p.resend(ctx); err != nil { // its Declare may be unanswered
			return err
		}
		if err := p.unanswered(i.Request); err != nil {
			return err
		}
		a, err := p.ledger.Query(ctx, contract.Query{Kind: contract.QueryIntention, Intention: i.ID})
		if err != nil {
			return err
		}
		if len(a.Intentions) == 1 && !a.Intentions[0].Closed {
			info := &a.Intentions[0]
			if !p.stale(info, p.priceEvent().Epoch) {
				f.adopt(&i, info, p.member.Wallet.Openings())
				return nil
			}
			if err := p.ask(ctx, &contract.Close{Intention: i.ID}); err != nil {
				return err
			}
		}
		if err := p.member.Wallet.IntentionClosed(i.ID); err != nil {
			return err
		}
	}
	return nil
}

// errUnanswered says that a transaction may be done yet: nothing that it reserved
// is given up, nor done again.
var errUnanswered = errors.New("the ledger has not said whether it froze coins for this torrent: it is asked again")

func (p *purse) unanswered(request payment.RequestID) error {
	pending, err := p.member.Wallet.PendingSubmissions()
	if err == nil && slices.ContainsFunc(pending, func(s wallet.Submission) bool { return s.Request == request }) {
		err = errUnanswered
	}
	return err
}

// stale reports whether the ledger, in an epoch, would refuse to open on an
// intention.
func (p *purse) stale(i *contract.IntentionInfo, epoch uint64) bool {
	old := uint64(p.node.cfg.Now().Add(-intentionLife).Unix()) > i.Declared
	return old || i.Epoch != epoch && i.Epoch+1 != epoch
}

func (f *frozen) adopt(i *wallet.Intention, info *contract.IntentionInfo, openings []wallet.Opening) {
	f.known, f.intention, f.request, f.wanted, f.coins = true, i.ID, i.Request, i.Units, i.Coins
	f.learn(info)
	for _, o := range openings {
		if c := &o.Commitment; c.Intention == i.ID {
			f.slots[c.Receiver] = max(f.slots[c.Receiver], c.Slot+1)
		}
	}
}

// learn takes what the ledger knows: how many units the coins suffice for.
func (f *frozen) learn(info *contract.IntentionInfo) {
	f.price, f.epoch = info.Price, info.Epoch
	if info.Price == 0 {
		f.units, f.free = math.MaxUint32, math.MaxUint32
		return
	}
	f.units, f.free = uint64(info.Funds/info.Price), uint64(info.Free/info.Price)
}

// declare freezes coins for what is missing, within what the user allowed and at
// no higher price than the user agreed to, and opens a first commitment in the
// same call. Without an error, and without a deal, the coins are frozen and the
// commitment was refused. f is locked.
func (p *purse) declare(ctx context.Context, t *Torrent, torrent payment.TorrentID, f *frozen, b swarm.Purchase) (*swarm.Deal, error) {
	if f.rose != nil {
		return nil, f.rose
	}
	if err := p.plan(ctx, t, torrent, f, b.Units); err != nil {
		return nil, err
	}
	chain, early := p.chainFor(f, b), f.credits != nil // a chain may take its time
	earned := p.creditsFor(ctx, f)
	if earned.err != nil {
		return nil, earned.err
	}
	o, err := p.opening(t, torrent, f, b, chain)
	if err != nil {
		return nil, err
	}
	o.Request = f.request
	reserve := wallet.Reservation{Request: f.request, Intention: f.row(torrent), Openings: []wallet.Opening{o.Opening}}
	receipt, err := p.submit(ctx, reserve, &contract.Declare{
		Torrent: torrent, Units: b.Units, Margin: margin, MaxPrice: t.opt.Consent.Price, Opens: o.opens(), Credits: earned.some,
	})
	if _, refused := errors.AsType[contract.Code](err); err != nil && !refused {
		return nil, err // what became of it is found out at the next try
	}
	if receipt.Code != contract.OK {
		err = p.unopened(err, o.Commitment.ID())
		if early && errors.Is(err, contract.NoCoins) { // some may have come since
			if err := p.member.Wallet.IntentionClosed(f.intention); err != nil {
				return nil, err
			}
			return p.declare(ctx, t, torrent, f, b)
		}
		return nil, p.undeclared(p.dearer(ctx, f, b.Units, t.opt.Consent.Price, err), f.intention)
	}
	p.member.noteFrozen(p.node.cfg.Now(), wallet.EventDeclared, torrent, b.Units, receipt.Coins)
	f.coins = receipt.Coins
	if err != nil { // the price fell, perhaps
		return nil, errors.Join(p.member.Wallet.Ended(o.Commitment.ID(), 0), p.refresh(ctx, f))
	}
	f.known = true
	return p.opened(t, f, o), nil
}

// plan works out what is frozen for so many units, at the price that the ledger
// told last.
func (p *purse) plan(ctx context.Context, t *Torrent, torrent payment.TorrentID, f *frozen, units uint64) error {
	price, epoch, err := p.priceNow(ctx)
	if err != nil {
		return err
	}
	agreed := t.opt.Consent
	if price > agreed.Price { // as far as we know: it may have fallen since
		q, err := p.node.Quote(ctx, units)
		if err != nil {
			return err
		}
		if price = q.Price; price > agreed.Price {
			f.rose = &priceRose{agreed.Price, price}
			return f.rose
		}
	}
	q, err := quote(units, price)
	if err != nil {
		return err
	}
	if q.Highest > agreed.Coins {
		return fmt.Errorf("%s costs up to %s coins, and %s are allowed", t.Name(), q.Highest, agreed.Coins)
	}
	f.request = newRequest()
	f.intention = payment.IntentionOf(p.ledger.ID(), p.account, torrent, f.request)
	f.wanted, f.coins = units, q.Highest
	f.learn(&contract.IntentionInfo{Price: price, Epoch: epoch, Funds: q.Highest, Free: q.Highest})
	return nil
}

// priceNow is the price of a unit, and its epoch.
func (p *purse) priceNow(ctx context.Context) (payment.Amount, uint64, error) {
	if e := p.priceEvent(); e.Epoch != 0 {
		return e.Price, e.Epoch, nil
	}
	l, err := p.askLedger(ctx)
	if err != nil {
		return 0, 0, err
	}
	return l.Price, l.Epoch, p.wrongClock()
}

// Unwrap returns the ledger's refusal.
func (e *priceRose) Unwrap() error { return contract.PriceRose }

// dearer tells from which price to which it rose, if a Declare was refused for
// that. f is locked.
func (p *purse) dearer(ctx context.Context, f *frozen, units uint64, agreed payment.Amount, err error) error {
	if !errors.Is(err, contract.PriceRose) {
		return err
	}
	now, err2 := p.node.Quote(ctx, units)
	if err2 != nil {
		return errors.Join(err, err2)
	}
	f.rose = &priceRose{agreed, now.Price}
	return f.rose
}

// undeclared forgets an intention that the ledger refused. One whose fate is
// unknown is kept: it is asked for again.
func (p *purse) undeclared(err error, id payment.IntentionID) error {
	if _, refused := errors.AsType[contract.Code](err); refused {
		return errors.Join(err, p.member.Wallet.IntentionClosed(id))
	}
	return err
}

func (f *frozen) row(torrent payment.TorrentID) *wallet.Intention {
	return &wallet.Intention{ID: f.intention, Torrent: torrent, Request: f.request, Units: f.wanted, Coins: f.coins}
}

// refresh asks the ledger how much of an intention is free.
func (p *purse) refresh(ctx context.Context, f *frozen) error {
	a, err := p.ledger.Query(ctx, contract.Query{Kind: contract.QueryIntention, Intention: f.intention})
	if err != nil {
		return err
	}
	if len(a.Intentions) != 1 || a.Intentions[0].Closed {
		f.known = false
		return errors.New("the coins frozen for this torrent were given back: they are frozen anew at the next try")
	}
	f.known = true
	f.learn(&a.Intentions[0])
	return nil
}

// addFunds freezes more coins once all are promised, within what the user
// allowed. f is locked.
func (p *purse) addFunds(ctx context.Context, t *Torrent, torrent payment.TorrentID, f *frozen, units uint64) error {
	allowed := t.opt.Consent.Coins - min(t.opt.Consent.Coins, f.coins)
	if f.price > 0 {
		units = min(units, uint64(allowed/f.price))
	}
	if units == 0 {
		return errPromised
	}
	if err := p.sweep(ctx); err != nil {
		return err
	}
	cost, ok := f.price.Mul(units)
	sum, ok2 := f.coins.Add(cost)
	if !ok || !ok2 {
		return errTooDear
	}
	more := *f.row(torrent)
	more.Coins = sum
	reserve := wallet.Reservation{Request: newRequest(), Intention: &more}
	if _, err := p.submit(ctx, reserve, &contract.AddFunds{Intention: f.intention, Units: units, Margin: 100}); err != nil {
		return err
	}
	f.coins = sum
	p.member.noteFrozen(p.node.cfg.Now(), wallet.EventAdded, torrent, units, cost)
	return p.refresh(ctx, f)
}

// credits are what was earned and given, and is not on the balance yet.
type credits struct {
	some []contract.TxID
	more bool // there are others
	err  error
}

// credits asks the ledger.
func (p *purse) credits(ctx context.Context) (found credits) {
	a, err := p.ledger.Query(ctx, contract.Query{Kind: contract.QueryCredits, Account: p.account})
	for _, c := range a.Credits {
		found.some = append(found.some, c.Tx)
	}
	found.more, found.err = a.Next != "", err
	return found
}

// creditsFor finds the credits that a first purchase carries, unless that was done for
// it. It sweeps what is more than one call takes. f is locked.
func (p *purse) creditsFor(ctx context.Context, f *frozen) credits {
	begun := f.credits
	f.credits = nil
	if begun != nil {
		if found := <-begun; found.err == nil && !found.more {
			return found
		}
	}
	for {
		found := p.credits(ctx)
		if found.err != nil || !found.more || len(found.some) == 0 {
			return found
		}
		if err := p.ask(ctx, &contract.Sweep{Credits: found.some}); err != nil {
			return credits{err: err}
		}
	}
}

// sweep adds what was earned and given to the balance, from which coins are
// frozen.
func (p *purse) sweep(ctx context.Context) error {
	for {
		found := p.credits(ctx)
		if found.err != nil || len(found.some) == 0 {
			return found.err
		}
		if err := p.ask(ctx, &contract.Sweep{Credits: found.some}); err != nil {
			return err
		}
	}
}
