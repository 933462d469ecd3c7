package swarm

import (
	"maps"
	"slices"
	"time"

	"torrente/payment"
	"torrente/peerwire"
	"torrente/piece"
)

const (
	// minExpiry is how long a commitment must be valid for, at least.
	minExpiry = 2 * time.Hour
	// maxExpiry is the most that the ledger registers, and some for clocks.
	maxExpiry = 7*24*time.Hour + 10*time.Minute
	// watchEvery is how often the ledger is asked for a commitment that is not
	// registered, or whose cap is too low.
	watchEvery = 5 * time.Second
	// lastLink is how long before its expiry a commitment counts no more links:
	// they have to be redeemed before it.
	lastLink = 30 * time.Minute
	// holdAfter is how long a request waits for a link before we say so;
	// chokeAfter before the slot goes to another.
	holdAfter  = 100 * time.Millisecond
	chokeAfter = time.Minute
	// ackEvery is how often a buyer is told how far it has been counted.
	ackEvery = 250 * time.Millisecond
	// lendAtOnce is how many units a Book is asked for at a time.
	lendAtOnce = 64
	// maxClaims bounds the commitments of one connection.
	maxClaims = 8
)

// sale is what a buyer has from us. A unit is handed on if a link has paid for
// it, or else if the account's Book lent it (P1): served + 1 <= P + W.
type sale struct {
	claims   map[peerwire.Alias]*claim
	meeting  bool            // the Book was asked for what was left over
	met      bool            // and has answered
	over     bool            // the Book has it back
	ahead    uint64          // units that links paid for and that were not served
	lease    uint64          // units lent by the Book, not used
	window   uint64          // units that it lends at most, used or not
	charged  queue[uint32]   // units served on what was lent, and not paid
	lost     map[uint32]bool // units of earlier connections that are served again free
	asking   bool            // the Book was asked to lend
	again    bool            // units were given back since: what it answers is out of date
	owed     uint64          // units that it owed when it came: links for them come without service
	resuming int             // commitments that the wallet was asked for
	resend   uint64          // of those, as many may be served again free, the Book willing

	served, counted uint64 // units handed on, and links accepted, of this connection
	stalled         time.Time
	held            bool
	acked           time.Time
	last            *claim
	paying          *claim // the one that a link came on last, or that was registered since
}

// claim is a commitment to us.
type claim struct {
	alias  peerwire.Alias
	commit *payment.Commitment
	id     payment.CommitmentID
	cap    uint32 // registered; 0: not yet
	best   payment.Claim
	early  *peerwire.Pay // a link beyond the cap, until the ledger tells of a higher one
	ended  bool
	// closing means that we are about to sign its close, closed that it was
	// sent.
	closing, closed bool

	// Of one that was met on an earlier connection: unproven is how far the buyer says it has paid, and unserved how many of
	// those units it did not get, until the link is counted.
	unproven *peerwire.Pay
	unserved uint32
	had      uint64    // units that it had then, as it says
	watch    time.Time // when the ledger is asked again
	asked    bool      // for its close, when best was as it is
}

// meet asks the Book what earlier connections left over, once there is
// something to sell.
func (s *Swarm) meet(p *peer) {
	if !s.cfg.Pays || !s.sold || s.picker == nil || p.account.IsZero() || p.dropped || p.sale.meeting {
		return
	}
	p.sale.meeting = true
	s.out.Pays.Meet = append(s.out.Pays.Meet, Loan{Peer: p.id, Account: p.account, Units: lendAtOnce})
}

// Met tells what was left over with an account.
func (s *Swarm) Met(now time.Time, id PeerID, account payment.Account, m Meeting) {
	s.input()
	p := s.peers[id]
	if p == nil || p.sale.over {
		s.out.Pays.Leave = append(s.out.Pays.Leave, Parting{id, account, payment.Standing{Ahead: m.Left.Ahead}})
		return
	}
	sale := &p.sale
	sale.met, sale.ahead, sale.resend = true, m.Left.Ahead, m.Left.Unpaid-uint64(len(m.Left.Units))
	sale.owed, sale.lease, sale.window = m.Owed, m.Lease, m.Window
	s.offer(now, p)
	s.listUnpaid(now, p, m.Left.Units)
	s.feed(p)
}

