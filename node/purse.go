package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"torrente/payment"
	"torrente/payment/contract"
	"torrente/payment/ledger"
	"torrente/payment/wallet"
	"torrente/peerwire"
	"torrente/swarm"
)

// purse does for all torrents of a node what payment needs outside of a Swarm:
// it keeps the Books, and calls the ledger. One account, one ledger, one purse.
type purse struct {
	node    *Node
	member  *Membership
	account payment.Account
	ledger  ledger.Ledger

	mu sync.Mutex // guards the following
	// books are about one account each, and shared by all torrents.
	books  map[payment.Account]*payment.Book
	price  payment.Amount
	epoch  uint64
	deals  map[payment.CommitmentID]*dealt
	frozen map[payment.TorrentID]*frozen
	alias  peerwire.Alias
}

// dealt is a commitment of ours, and how far its cap was raised.
type dealt struct {
	torrent *Torrent
	links   uint32
	cap     uint32
	k       uint8
}

// frozen is the intention of a torrent: coins frozen for it.
type frozen struct {
	mu        sync.Mutex // held while it is declared, or raised
	intention payment.IntentionID
	units     uint64 // that the coins suffice for, margin included
	capped    uint64 // that caps have been promised for
	slots     map[payment.Account]uint32
}

const (
	// margin is how much is frozen of what is wanted, in percent: caps of
	// several sellers overlap.
	margin = 125
	// firstCap is how many units a stranger's cap is, at most; all strangers
	// together get a twentieth of what is frozen.
	firstCap      = 64
	strangerShare = 20
	// dealLife is how long a commitment can be redeemed.
	dealLife = 24 * time.Hour
	// ledgerTime is how long a call on the ledger may take.
	ledgerTime = 30 * time.Second
)

func newPurse(n *Node, m *Membership) *purse {
	p := m.Identity.Principal()
	return &purse{
		node: n, member: m, account: payment.AccountOf(p.MSP, p.SPKI), ledger: m.Ledger,
		books: map[payment.Account]*payment.Book{}, deals: map[payment.CommitmentID]*dealt{},
		frozen: map[payment.TorrentID]*frozen{},
	}
}

