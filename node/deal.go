package node

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"torrente/payment"
	"torrente/payment/contract"
	"torrente/payment/wallet"
	"torrente/peerwire"
	"torrente/piece"
	"torrente/swarm"
)

const (
	// firstCap is how many units the first cap of a stranger is, at most; all who
	// never delivered anything together get a twentieth of what is frozen. If none of
	// them has any, the first gets half of that, if it is more: so that it need not
	// wait for a slow ledger to raise it, nor can keep others from the rest.
	firstCap      = 64
	strangerShare = 20
	// dealLife is how long a commitment can be redeemed. One that has less
	// than dealRest left is not gone on with.
	dealLife = 24 * time.Hour
	dealRest = time.Hour
	// lostShare is how often a seller must have delivered what it was paid for and
	// we have no record of. Such a unit may have been lost by either side.
	lostShare = 8
)

// errCapsPromised says that strangers have caps for all that they may get.
var errCapsPromised = errors.New("enough coins are promised to sellers that have delivered nothing so far: this one has to wait")

// dealt is a commitment of ours, and how far its cap was raised.
type dealt struct {
	torrent *Torrent
	links   uint32
	cap     uint32
	k       uint8
}

// buy goes on with a commitment to a seller, or opens one, freezing the coins
// first if this is the torrent's first. Nil without an error: nothing is owed
// and nothing wanted.
func (p *purse) buy(ctx context.Context, t *Torrent, b swarm.Purchase) (*swarm.Deal, error) {
	torrent := payment.TorrentID(t.Info().ID())
	f := p.intentionOf(torrent)
	f.mu.Lock()
	defer f.mu.Unlock()
	if b.Units > 0 && isClosed(t.complete) {
		return nil, nil // while it waited for another call
	}
	if d, err := p.goOn(ctx, t, torrent, b); d != nil || err != nil || b.Units == 0 {
		return d, err
	}
	if err := p.wrongClock(); err != nil {
		return nil, err
	}
	if err := p.member.CheckRecords(ctx); err != nil {
		return nil, err
	}
	if !f.known {
		if d, err := p.begin(ctx, t, torrent, f, b); d != nil || err != nil {
			return d, err
		}
	}
	return p.open(ctx, t, torrent, f, b)
}

// begin sees to it that there is an intention for a torrent: that of an earlier
// run, or a new one. It may go on with a commitment, or open one, with that. f
// is locked.
func (p *purse) begin(ctx context.Context, t *Torrent, torrent payment.TorrentID, f *frozen, b swarm.Purchase) (*swarm.Deal, error) {
	if err := p.adoptIntention(ctx, torrent, f); err != nil {
		return nil, err
	}
	if f.known {
		return p.goOn(ctx, t, torrent, b) // what was sent again may have opened one
	}
	return p.declare(ctx, t, torrent, f, b)
}

// goOn finds the commitment of an earlier connection or run.
func (p *purse) goOn(ctx context.Context, t *Torrent, torrent payment.TorrentID, b swarm.Purchase) (*swarm.Deal, error) {
	d, err := p.goOnWith(ctx, t, torrent, b, func(o *wallet.Opening) bool {
		// Else nothing is owed on it, and nothing wanted or no link left.
		return o.Owed > o.Released || b.Units > 0 && o.Released < o.Commitment.Links
	})
	if d != nil || err != nil || b.Units == 0 || b.Refused != (payment.CommitmentID{}) {
		return d, err
	}
	// The first commitment that is shown ends the doubts of a seller that died.
	// Who would show a new one alone would pay for what was never served, or wait
	// for a seller that lends nothing.
	d, err = p.goOnWith(ctx, t, torrent, b, func(o *wallet.Opening) bool { return o.Released > o.Owed })
	if d != nil {
		d.Spent = true
	}
	return d, err
}

