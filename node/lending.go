package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"sync"
	"time"

	"torrente/payment"
	"torrente/payment/wallet"
	"torrente/swarm"
)

// lending holds the Books of all accounts. Whatever is given twice if it is
// forgotten is on disk before a Swarm hears of it (P1, P10).
type lending struct {
	// saving is held while books are written, so that none replaces a newer one.
	// It is taken before books.
	saving  sync.Mutex
	grown   chan struct{} // holds a token when windows have grown
	books   sync.Mutex    // guards the following
	byOwner map[payment.Account]*payment.Book
	// holders are the connections that the Books lend to: one for each account
	// and torrent.
	holders map[holding]swarm.PeerID
	// changed are the books of which the disk lacks something.
	changed map[payment.Account]bool
	// paying are the accounts whose windows may have grown.
	paying map[payment.Account]bool
	priced payment.Amount
	unread error // why the books of the last run could not be read: none is lent on
}

type holding struct {
	torrent payment.TorrentID
	account payment.Account
}

func newLending() lending {
	return lending{
		byOwner: map[payment.Account]*payment.Book{}, holders: map[holding]swarm.PeerID{},
		changed: map[payment.Account]bool{}, paying: map[payment.Account]bool{}, grown: make(chan struct{}, 1),
	}
}

// loadBooks reads the books of the last run, and counts in them the links that
// came since they were written.
func (p *purse) loadBooks(now time.Time) error {
	saved, err := p.member.Wallet.Books()
	if err != nil {
		return err
	}
	p.books.Lock()
	defer p.books.Unlock()
	for account, data := range saved {
		b, err := payment.ParseBook(now, p.bookConfig(account), data)
		if err != nil {
			return err
		}
		p.byOwner[account] = b
		if b.Unsafe() { // what was lent is in doubt from now on, and not from the next start
			p.changed[account] = true
		}
	}
	for _, c := range p.member.Wallet.Claims() {
		if !c.Ended && c.Best.Index > 0 {
			p.book(c.Commitment.Payer).Recount(now, &c.Commitment, c.Best.Index, c.Best.Index)
		}
	}
	return nil
}

func (p *purse) bookConfig(them payment.Account) payment.BookConfig {
	return payment.BookConfig{Me: p.account, Them: them, Price: p.priced, Floor: p.member.Floor}
}

// book is the Book about an account. The lock is held.
func (p *purse) book(them payment.Account) *payment.Book {
	b := p.byOwner[them]
	if b == nil {
		b = payment.NewBook(p.bookConfig(them))
		p.byOwner[them] = b
	}
	p.changed[them] = true
	return b
}

func (p *purse) setPrice(price payment.Amount) {
	p.books.Lock()
	defer p.books.Unlock()
	p.priced = price
	for _, b := range p.byOwner {
		b.SetPrice(price)
	}
}

func (p *purse) meet(now time.Time, t payment.TorrentID, l swarm.Loan) (m swarm.Meeting) {
	p.books.Lock()
	defer p.books.Unlock()
	p.holders[holding{t, l.Account}] = l.Peer
	b := p.book(l.Account)
	m.Left, m.Owed = b.Join(t), b.Owed()
	if b.Defaulted() {
		m.Left.Unpaid, m.Left.Units = 0, nil // what it lost is not made good before it has paid
	}
	again := b.Repeat(now, uint64(len(m.Left.Units)))
	m.Left.Units = m.Left.Units[uint64(len(m.Left.Units))-again:]
	m.Lease = b.Lease(t, l.Units)
	m.Window = b.Room(t)
	return m
}

// part takes back what a connection had. If another has its place already, or
// it was taken back before, what was paid since pays debts or is served later.
func (p *purse) part(now time.Time, t payment.TorrentID, l swarm.Parting) {
	p.books.Lock()
	defer p.books.Unlock()
	b := p.book(l.Account)
	if !p.holds(t, l.Peer, l.Account) {
		b.Paid(t, l.Ahead)
		return
	}
	delete(p.holders, holding{t, l.Account})
	b.Leave(now, t, l.Standing)
}

// holds reports whether a connection is the one that its account's Book lends
// to. The lock is held.
func (p *purse) holds(t payment.TorrentID, peer swarm.PeerID, account payment.Account) bool {
	holder, ok := p.holders[holding{t, account}]
	return ok && holder == peer
}

// lend asks a Book for units.
func (p *purse) lend(now time.Time, t payment.TorrentID, l swarm.Loan) swarm.Loan {
	p.books.Lock()
	defer p.books.Unlock()
	switch b := p.book(l.Account); {
	case !p.holds(t, l.Peer, l.Account):
		l.Units = 0
	case !l.Again:
		l.Units = b.Lease(t, l.Units)
	case !b.Resend(now):
		l.Units = 0
	}
	return l
}

func (p *purse) giveBack(t payment.TorrentID, l swarm.Loan) {
	p.books.Lock()
	defer p.books.Unlock()
	if p.holds(t, l.Peer, l.Account) {
		p.book(l.Account).Return(t, l.Units)
	}
}

func (p *purse) count(now time.Time, c swarm.Count) payment.Counted {
	p.books.Lock()
	defer p.books.Unlock()
	b := p.book(c.Commitment.Payer)
	window := b.Window()
	got := b.Count(now, c.Commitment, c.Index, c.Cap)
	if b.Window() > window {
		p.paying[c.Commitment.Payer] = true
		select {
		case p.grown <- struct{}{}:
		default:
		}
	}
	return got
}

func (p *purse) hold(now time.Time, t payment.TorrentID, l swarm.Loan) {
	p.books.Lock()
	defer p.books.Unlock()
	if p.holds(t, l.Peer, l.Account) {
		p.book(l.Account).Hold(now, t)
	}
}