// part hands the Book what a connection leaves behind, once.
func (s *Swarm) part(p *peer) {
	sale := &p.sale
	if !sale.meeting || sale.over {
		return
	}
	sale.over = true
	s.out.Pays.Leave = append(s.out.Pays.Leave, Parting{p.id, p.account, payment.Standing{
		Ahead: sale.ahead, Unpaid: sale.unpaid(), Units: slices.Clone(sale.charged.all()),
	}})
}

// offer sends our terms, first and whenever they change.
func (s *Swarm) offer(now time.Time, p *peer) {
	if !s.sold || s.picker == nil || p.account.IsZero() || s.epoch == 0 || p.dropped || !p.sale.met {
		return
	}
	s.send(now, p, peerwire.Message{ID: peerwire.PayTermsID, Rare: peerwire.PayTerms{
		Price: s.price, Epoch: s.epoch, Unit: piece.BlockSize, Floor: uint32(s.cfg.Floor),
		Window: uint32(p.sale.window), Expiry: uint32(minExpiry / time.Second),
	}})
}

// onCommit takes a commitment. Its signature was checked before it came here;
// it counts once the ledger has registered it.
func (s *Swarm) onCommit(now time.Time, p *peer, c peerwire.PayCommit) error {
	k, sale := &c.Commitment, &p.sale
	switch {
	case sale.claims[c.Alias] != nil || sale.claimOf(k.ID()) != nil:
		return errPayAgain
	case k.Ledger != s.cfg.Ledger || k.Torrent != payment.TorrentID(s.info.ID()) || k.Payer != p.account ||
		k.Receiver != s.cfg.Account || !s.priced(k) ||
		k.Expiry < uint64(now.Add(minExpiry).Unix()) || k.Expiry > uint64(now.Add(maxExpiry).Unix()) || len(sale.claims) >= maxClaims || sale.unregistered():
		return errCommitment
	}
	is := &claim{alias: c.Alias, commit: k, id: k.ID(), best: k.Start(), watch: now.Add(watchEvery)}
	sale.bind(is)
	s.out.Pays.Record = append(s.out.Pays.Record, Record{Kind: RecordCommitment, Commitment: is.id, Commit: &c})
	s.out.Pays.Watch = append(s.out.Pays.Watch, is.id)
	s.send(now, p, peerwire.Message{ID: peerwire.PayStatusID, Rare: peerwire.PayStatus{Alias: c.Alias, State: peerwire.PayPending}})
	return nil
}

// priced reports whether a commitment has the price of its epoch: the present
// one, or the one before, at whose price the payer's coins may be frozen.
func (s *Swarm) priced(k *payment.Commitment) bool {
	return k.Epoch == s.epoch && k.Price == s.price || k.Epoch+1 == s.epoch && k.Price == s.before
}

// bind gives a commitment its name on this connection.
func (s *sale) bind(c *claim) {
	if s.claims == nil {
		s.claims = map[peerwire.Alias]*claim{}
	}
	s.claims[c.alias] = c
}

// unregistered reports whether some commitment still waits for the ledger: one
// account has one such at a time.
func (s *sale) unregistered() bool {
	for _, alias := range sortedAliases(s.claims) {
		if c := s.claims[alias]; c.cap == 0 && !c.ended {
			return true
		}
	}
	return false
}

// live is the alias of a commitment that can be paid on: the last one paid on,
// if there is a choice.
func (s *sale) live() (peerwire.Alias, bool) {
	if s.last != nil && !s.last.ended {
		return s.last.alias, true
	}
	for _, alias := range sortedAliases(s.claims) {
		if c := s.claims[alias]; c.cap > 0 && !c.ended {
			return alias, true
		}
	}
	return 0, false
}

// claimOf finds the claim that a ledger's event is about.
func (s *sale) claimOf(id payment.CommitmentID) *claim {
	for _, alias := range sortedAliases(s.claims) {
		if c := s.claims[alias]; c.id == id {
			return c
		}
	}
	return nil
}

func sortedAliases(m map[peerwire.Alias]*claim) []peerwire.Alias {
	return slices.Sorted(maps.Keys(m))
}