func (p *purse) goOnWith(ctx context.Context, t *Torrent, torrent payment.TorrentID, b swarm.Purchase, choose func(*wallet.Opening) bool) (*swarm.Deal, error) {
	soon := uint64(p.node.cfg.Now().Add(dealRest).Unix())
	for _, o := range p.member.Wallet.Openings() {
		c := &o.Commitment
		if c.Torrent != torrent || c.Receiver != b.Account || o.Ended || c.ID() == b.Refused || c.Expiry < soon || !choose(&o) {
			continue
		}
		info, err := p.member.commitment(ctx, c.ID())
		switch {
		case err != nil:
			return nil, err
		case info == nil: // its OpenMany was refused, or is unanswered
			continue
		case info.Settled || info.Released:
			if err := p.member.Wallet.Ended(c.ID(), info.Final); err != nil {
				return nil, err
			}
			continue
		}
		return p.resume(t, &o, info)
	}
	return nil, nil
}

// resume is the deal of a commitment that the ledger knows.
func (p *purse) resume(t *Torrent, o *wallet.Opening, info *contract.CommitmentInfo) (*swarm.Deal, error) {
	chain, err := p.chain(o.Commitment.Chain, o.Commitment.Links)
	if err != nil {
		return nil, err
	}
	d := p.dealt(t, &o.Commitment, o.Signature, chain, info.Cap, info.K)
	d.Resumed, d.Index, d.Owed = true, o.Released, o.Owed
	d.PayAhead = !p.awaits(o.Commitment.Receiver, o.Commitment.ID(), t.proven())
	return d, nil
}

func (p *purse) chain(id payment.ChainID, links uint32) (*payment.Chain, error) {
	seed, err := p.member.Wallet.Seed(id)
	if err != nil {
		return nil, err
	}
	return payment.NewChain(seed, id, links)
}

// dealt notes a deal, and gives it an alias.
func (p *purse) dealt(t *Torrent, c *payment.Commitment, sig payment.Signature, chain *payment.Chain, cap uint32, k uint8) *swarm.Deal {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.alias++
	p.deals[c.ID()] = &dealt{torrent: t, links: c.Links, cap: cap, k: k}
	return &swarm.Deal{
		Commit: peerwire.PayCommit{Alias: p.alias, Commitment: *c, Signature: sig}, Links: chain, Cap: cap,
	}
}

// awaits reports whether an account was paid for units that it has not
// delivered, on other commitments than this one, and has delivered little beside
// them: it is paid nothing more ahead (P2, P10). A unit of another torrent that runs
// beside this one is on its way.
func (p *purse) awaits(account payment.Account, but payment.CommitmentID, ahead uint32) bool {
	var lost, delivered uint64
	for _, o := range p.member.Wallet.Openings() {
		paid := o.Released
		if o.Ended {
			paid = min(paid, o.Final)
		}
		if o.Commitment.Receiver != account {
			continue
		}
		delivered += uint64(o.Owed)
		if o.Commitment.ID() == but || paid <= o.Owed || p.runs(o.Commitment.ID()) {
			continue
		}
		// We pay no more ahead than that: beyond it units came, and a loss of
		// power took their records.
		if paid-o.Owed <= ahead {
			lost += uint64(paid - o.Owed)
		}
	}
	return lost*lostShare > delivered
}

// runs reports whether a commitment is being bought on, in a torrent that is not
// complete.
func (p *purse) runs(id payment.CommitmentID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := p.deals[id]
	return d != nil && !isClosed(d.torrent.complete) && !isClosed(d.torrent.ended)
}

// provenAbove is how many links may be released on a commitment whose seller has
// delivered nothing: one ahead (P2), and where units are judged with their whole
// pieces (v1) those of one piece.
func provenAbove(whole bool, pieceLength int64) uint32 {
	if whole {
		return uint32((pieceLength+piece.BlockSize-1)/piece.BlockSize) + 1
	}
	return 1
}

func (t *Torrent) proven() uint32 {
	info := t.Info()
	return provenAbove(!info.HasV2, info.PieceLength)
}