// kept looks up a commitment that a buyer names again, and takes its word for
// what was in doubt since we died.
func (p *purse) kept(now time.Time, t payment.TorrentID, r swarm.Resume) *swarm.Kept {
	c, ok := p.member.Wallet.Claim(r.Said.Commitment)
	if !ok || c.Commitment.Payer != r.Account || c.Commitment.Torrent != t || uint64(now.Unix()) >= c.Commitment.Expiry {
		return nil
	}
	p.books.Lock()
	defer p.books.Unlock()
	b := p.book(r.Account)
	b.Settle(t, uint64(r.Said.Owed))
	return &swarm.Kept{Commitment: c.Commitment, Best: c.Best, Ended: c.Ended, Close: c.Close, Owed: b.OwedIn(t)}
}

// keepUnsafe writes down the books of which a crash would forget what must not
// be forgotten.
func (p *purse) keepUnsafe() error {
	if none, err := p.areSafe(); none || err != nil {
		return err
	}
	p.saving.Lock()
	defer p.saving.Unlock()
	p.books.Lock()
	defer p.books.Unlock()
	return p.keep(func(b *payment.Book) bool { return b.Unsafe() })
}

// areSafe reports whether no book needs to be written at once.
func (p *purse) areSafe() (bool, error) {
	p.books.Lock()
	defer p.books.Unlock()
	for account := range p.changed {
		if p.byOwner[account].Unsafe() {
			return false, p.unread
		}
	}
	return true, p.unread
}

// extendBooks writes down, beside the loops, what windows that have grown allow to
// be lent, so that no loop has to wait when it is.
func (p *purse) extendBooks() {
	p.saving.Lock()
	defer p.saving.Unlock()
	rows := p.extensions()
	if len(rows) == 0 {
		return
	}
	err := p.member.Wallet.SaveBooks(rows)
	if err != nil {
		p.node.cfg.Log.Error("the books cannot be kept", "err", err)
	}
	p.books.Lock()
	defer p.books.Unlock()
	for account := range rows {
		p.byOwner[account].Kept(err == nil)
	}
}

// extensions are the new records of books whose windows have grown.
func (p *purse) extensions() map[payment.Account][]byte {
	p.books.Lock()
	defer p.books.Unlock()
	rows := map[payment.Account][]byte{}
	for account := range p.paying {
		if b := p.byOwner[account]; p.unread == nil && b.Extend() {
			rows[account] = b.Append(nil)
		}
	}
	clear(p.paying)
	return rows
}

// keep writes down the books that have changed, of those that are chosen. Both
// locks are held.
func (p *purse) keep(choose func(*payment.Book) bool) error {
	rows := map[payment.Account][]byte{}
	for account := range p.changed {
		if b := p.byOwner[account]; choose(b) {
			b.Mark()
			rows[account] = b.Append(nil)
		}
	}
	if len(rows) == 0 {
		return nil
	}
	if err := p.member.Wallet.SaveBooks(rows); err != nil {
		for account := range rows {
			p.byOwner[account].Unmark()
		}
		return err
	}
	maps.DeleteFunc(p.changed, func(a payment.Account, _ bool) bool { return rows[a] != nil })
	return nil
}

// keepBooks lets time pass in the books and in what they wait for, and keeps
// them, until the node ends.
func (p *purse) keepBooks(ctx context.Context) {
	tick := time.NewTicker(keepBooksEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.grown:
			p.extendBooks()
		case <-tick.C:
			p.advanceBooks(p.node.cfg.Now())
			p.unregistered.lapse(p.node.cfg.Now())
			p.keepAll()
		}
	}
}

func (p *purse) advanceBooks(now time.Time) {
	p.books.Lock()
	defer p.books.Unlock()
	for account, b := range p.byOwner {
		if due := b.Deadline(); !due.IsZero() && !now.Before(due) {
			b.Advance(now)
			p.changed[account] = true
		}
	}
}

func (p *purse) keepAll() {
	if err := p.saveBooks(); err != nil {
		p.node.cfg.Log.Error("the books cannot be kept", "err", err)
	}
}

// saveBooks writes down all books that have changed.
func (p *purse) saveBooks() error {
	p.saving.Lock()
	defer p.saving.Unlock()
	p.books.Lock()
	defer p.books.Unlock()
	if p.unread != nil {
		return nil
	}
	return p.keep(func(*payment.Book) bool { return true })
}

// ended takes the end of a commitment to us on the ledger, which has expired.
func (p *purse) ended(e payment.LedgerEvent) error {
	return p.end(e.Commitment, e.Index, math.MaxUint32)
}

// end keeps that a commitment to us has ended, with so many units redeemed, and
// says in the history, once, what of its links was lost: of those that were
// worth something. An index that the chain does not have is an error that trying
// again does not mend.
func (p *purse) end(id payment.CommitmentID, redeemed, worth uint32) error {
	p.ending.Lock()
	defer p.ending.Unlock()
	c, ok := p.member.Wallet.Claim(id)
	if !ok {
		return nil
	}
	if !c.Ended {
		switch err := p.member.Wallet.Ended(id, redeemed); {
		case errors.Is(err, wallet.ErrRange):
			p.node.cfg.Log.Error("the ledger ends a commitment beyond its chain", "err", err)
			return nil
		case err != nil:
			return fmt.Errorf("keep the end of a commitment: %w", err)
		}
		c.Best.Index = min(c.Best.Index, worth)
		p.member.noteExpired(p.node.cfg.Now(), &c, redeemed)
	}
	p.books.Lock()
	defer p.books.Unlock()
	p.book(c.Commitment.Payer).Forget(id)
	return nil
}