// capSold takes the cap that the ledger has registered.
func (s *Swarm) capSold(now time.Time, p *peer, e payment.LedgerEvent) {
	c := p.sale.claimOf(e.Commitment)
	if c == nil || c.ended || e.Cap <= c.cap {
		return
	}
	if c.cap == 0 {
		p.sale.paying = c
	}
	c.cap = min(e.Cap, c.commit.Links)
	s.send(now, p, peerwire.Message{ID: peerwire.PayStatusID, Rare: peerwire.PayStatus{
		Alias: c.alias, State: peerwire.PayRegistered, Cap: c.cap, Height: e.Height,
	}})
	if err := s.proven(p, c); err != nil {
		s.drop(p, err)
		return
	}
	if early := c.early; early != nil {
		c.early = nil
		if err := s.onLink(now, p, *early); err != nil {
			s.drop(p, err)
		}
	}
}

// endSold stops counting on a commitment that the ledger has ended.
func (s *Swarm) endSold(now time.Time, p *peer, id payment.CommitmentID) {
	if c := p.sale.claimOf(id); c != nil && !c.ended {
		c.ended = true
		s.send(now, p, peerwire.Message{ID: peerwire.PayStatusID, Rare: peerwire.PayStatus{Alias: c.alias, State: peerwire.PayClosed, Cap: c.cap}})
	}
}

// onTopUp takes the hint that a higher cap was submitted: the ledger is asked.
func (s *Swarm) onTopUp(p *peer, t peerwire.PayTopUp) error {
	c := p.sale.claims[t.Alias]
	if c == nil {
		return errPayUnknown
	}
	if t.Cap > c.cap && !c.ended {
		s.out.Pays.Watch = append(s.out.Pays.Watch, c.id)
	}
	return nil
}

// onLink takes a link. What is beyond the cap, or beyond what was served and
// one unit ahead, is not hashed: hashes cost us, indexes cost nothing.
func (s *Swarm) onLink(now time.Time, p *peer, l peerwire.Pay) error {
	c, sale := p.sale.claims[l.Alias], &p.sale
	switch {
	case c == nil:
		return errPayUnknown
	case c.ended || l.Index <= c.best.Index || uint64(now.Add(lastLink).Unix()) >= c.commit.Expiry:
		return nil // paid before, or too late to be redeemed in time
	case l.Index > c.commit.Links:
		return errPaidTooMuch
	case l.Index > c.cap:
		c.early = &l // its top-up is on the way to our ledger
		s.out.Pays.Watch = append(s.out.Pays.Watch, c.id)
		return nil
	case sale.counted+uint64(l.Index-c.best.Index) > sale.served+sale.owed+1:
		return errPaidTooMuch
	}
	return s.count(p, c, payment.Claim{Index: l.Index, Link: l.Link}, Count{})
}

// count keeps a link and has it counted.
func (s *Swarm) count(p *peer, c *claim, next payment.Claim, how Count) error {
	if !c.commit.Verify(c.best, next) {
		return errLink
	}
	if !how.Resumed {
		p.sale.counted += uint64(next.Index - c.best.Index)
		p.sale.paying = c
	}
	c.best, c.asked, p.sale.last = next, false, c
	how.Peer, how.Commitment, how.Index, how.Cap = p.id, c.commit, next.Index, c.cap
	s.out.Pays.Record = append(s.out.Pays.Record, Record{Kind: RecordLink, Commitment: c.id, Claim: next})
	s.out.Pays.Count = append(s.out.Pays.Count, how)
	return nil
}

// Counted tells what a link was worth: paid units beyond old debts, and how
// many units of the lease the window no longer covers.
func (s *Swarm) Counted(now time.Time, c Count, got payment.Counted) {
	s.input()
	paid := got.Paid
	if c.Resumed {
		paid = min(paid, uint64(c.Ahead))
	}
	p := s.peers[c.Peer]
	if p == nil || p.sale.over {
		s.out.Pays.Leave = append(s.out.Pays.Leave, Parting{c.Peer, c.Commitment.Payer, payment.Standing{Ahead: paid}})
		return
	}
	sale := &p.sale
	sale.window = got.Window
	n := min(paid, sale.unpaid())
	for range n {
		sale.charged.pop()
	}
	if back := n - min(n, got.Recalled); back > 0 {
		s.out.Pays.Return = append(s.out.Pays.Return, Loan{Peer: c.Peer, Account: p.account, Units: back})
	}
	sale.lease -= min(sale.lease, got.Recalled-min(n, got.Recalled)) // the window is smaller
	sale.ahead += paid - n
	sale.again = sale.asking
	if s.unheard {
		s.doubt(now, p)
	}
	s.ack(now, p)
	s.feed(p)
}