// first is how high the first cap of a commitment may be. Whoever was paid more
// than proven for this torrent has delivered, also if the records of that are
// lost. Whoever has delivered is promised at once what it has delivered so far, if
// that is more, up to half of what is left to promise: while a cap is raised a
// ledger that is slow would hold up the download. A second commitment of the same
// seller to the same download begins like a stranger's.
func (p *purse) first(f *frozen, account payment.Account, links, proven uint32) (uint32, error) {
	most := min(firstCap, uint64(links))
	var strangers, delivered uint64
	known, again := false, false
	for _, o := range p.member.Wallet.Openings() {
		here := o.Commitment.Intention == f.intention
		if o.Owed > 0 || here && o.Released > proven {
			if o.Commitment.Receiver == account {
				known, delivered, again = true, delivered+uint64(o.Owed), again || here && !o.Ended
			}
			continue
		}
		if here && !o.Ended {
			strangers += uint64(o.Cap)
		}
	}
	if known && !again {
		most = min(uint64(links), max(most, min(delivered, f.free/2)))
	}
	if known {
		return uint32(most), nil
	}
	share := max(1, (f.units+strangerShare-1)/strangerShare)
	switch {
	case strangers >= share:
		return 0, errCapsPromised
	case strangers == 0:
		most = min(uint64(links), max(most, share/2))
	}
	return uint32(min(most, share-strangers)), nil
}

// open registers a commitment with a first, small cap.
func (p *purse) open(ctx context.Context, t *Torrent, torrent payment.TorrentID, f *frozen, b swarm.Purchase) (*swarm.Deal, error) {
	first, err := p.first(f, b.Account, chainLinks(b), t.proven())
	if err != nil {
		return nil, err
	}
	if f.free < uint64(first) {
		if err := p.addFunds(ctx, t, torrent, f, uint64(first)); err != nil {
			return nil, err
		}
	}
	o, err := p.opening(t, torrent, f, b, p.chainFor(f, b))
	if err != nil {
		return nil, err
	}
	o.Request = newRequest()
	reserve := wallet.Reservation{Request: o.Request, Openings: []wallet.Opening{o.Opening}}
	if _, err := p.submit(ctx, reserve, &contract.OpenMany{Opens: o.opens()}); err != nil {
		return nil, errors.Join(p.unopened(err, o.Commitment.ID()), p.refresh(ctx, f))
	}
	return p.opened(t, f, o), nil
}

// chainLinks is how long the chain of a purchase is.
func chainLinks(b swarm.Purchase) uint32 { return uint32(min(max(b.Units, 1), payment.MaxLinks)) }

// prepare begins what a torrent's first purchase, of so many units, needs before
// there is a seller: a chain, and the credits that the coins come from. It takes about
// as long as meeting one.
func (p *purse) prepare(t *Torrent, units uint64) {
	if units == 0 || t.Info().Pay == nil || !t.pays() || !isClosed(t.allowed) || t.opt.Consent.Coins == 0 {
		return
	}
	f := p.intentionOf(payment.TorrentID(t.Info().ID()))
	f.mu.Lock()
	defer f.mu.Unlock()
	f.links = uint32(min(units, payment.MaxLinks))
	f.chain = p.makeChain(f.links)
	found := make(chan credits, 1)
	f.credits = found
	p.node.tasks.Go(func() { found <- p.credits(t.ctx) })
}

// chainFor is the chain that was begun for a purchase, or else a new one. f is
// locked.
func (p *purse) chainFor(f *frozen, b swarm.Purchase) <-chan made {
	links, begun := chainLinks(b), f.chain
	f.chain = nil
	if begun != nil && f.links == links {
		return begun
	}
	return p.makeChain(links)
}

// makeChain makes a new chain while the caller does something else: a million
// links take a tenth of a second.
func (p *purse) makeChain(links uint32) <-chan made {
	done := make(chan made, 1)
	p.node.tasks.Go(func() {
		var m made
		rand.Read(m.id[:])
		m.chain, m.err = p.chain(m.id, links)
		done <- m
	})
	return done
}

// made is a new chain.
type made struct {
	id    payment.ChainID
	chain *payment.Chain
	err   error
}

// opening is a commitment that is about to be registered.
type opening struct {
	wallet.Opening
	chain *payment.Chain
}

func (o *opening) opens() []contract.Open {
	return []contract.Open{{Commitment: o.Commitment, Cap: o.Cap}}
}

