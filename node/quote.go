package node

import (
	"context"
	"errors"

	"torrente/payment"
	"torrente/payment/contract"
)

// margin is how much is frozen of what is wanted, in percent: caps of several
// sellers overlap.
const margin = 125

// Quote is what all of a torrent costs, and what of it is frozen at most.
type Quote struct {
	Units         uint64
	Price         payment.Amount // of a unit
	Cost, Highest payment.Amount
}

// Consent is what a user who has read a Quote agreed to. The zero Consent pays
// nothing.
type Consent struct {
	Coins payment.Amount // that may be frozen, at most
	Price payment.Amount // of a unit, at most: that of the Quote
}

// errTooDear says that a torrent costs more coins than there are.
var errTooDear = errors.New("the torrent costs more than 64 bits can count")

// Quote asks the ledger for the price. The error may be a *ledger.WrongClock:
// nothing can be bought then.
func (n *Node) Quote(ctx context.Context, units uint64) (q Quote, err error) {
	l, err := n.purse.askLedger(ctx)
	if err != nil {
		return q, err
	}
	if wrong := n.purse.wrongClock(); wrong != nil {
		return q, wrong
	}
	n.purse.learnPrice(l.Price, l.Before, l.Epoch) // who asks is about to buy
	return quote(units, l.Price)
}

// QuoteOf is Quote for a torrent of which so many units are wanted: at the price
// at which coins are frozen for it already, if the ledger still opens on them.
func (n *Node) QuoteOf(ctx context.Context, torrent payment.TorrentID, units uint64) (Quote, error) {
	q, err := n.Quote(ctx, units)
	if err != nil {
		return q, err
	}
	frozen, err := n.purse.usable(ctx, torrent)
	if err != nil || frozen == nil {
		return q, err
	}
	return quote(units, frozen.Price)
}

// usable finds the intention of an earlier run that the next purchase of a
// torrent will go on with; nil: there is none.
func (p *purse) usable(ctx context.Context, torrent payment.TorrentID) (*contract.IntentionInfo, error) {
	for _, i := range p.member.Wallet.Intentions() {
		if i.Torrent != torrent {
			continue
		}
		l, err := p.askLedger(ctx)
		if err != nil {
			return nil, err
		}
		a, err := p.member.ask(ctx, contract.Query{Kind: contract.QueryIntention, Intention: i.ID})
		if err != nil {
			return nil, err
		}
		if len(a.Intentions) == 1 && !a.Intentions[0].Closed && !p.stale(&a.Intentions[0], l.Epoch) {
			return &a.Intentions[0], nil
		}
	}
	return nil, nil
}

func quote(units uint64, price payment.Amount) (Quote, error) {
	cost, ok := price.Mul(units)
	highest, ok2 := cost.Mul(margin)
	if !ok || !ok2 {
		return Quote{}, errTooDear
	}
	return Quote{Units: units, Price: price, Cost: cost, Highest: (highest + 99) / 100}, nil
}
