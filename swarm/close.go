package swarm

import (
	"time"

	"torrente/payment"
	"torrente/peerwire"
)

// A buyer that wants no more asks each seller for its signed close: then what
// the seller will not redeem is free at once, and not after the expiry.

// settling reports whether a commitment between us waits for its close.
func (p *peer) settling() bool {
	if p.dropped {
		return false
	}
	if p.buy.deal != nil && p.buy.agreed && !p.buy.closed {
		return true
	}
	for _, alias := range sortedAliases(p.sale.claims) {
		if c := p.sale.claims[alias]; !c.ended || c.closing && !c.closed {
			return true
		}
	}
	return false
}

// askCloses asks all sellers to close: there is nothing more to buy.
func (s *Swarm) askCloses(now time.Time) {
	if !s.sold {
		return
	}
	for _, p := range s.order {
		s.askClose(now, p)
	}
}

// askClose asks one seller, once all is paid.
func (s *Swarm) askClose(now time.Time, p *peer) {
	b := &p.buy
	if b.deal == nil || !b.agreed || b.closed || b.closing || b.pending > 0 || p.dropped {
		return
	}
	s.pay(now, p, b.verified)
	if b.links < b.verified {
		return // a cap that is too low: the rest waits for its raise
	}
	b.closing = true
	b.asks++
	s.send(now, p, peerwire.Message{ID: peerwire.PayStatusID, Rare: peerwire.PayStatus{
		Alias: b.deal.Commit.Alias, State: peerwire.PayClosing, Cap: b.deal.Cap,
	}})
}

// Drain asks for nothing more, and takes back what is asked for as far as that
// is still possible: we are about to leave.
func (s *Swarm) Drain(now time.Time) {
	s.input()
	s.draining = true
	if !s.sold {
		return
	}
	for _, p := range s.order {
		for _, b := range p.asked.all() {
			s.send(now, p, peerwire.BlockMessage(peerwire.Cancel, b.Piece, b.Begin, b.Length))
		}
	}
	s.payAll(now)
}

// Drained reports whether all that was bought has come, after Drain, and has
// been paid as far as the caps go.
func (s *Swarm) Drained() bool {
	if !s.draining || !s.sold {
		return s.draining
	}
	for _, p := range s.order {
		b := &p.buy
		if b.deal != nil && !p.dropped && (s.underWay(p) || b.agreed && min(b.verified, uint64(b.deal.Cap)) > b.links) {
			return false
		}
	}
	return true
}

// underWay reports whether units that were bought are still to come, or to be
// judged soon.
func (s *Swarm) underWay(p *peer) bool {
	return p.asked.len() > 0 || p.buy.pending > 0 && !s.judgedWhole()
}

// Unsettled is how many connected sellers have not closed what we opened.
func (s *Swarm) Unsettled() (n int) {
	for _, p := range s.order {
		if b := &p.buy; !p.dropped && (b.buying || b.deal != nil && b.agreed && !b.closed) {
			n++
		}
	}
	return n
}

// onClosing takes the buyer's wish to close. Who owes us units is told to pay
// them first. From here on the commitment counts nothing.
func (s *Swarm) onClosing(now time.Time, p *peer, alias peerwire.Alias) error {
	c := p.sale.claims[alias]
	switch {
	case c == nil:
		return errPayUnknown
	case c.ended:
		return nil
	case p.sale.unpaid() > 0 && !c.asked: // asked again without a link, it has no more to give
		c.asked = true
		s.send(now, p, peerwire.Message{ID: peerwire.PayHoldID, Rare: peerwire.PayHold{Alias: alias, Unpaid: uint32(p.sale.unpaid())}})
		return nil
	}
	c.ended, c.closing = true, true
	s.out.Pays.Close = append(s.out.Pays.Close, Ending{p.id, c.id, c.best.Index})
	return nil
}

// Closed brings the signed close of a commitment to us; it is on disk.
func (s *Swarm) Closed(now time.Time, id PeerID, c payment.SignedClose) {
	s.input()
	p := s.peers[id]
	if p == nil || p.dropped {
		return
	}
	for _, o := range s.order {
		if k := o.sale.claimOf(c.Commitment); k != nil {
			k.ended, k.closed = true, true
		}
	}
	s.send(now, p, peerwire.Message{ID: peerwire.PayCloseID, Rare: peerwire.PayClose{SignedClose: c}})
}

// onClose takes a seller's last word on our commitment. It is final: whoever
// signs one is paid no more on it.
func (s *Swarm) onClose(now time.Time, p *peer, c peerwire.PayClose) error {
	b := &p.buy
	if b.deal == nil || b.id != c.Commitment {
		return nil // of an earlier commitment: it was not asked for
	}
	if c.Ledger != s.cfg.Ledger || c.Final > b.deal.Cap {
		return errPayUnknown
	}
	if err := c.Verify(p.account); err != nil {
		return err
	}
	if !b.closed {
		b.closed, b.agreed = true, false
		s.out.Pays.Released = append(s.out.Pays.Released, c.SignedClose)
	}
	if s.picker.Have().Full() {
		return s.checkBothSeeds(p)
	}
	s.buyAgain(p)
	return nil
}