// run learns the price and then what happens on the ledger, until the node
// ends.
func (p *purse) run(ctx context.Context) {
	for ctx.Err() == nil {
		if err := p.follow(ctx); err != nil && ctx.Err() == nil {
			p.node.cfg.Log.Warn("ledger", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

func (p *purse) follow(ctx context.Context) error {
	a, err := p.ledger.Query(ctx, contract.Query{Kind: contract.QueryLedger})
	if err != nil {
		return err
	}
	p.learnPrice(a.Ledger.Price, a.Ledger.Epoch)
	if err := p.resend(ctx); err != nil {
		return err
	}
	for block, err := range p.ledger.Events(ctx, p.member.Height) {
		if err != nil {
			return err
		}
		p.member.Height = block.Height + 1
		for _, e := range block.Events {
			if err := p.learn(ctx, e); err != nil {
				return err
			}
		}
	}
	return nil
}

// learn takes one event: of the federation, or of our own coins.
func (p *purse) learn(ctx context.Context, e payment.LedgerEvent) error {
	switch e.Kind {
	case payment.EventPrice:
		p.learnPrice(e.Price, e.Epoch)
	case payment.EventRevoked, payment.EventReinstated, payment.EventRoots:
		if p.member.Refresh != nil {
			return p.member.Refresh(ctx)
		}
	default:
		if e.Receiver == p.account || e.Account == p.account {
			p.tellAll(e)
		}
	}
	return nil
}

func (p *purse) learnPrice(price payment.Amount, epoch uint64) {
	p.mu.Lock()
	p.price, p.epoch = price, epoch
	for _, b := range p.books {
		b.SetPrice(price)
	}
	p.mu.Unlock()
	p.tellAll(p.priceEvent())
}

func (p *purse) priceEvent() payment.LedgerEvent {
	p.mu.Lock()
	defer p.mu.Unlock()
	return payment.LedgerEvent{Kind: payment.EventPrice, Price: p.price, Epoch: p.epoch}
}

// tellAll tells every torrent of an event; each knows what concerns it.
func (p *purse) tellAll(e payment.LedgerEvent) {
	for _, t := range p.node.all() {
		t.tell(func(now time.Time) { t.swarm.Ledger(now, e) })
	}
}

// book is the Book about an account. mu is held.
func (p *purse) book(them payment.Account) *payment.Book {
	b := p.books[them]
	if b == nil {
		b = payment.NewBook(payment.BookConfig{Me: p.account, Them: them, Price: p.price, Floor: p.member.Floor})
		p.books[them] = b
	}
	return b
}

// lend asks a Book for units.
func (p *purse) lend(t payment.TorrentID, l swarm.Loan) uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.book(l.Account).Lease(t, l.Units)
}

func (p *purse) giveBack(t payment.TorrentID, l swarm.Loan) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.book(l.Account).Return(t, l.Units)
}

func (p *purse) count(now time.Time, c swarm.Count) payment.Counted {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.book(c.Commitment.Payer).Count(now, c.Commitment, c.Index, c.Cap)
}

// submit signs a call, keeps it in the wallet with what it reserves, and sends
// it until its outcome is known; the same bytes each time, so that it has the
// effect of one, also after a crash.
func (p *purse) submit(ctx context.Context, reserve wallet.Reservation, args contract.Arguments) (ledger.Receipt, error) {
	tx := &contract.Transaction{
		Ledger: p.ledger.ID(), Time: uint64(p.node.cfg.Now().Unix()), Request: reserve.Request, Args: args,
	}
	signed, err := contract.Sign(p.member.Identity.Key(), p.member.Identity.Chain(), tx)
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
	return r, errors.Join(r.Err(), p.member.Wallet.DoneSubmission(request))
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

// Register makes a torrent known to the ledger, so that it can be sold.
func (n *Node) Register(ctx context.Context, info []byte) error {
	return n.purse.ask(ctx, &contract.RegisterTorrent{Info: info})
}

// Quote is what all of a torrent costs, and what of it is frozen at most.
type Quote struct {
	Units         uint64
	Price         payment.Amount // of a unit
	Cost, Highest payment.Amount
}

// errTooDear says that a torrent costs more coins than there are.
var errTooDear = errors.New("the torrent costs more than 64 bits can count")

// Quote asks the ledger for the price.
func (n *Node) Quote(ctx context.Context, units uint64) (q Quote, err error) {
	a, err := n.purse.ledger.Query(ctx, contract.Query{Kind: contract.QueryLedger})
	if err != nil {
		return q, err
	}
	q.Units, q.Price = units, a.Ledger.Price
	cost, ok := q.Price.Mul(units)
	highest, ok2 := cost.Mul(margin)
	if !ok || !ok2 {
		return q, errTooDear
	}
	q.Cost, q.Highest = cost, (highest+99)/100
	return q, nil
}

// buy opens a commitment to a seller, freezing the coins first if this is the
// torrent's first.
func (p *purse) buy(ctx context.Context, t *Torrent, b swarm.Purchase) (*swarm.Deal, error) {
	torrent := payment.TorrentID(t.Info().ID())
	f := p.intentionOf(torrent)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.units == 0 {
		if err := p.declare(ctx, t, torrent, f, b.Units); err != nil {
			return nil, err
		}
	}
	return p.open(ctx, t, torrent, f, b)
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

// declare freezes coins for what is missing, within what the user allowed.
func (p *purse) declare(ctx context.Context, t *Torrent, torrent payment.TorrentID, f *frozen, units uint64) error {
	q, err := p.node.Quote(ctx, units)
	if err != nil {
		return err
	}
	if q.Highest > t.opt.PayUpTo {
		return fmt.Errorf("%s costs up to %s coins, and %s are allowed", t.Name(), q.Highest, t.opt.PayUpTo)
	}
	if err := p.sweep(ctx); err != nil {
		return err
	}
	request := newRequest()
	id := payment.IntentionOf(p.ledger.ID(), p.account, torrent, request)
	reserve := wallet.Reservation{Request: request, Intention: &wallet.Intention{
		ID: id, Torrent: torrent, Request: request, Units: units, Coins: q.Highest,
	}}
	if _, err := p.submit(ctx, reserve, &contract.Declare{Torrent: torrent, Units: units, Margin: margin}); err != nil {
		return err
	}
	f.intention, f.units = id, units*margin/100
	return nil
}

// sweep adds what was earned and given to the balance, from which coins are
// frozen.
func (p *purse) sweep(ctx context.Context) error {
	for {
		a, err := p.ledger.Query(ctx, contract.Query{Kind: contract.QueryCredits, Account: p.account})
		if err != nil || len(a.Credits) == 0 {
			return err
		}
		var s contract.Sweep
		for _, c := range a.Credits {
			s.Credits = append(s.Credits, c.Tx)
		}
		if err := p.ask(ctx, &s); err != nil {
			return err
		}
	}
}

// open makes a chain and registers its commitment with a first, small cap.
func (p *purse) open(ctx context.Context, t *Torrent, torrent payment.TorrentID, f *frozen, b swarm.Purchase) (*swarm.Deal, error) {
	links := uint32(min(max(b.Units, 1), payment.MaxLinks))
	first := uint32(max(1, min(firstCap, uint64(links), f.units/strangerShare)))
	if f.capped+uint64(first) > f.units {
		return nil, errors.New("all coins frozen for this torrent are promised to others")
	}
	var id payment.ChainID
	rand.Read(id[:])
	seed, err := p.member.Wallet.Seed(id)
	if err != nil {
		return nil, err
	}
	chain, err := payment.NewChain(seed, id, links)
	if err != nil {
		return nil, err
	}
	price := p.priceEvent()
	commit := payment.Commitment{
		Ledger: p.ledger.ID(), Intention: f.intention, Torrent: torrent, Payer: p.account, Receiver: b.Account,
		Root: chain.Root(), Chain: id, Slot: f.slots[b.Account], Links: links, Price: price.Price, Epoch: price.Epoch,
		Expiry: uint64(p.node.cfg.Now().Add(dealLife).Unix()),
	}
	sig, err := commit.Sign(p.member.Identity.Key())
	if err != nil {
		return nil, err
	}
	request := newRequest()
	reserve := wallet.Reservation{Request: request, Openings: []wallet.Opening{{
		Commitment: commit, Signature: sig, Request: request, Cap: first,
	}}}
	if _, err := p.submit(ctx, reserve, &contract.OpenMany{Opens: []contract.Open{{Commitment: commit, Cap: first}}}); err != nil {
		return nil, err
	}
	f.slots[b.Account]++
	f.capped += uint64(first)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.alias++
	p.deals[commit.ID()] = &dealt{torrent: t, links: links, cap: first}
	return &swarm.Deal{
		Commit: peerwire.PayCommit{Alias: p.alias, Commitment: commit, Signature: sig}, Links: chain, Cap: first,
	}, nil
}

// raise writes a higher cap, as far as the frozen coins go.
func (p *purse) raise(ctx context.Context, r swarm.Raise) error {
	p.mu.Lock()
	d := p.deals[r.Commitment]
	p.mu.Unlock()
	if d == nil {
		return errors.New("a commitment that is not ours")
	}
	f := p.intentionOf(payment.TorrentID(d.torrent.Info().ID()))
	f.mu.Lock()
	defer f.mu.Unlock()
	cap := uint32(min(uint64(r.Cap), uint64(d.links), uint64(d.cap)+f.units-f.capped))
	if cap <= d.cap {
		return errors.New("all coins frozen for this torrent are promised")
	}
	up := contract.TopUp{Commitment: r.Commitment, K: d.k + 1, Cap: cap}
	reserve := wallet.Reservation{Request: newRequest(), Caps: map[payment.CommitmentID]uint32{r.Commitment: cap}}
	if _, err := p.submit(ctx, reserve, &contract.TopUpMany{TopUps: []contract.TopUp{up}}); err != nil {
		return err
	}
	f.capped += uint64(cap - d.cap)
	d.cap, d.k = cap, up.K
	e := payment.LedgerEvent{Kind: payment.EventCap, Account: p.account, Commitment: r.Commitment, Cap: cap}
	d.torrent.tell(func(now time.Time) { d.torrent.swarm.Ledger(now, e) })
	return nil
}

// watch asks what the ledger knows of a commitment to us.
func (p *purse) watch(ctx context.Context, t *Torrent, id payment.CommitmentID) error {
	a, err := p.ledger.Query(ctx, contract.Query{Kind: contract.QueryCommitment, Commitment: id})
	if err != nil || len(a.Commitments) == 0 {
		return err // its event will come when it is registered
	}
	c := a.Commitments[0]
	e := payment.LedgerEvent{Kind: payment.EventCap, Commitment: id, Cap: c.Cap}
	if c.Settled || c.Released {
		e.Kind = payment.EventReleased
	}
	t.tell(func(now time.Time) { t.swarm.Ledger(now, e) })
	return nil
}
