package swarm

import (
	"time"

	"torrente/payment"
	"torrente/peerwire"
)

// A commitment outlives connections and processes. The payer names it again
// with pay_resume (B7) and says how far it has paid; the receiver answers how
// far it has counted. Both are proven by a link, so the deeper one is true.

// Kept is what the receiver kept of a commitment, and what the account owes in
// this torrent.
type Kept struct {
	Commitment payment.Commitment
	Best       payment.Claim
	Ended      bool                 // on the ledger
	Close      *payment.SignedClose // nil: it was not closed
	Owed       uint64               // units
}

// Attribution is asked for units on our disk that are owed to nobody, at most
// Units of them: they are owed on the commitment from now on.
type Attribution struct {
	Peer       PeerID
	Commitment payment.CommitmentID
	Units      uint64
}

// onResume takes either side's word on an old commitment.
func (s *Swarm) onResume(now time.Time, p *peer, r peerwire.PayResume) error {
	if b := &p.buy; b.deal != nil && b.id == r.Commitment {
		return s.onResumed(now, p, r)
	}
	sale := &p.sale
	switch {
	case sale.claims[r.Alias] != nil || sale.claimOf(r.Commitment) != nil:
		return errPayAgain
	case len(sale.claims)+sale.resuming >= maxClaims:
		return errPayUnknown
	}
	sale.resuming++
	s.out.Pays.Resume = append(s.out.Pays.Resume, Resume{p.id, p.account, r})
	return nil
}

// Resumed brings what was kept of a commitment; nil: nothing is known of it.
// The link that the buyer showed is hashed once its cap is known.
func (s *Swarm) Resumed(now time.Time, id PeerID, r peerwire.PayResume, k *Kept) {
	s.input()
	p := s.peers[id]
	if p == nil || p.dropped {
		return
	}
	sale := &p.sale
	sale.resuming--
	if k == nil {
		s.send(now, p, peerwire.Message{ID: peerwire.PayStatusID, Rare: peerwire.PayStatus{Alias: r.Alias, State: peerwire.PayRefused}})
		return
	}
	if sale.claims[r.Alias] != nil || sale.claimOf(r.Commitment) != nil {
		s.drop(p, errPayAgain)
		return
	}
	c := &claim{
		alias: r.Alias, commit: &k.Commitment, id: r.Commitment, best: k.Best,
		ended: k.Ended || k.Close != nil, closed: k.Close != nil, unserved: r.Ahead,
		had:      uint64(r.Index) + uint64(r.Owed) - min(uint64(r.Index)+uint64(r.Owed), uint64(r.Ahead)),
		unproven: &peerwire.Pay{Alias: r.Alias, Index: r.Index, Link: r.Link}, watch: now.Add(watchEvery),
	}
	sale.bind(c)
	sale.owed = max(sale.owed, min(uint64(r.Owed), payment.MaxWindow)) // the Book may have written it off
	switch {
	case k.Close != nil:
		s.send(now, p, peerwire.Message{ID: peerwire.PayCloseID, Rare: peerwire.PayClose{SignedClose: *k.Close}})
		return
	case k.Ended:
		s.send(now, p, peerwire.Message{ID: peerwire.PayStatusID, Rare: peerwire.PayStatus{Alias: c.alias, State: peerwire.PayClosed}})
		return
	}
	s.send(now, p, peerwire.Message{ID: peerwire.PayResumeID, Rare: peerwire.PayResume{
		Commitment: c.id, Alias: c.alias, Index: c.best.Index, Link: c.best.Link,
		Owed: uint32(min(k.Owed, payment.MaxLinks)), Ahead: uint32(min(sale.ahead, payment.MaxLinks)),
	}})
	s.out.Pays.Watch = append(s.out.Pays.Watch, c.id)
}

// proven counts the link that a buyer resumed with: units that it pays were
// served before, but for those that it says it never got.
func (s *Swarm) proven(p *peer, c *claim) error {
	l := c.unproven
	switch {
	case l == nil:
		return nil
	case l.Index > c.commit.Links:
		return errPaidTooMuch
	case l.Index > c.cap:
		return nil // its top-up is on the way to our ledger: tickSale asks again
	}
	c.unproven = nil
	if l.Index <= c.best.Index {
		s.serveAgain(p, c)
		return nil
	}
	return s.count(p, c, payment.Claim{Index: l.Index, Link: l.Link}, Count{Resumed: true, Ahead: min(c.unserved, prepaid)})
}

// tickSale asks the ledger again about what waits for it.
func (s *Swarm) tickSale(now time.Time, p *peer) {
	for _, alias := range sortedAliases(p.sale.claims) {
		c := p.sale.claims[alias]
		if !c.ended && (c.cap == 0 || c.unproven != nil || c.early != nil) && !now.Before(c.watch) {
			c.watch = now.Add(watchEvery)
			s.out.Pays.Watch = append(s.out.Pays.Watch, c.id)
		}
	}
}

// serveAgain asks the Book for a unit that was paid for, and that never came:
// our link is deeper than the units that the buyer says it has. One that was
// killed may not know what it has paid.
func (s *Swarm) serveAgain(p *peer, c *claim) {
	if c.had < uint64(c.best.Index) && p.sale.ahead == 0 && !p.sale.asking {
		s.ask(p, Loan{Units: prepaid, Again: true})
	}
}

// resume names a commitment of ours again.
func (s *Swarm) resume(now time.Time, p *peer) {
	b := &p.buy
	link, ok := b.deal.Links.Link(uint32(b.links))
	if !ok {
		return
	}
	s.send(now, p, peerwire.Message{ID: peerwire.PayResumeID, Rare: peerwire.PayResume{
		Commitment: b.id, Alias: b.deal.Commit.Alias, Index: uint32(b.links), Link: link,
		Owed: uint32(b.verified - min(b.verified, b.links)), Ahead: uint32(b.links - min(b.links, b.verified)),
	}})
}

// onResumed takes a seller's word: links that it shows are ours, whatever we
// remember. What it says we owe beyond our record may be on our disk.
func (s *Swarm) onResumed(now time.Time, p *peer, r peerwire.PayResume) error {
	b := &p.buy
	if r.Alias != b.deal.Commit.Alias || b.answered || !b.deal.Resumed {
		return errPayAgain
	}
	b.answered = true
	if uint64(r.Index) > b.links {
		link, ok := b.deal.Links.Link(r.Index)
		if !ok || link != r.Link || r.Index > b.deal.Cap {
			return errLink
		}
		s.released(b, uint64(r.Index))
		b.verified = max(b.verified, b.delivered(s.receivedOn(p)))
	}
	owed := b.verified - min(b.verified, b.links)
	extra := uint64(r.Owed) - min(uint64(r.Owed), owed)
	// The window that it has said is what is left of W beside the debt.
	if extra = min(extra, max(b.credit(), b.links/trustGrowth)); extra > 0 {
		s.out.Pays.Attribute = append(s.out.Pays.Attribute, Attribution{p.id, b.id, extra})
	}
	s.pay(now, p, b.verified)
	return nil
}

// Attributed tells how many units on our disk are owed on a commitment from
// now on.
func (s *Swarm) Attributed(now time.Time, a Attribution) {
	s.input()
	p := s.peers[a.Peer]
	if p == nil || p.dropped || p.buy.deal == nil || p.buy.id != a.Commitment {
		return
	}
	p.buy.verified += a.Units
	s.pay(now, p, p.buy.verified)
}