// Leased tells what the Book lent, nothing perhaps.
func (s *Swarm) Leased(now time.Time, l Loan) {
	s.input()
	p := s.peers[l.Peer]
	if p == nil || p.sale.over {
		return // the Book has it back already
	}
	sale := &p.sale
	sale.asking = false
	if l.Again {
		sale.ahead += l.Units
	} else {
		sale.lease += l.Units
	}
	switch {
	case l.Units > 0 || sale.again:
		sale.again = false
		s.feed(p)
	case sale.resend > 0:
		sale.resend--
		s.ask(p, Loan{Units: 1, Again: true})
	case sale.stalled.IsZero() && p.queue.len() > 0:
		sale.stalled = now
		s.wake(now.Add(holdAfter))
	}
}

// ask asks the Book to lend.
func (s *Swarm) ask(p *peer, l Loan) {
	p.sale.asking = true
	l.Peer, l.Account = p.id, p.account
	s.out.Pays.Lend = append(s.out.Pays.Lend, l)
}

// feedSold hands on what is paid or lent for, one unit a request.
func (s *Swarm) feedSold(p *peer) {
	sale := &p.sale
	for p.serving < serveWindow && p.queue.len() > 0 && !p.dropped {
		b := p.queue.front()
		if unit := s.layout.Unit(b); !sale.repeats(unit) && !s.charge(p, unit) {
			lost, ok := s.lostIn(p)
			if !ok {
				return
			}
			b = lost
		}
		sale.stalled, sale.held = time.Time{}, false
		p.queue.take(b)
		s.hand(p, b)
	}
}

// charge takes a unit from what is paid, or else from what is lent; the Book is
// asked for more when that is used up.
func (s *Swarm) charge(p *peer, unit uint32) bool {
	sale := &p.sale
	switch {
	case sale.ahead > 0:
		sale.ahead--
		sale.served++
		return true
	case sale.lease > 0:
		sale.lease--
		sale.served++
		sale.charged.push(unit)
		return true
	}
	if !sale.asking && sale.met {
		s.ask(p, Loan{Units: lendAtOnce})
	}
	return false
}

// ack tells a buyer how far it was counted, now and then.
func (s *Swarm) ack(now time.Time, p *peer) {
	sale := &p.sale
	if sale.last == nil || now.Sub(sale.acked) < ackEvery {
		return
	}
	sale.acked = now
	s.send(now, p, peerwire.Message{ID: peerwire.PayAckID, Rare: peerwire.PayAck{
		Alias: sale.last.alias, Index: sale.last.best.Index, Served: uint32(sale.served),
		Window: uint32(sale.window),
	}})
}

// advanceSale says hold when a request has waited for a link, and takes the
// slot when it has waited too long.
func (s *Swarm) advanceSale(now time.Time, p *peer) {
	sale := &p.sale
	if sale.stalled.IsZero() {
		return
	}
	waited := now.Sub(sale.stalled)
	if alias, ok := sale.live(); ok && waited >= holdAfter && !sale.held {
		sale.held = true
		s.send(now, p, peerwire.Message{ID: peerwire.PayHoldID, Rare: peerwire.PayHold{Alias: alias, Unpaid: uint32(sale.unpaid())}})
		s.out.Pays.Hold = append(s.out.Pays.Hold, Loan{Peer: p.id, Account: p.account})
	}
	if waited >= chokeAfter {
		sale.stalled = time.Time{}
		s.choke(now, p)
		return
	}
	if sale.held {
		s.wake(sale.stalled.Add(chokeAfter))
	} else {
		s.wake(sale.stalled.Add(holdAfter))
	}
}