// opening signs a commitment over a chain, with a first cap that the coins
// suffice for. f is locked.
func (p *purse) opening(t *Torrent, torrent payment.TorrentID, f *frozen, b swarm.Purchase, chain <-chan made) (*opening, error) {
	first, err := p.first(f, b.Account, chainLinks(b), t.proven())
	if err != nil {
		return nil, err
	}
	m := <-chain
	if m.err != nil {
		return nil, m.err
	}
	commit := payment.Commitment{
		Ledger: p.ledger.ID(), Intention: f.intention, Torrent: torrent, Payer: p.account, Receiver: b.Account,
		Root: m.chain.Root(), Chain: m.id, Slot: f.slots[b.Account], Links: m.chain.Len(), Price: f.price, Epoch: f.epoch,
		Expiry: uint64(p.node.cfg.Now().Add(dealLife).Unix()),
	}
	sig, err := commit.Sign(p.member.Identity.Key())
	if err != nil {
		return nil, err
	}
	f.slots[b.Account]++ // also if its registration fails: it may have been done
	return &opening{
		wallet.Opening{Commitment: commit, Signature: sig, Cap: uint32(min(uint64(first), f.free))}, m.chain,
	}, nil
}

// opened is the deal of a commitment that was just registered. f is locked.
func (p *purse) opened(t *Torrent, f *frozen, o *opening) *swarm.Deal {
	p.member.noteOpened(p.node.cfg.Now(), &o.Commitment, o.Cap)
	f.free -= min(f.free, uint64(o.Cap))
	d := p.dealt(t, &o.Commitment, o.Signature, o.chain, o.Cap, 0)
	d.PayAhead = !p.awaits(o.Commitment.Receiver, o.Commitment.ID(), t.proven())
	return d
}

// unopened ends a commitment that the ledger refused.
func (p *purse) unopened(err error, id payment.CommitmentID) error {
	if _, refused := errors.AsType[contract.Code](err); refused {
		return errors.Join(err, p.member.Wallet.Ended(id, 0))
	}
	return err
}

// raise writes a higher cap, as far as the frozen coins go.
func (p *purse) raise(ctx context.Context, r swarm.Raise) error {
	if err := p.wrongClock(); err != nil {
		return err
	}
	p.mu.Lock()
	d := p.deals[r.Commitment]
	p.mu.Unlock()
	if d == nil {
		return errors.New("a commitment that is not ours")
	}
	torrent := payment.TorrentID(d.torrent.Info().ID())
	f := p.intentionOf(torrent)
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.known { // the commitment is of an earlier run
		if err := p.adoptIntention(ctx, torrent, f); err != nil {
			return err
		}
	}
	want := min(r.Cap, d.links)
	if quarter := d.cap + (d.cap+3)/4; f.free < uint64(min(quarter, d.links)-d.cap) {
		if err := p.addFunds(ctx, d.torrent, torrent, f, uint64(want-d.cap)); err != nil {
			return err
		}
	}
	cap := uint32(min(uint64(want), uint64(d.cap)+f.free))
	if cap <= d.cap {
		return errPromised
	}
	up := contract.TopUp{Commitment: r.Commitment, K: d.k + 1, Cap: cap}
	reserve := wallet.Reservation{Request: newRequest(), Caps: map[payment.CommitmentID]uint32{r.Commitment: cap}}
	_, err := p.submit(ctx, reserve, &contract.TopUpMany{TopUps: []contract.TopUp{up}})
	if err != nil {
		return errors.Join(err, p.recap(ctx, r.Commitment, d, f))
	}
	f.free -= min(f.free, uint64(cap-d.cap))
	d.cap, d.k = cap, up.K
	p.tellCap(d, r.Commitment)
	return nil
}

// recap learns a cap from the ledger, after a raise whose fate is unknown.
func (p *purse) recap(ctx context.Context, id payment.CommitmentID, d *dealt, f *frozen) error {
	info, err := p.member.commitment(ctx, id)
	if err != nil || info == nil {
		return err
	}
	if info.K == d.k {
		return p.refresh(ctx, f)
	}
	d.cap, d.k = info.Cap, info.K
	p.tellCap(d, id)
	return p.refresh(ctx, f)
}

func (p *purse) tellCap(d *dealt, id payment.CommitmentID) {
	e := payment.LedgerEvent{Kind: payment.EventCap, Account: p.account, Commitment: id, Cap: d.cap}
	d.torrent.tell(func(now time.Time) { d.torrent.swarm.Ledger(now, e) })
}
