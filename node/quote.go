package node

import (
	"context"
	"errors"

	"torrente/payment"
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
	return quote(units, l.Price)
}

func quote(units uint64, price payment.Amount) (Quote, error) {
	cost, ok := price.Mul(units)
	highest, ok2 := cost.Mul(margin)
	if !ok || !ok2 {
		return Quote{}, errTooDear
	}
	return Quote{Units: units, Price: price, Cost: cost, Highest: (highest + 99) / 100}, nil
}
