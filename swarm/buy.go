package swarm

import (
	"crypto/sha256"
	"time"

	"torrente/payment"
	"torrente/peerwire"
	"torrente/piece"
)

const (
	// payAfter is how long a verified unit waits for others to be paid with.
	payAfter = 20 * time.Millisecond
	// payShare is the part of the window, one in four, that may wait to be paid:
	// each link wakes the seller, and costs it about as much as a unit.
	payShare = 4
	// refillEvery is at how many verified units a seller is asked for more, while
	// enough are under way.
	refillEvery = 16
	// trustGrowth is how many paid units earn one of credit (section 4).
	trustGrowth = 16
	// raiseAhead is for how long a cap shall last: twice the time of a ledger
	// that is slow, and five seconds (section 4).
	raiseAhead = 7 * time.Second
	// raisePause is how long a cap that could not be raised is left alone.
	raisePause = 5 * time.Second
	// renewBefore is how long before the end of a commitment the next one is
	// opened: a quarter of its life.
	renewBefore = 6 * time.Hour
	// maxCloseAsks is how often a seller is asked for its close.
	maxCloseAsks = 3
	// prepaid is how many units are paid ahead, at most (P2).
	prepaid = 1
)

// Deal is a commitment of ours that the ledger has registered.
type Deal struct {
	Commit peerwire.PayCommit
	Links  Links  // of its chain
	Cap    uint32 // registered
	// Of one that the seller has met: how many links were released, and how
	// many units are owed, by the record.
	Resumed     bool
	Index, Owed uint32
	// PayAhead allows a unit to be paid before it comes (P2). It is false while
	// the seller owes us one.
	PayAhead bool
	// Spent means that it has no link left and is shown for one reason: what the
	// seller believes to be owed, if it died, ends with that. Nothing is bought on
	// it, and the next one is asked for as soon as the seller has it.
	Spent bool
}

// Links are the links of a chain: *payment.Chain.
type Links interface {
	Link(i uint32) (payment.Link, bool)
}

// purchase is what we have from a seller. Verified units are paid soon; one
// may be paid ahead (P2): links <= verified + 1.
type purchase struct {
	early    *peerwire.PayTerms // that came before we knew the torrent
	terms    bool               // accepted
	indebted bool               // what we may owe was asked for
	buying   bool               // Bought will come
	buyAfter time.Time          // when it may be tried again, after it came to nothing
	deal     *Deal
	id       payment.CommitmentID // of its commitment
	agreed   bool                 // the seller knows that the commitment is registered
	agreedAt time.Time            // when it agreed first on this connection
	before   uint64               // verified by then
	raising  bool

	answered        bool // the seller has answered pay_resume
	refused         bool // a commitment was refused: the next one is the last tried
	closing, closed bool // the seller was asked to close; it has
	asks            int  // how often

	links    uint64 // released
	verified uint64 // units, those of earlier connections with the deal included
	pending  int    // units here, not yet verified
	window   uint64 // units that the seller serves unpaid, as it said
	windowAt uint64 // links released when it said so
	since    time.Time
	// raiseAgain is when a cap may be asked for that could not be had; zero:
	// none is waited for.
	raiseAgain time.Time
	// late are units that we gave up on: they are owed all the same if they
	// come and are right.
	late map[piece.Block]bool
	// lost are units that were served before and not paid, as the seller says:
	// what is missing of them is asked for again, and comes free.
	lost     []uint32
	lostTold bool
}

// maxLate bounds them: what was asked for once.
const maxLate = maxDepth

// onTerms takes a seller's offer. Only the ledger's own price is paid.
func (s *Swarm) onTerms(now time.Time, p *peer, t peerwire.PayTerms) error {
	b := &p.buy
	if s.epoch == 0 || t.Epoch > s.epoch {
		b.early = &t // the ledger has not told us its price yet, or not that it changed
		return nil
	}
	if t.Unit != piece.BlockSize || t.Price != s.price || t.Epoch != s.epoch {
		s.send(now, p, peerwire.Message{ID: peerwire.PayErrorID, Rare: peerwire.PayError{Code: PayErrorTerms, Text: "the price is not the ledger's"}})
		return nil
	}
	b.terms, b.window, b.windowAt = true, uint64(max(t.Floor, t.Window)), b.links
	s.buy(p)
	return nil
}

// buy asks for a commitment to a seller: one that has what we need, or that we
// may owe something.
func (s *Swarm) buy(p *peer) {
	b := &p.buy
	if !b.terms || b.buying || b.deal != nil || p.dropped || !s.cfg.Pays || s.picker == nil || s.tooLong() || b.indebted && !p.weInterested {
		return
	}
	b.buying, b.indebted = true, true
	want := Purchase{Peer: p.id, Account: p.account}
	if p.weInterested {
		want.Units = s.unitsLeft()
	}
	s.out.Pays.Buy = append(s.out.Pays.Buy, want)
}

// onRefused takes the word of a seller that does not know a commitment: it died
// before it had it. Nothing was paid on it then, and it is shown again.
func (s *Swarm) onRefused(now time.Time, p *peer) {
	b := &p.buy
	if !b.deal.Resumed || b.refused || b.links+b.verified > 0 {
		s.buyAgain(p)
		return
	}
	b.refused = true
	s.send(now, p, peerwire.Message{ID: peerwire.PayCommitID, Rare: b.deal.Commit})
}

// buyAgain opens a new commitment in place of one that the seller refused or
// closed; once on a connection.
func (s *Swarm) buyAgain(p *peer) {
	b := &p.buy
	b.agreed = false
	if b.refused || !p.weInterested || p.dropped {
		return
	}
	b.refused, b.buying = true, true
	s.out.Pays.Buy = append(s.out.Pays.Buy, Purchase{p.id, p.account, s.unitsLeft(), b.id})
	b.deal = nil
}

// payAll pays everybody what is due: this is the end.
func (s *Swarm) payAll(now time.Time) {
	if !s.sold {
		return
	}
	for _, p := range s.order {
		if p.buy.deal != nil && !p.dropped {
			s.pay(now, p, p.buy.verified)
		}
	}
}

// unitsLeft is how many units are in pieces that are missing.
func (s *Swarm) unitsLeft() (n uint64) {
	have := s.picker.Have()
	for i := range s.layout.Pieces() {
		if !have.Has(i) {
			n += uint64(s.layout.Blocks(i))
		}
	}
	return n
}

// Bought brings a deal, registered on the ledger or on its way there; nil:
// there is none to be had.
func (s *Swarm) Bought(now time.Time, id PeerID, d *Deal) {
	s.input()
	p := s.peers[id]
	if p == nil || p.dropped {
		return
	}
	b := &p.buy
	b.buying = false
	if d == nil {
		b.buyAfter = now.Add(raisePause)
		return
	}
	if b.deal != nil {
		s.pay(now, p, b.verified+s.unproven(b)) // the next one begins with nothing due
		b.window = b.credit()
	}
	b.deal, b.id, b.links = d, d.Commit.Commitment.ID(), uint64(d.Index)
	b.verified = max(uint64(d.Owed), b.delivered(s.receivedOn(p)))
	b.agreed, b.answered, b.closing, b.closed, b.raising = false, false, false, false, false
	b.windowAt, b.agreedAt = b.links, time.Time{}
	if d.Resumed {
		s.resume(now, p)
	} else {
		s.send(now, p, peerwire.Message{ID: peerwire.PayCommitID, Rare: d.Commit})
	}
}

// onStatus takes what the seller's ledger says of our commitment.
func (s *Swarm) onStatus(now time.Time, p *peer, st peerwire.PayStatus) error {
	if st.State == peerwire.PayClosing {
		return s.onClosing(now, p, st.Alias)
	}
	b := &p.buy
	if b.deal == nil || st.Alias != b.deal.Commit.Alias {
		return errPayUnknown
	}
	switch st.State {
	case peerwire.PayRegistered:
		if b.closed {
			return nil
		}
		if b.agreedAt.IsZero() {
			b.agreedAt, b.before = now, b.verified
		}
		b.agreed = true
		s.pay(now, p, b.verified)
		s.renew(now, p)
		s.refill(now, p)
		if s.picker.Have().Full() {
			s.askClose(now, p)
		}
	case peerwire.PayRefused:
		s.onRefused(now, p)
	case peerwire.PayClosed:
		s.buyAgain(p)
	}
	return nil
}

// capBought takes a higher cap of our own commitment.
func (s *Swarm) capBought(now time.Time, p *peer, e payment.LedgerEvent) {
	b := &p.buy
	if b.deal == nil || b.id != e.Commitment || e.Cap <= b.deal.Cap {
		return
	}
	b.deal.Cap, b.raising = min(e.Cap, b.deal.Commit.Commitment.Links), false
	s.send(now, p, peerwire.Message{ID: peerwire.PayTopUpID, Rare: peerwire.PayTopUp{Alias: b.deal.Commit.Alias, Cap: e.Cap}})
	if b.verified > b.links {
		s.pay(now, p, b.verified)
	}
	s.refill(now, p)
	if s.picker.Have().Full() {
		s.askClose(now, p)
	}
}

// onAck takes how far the seller has counted.
func (s *Swarm) onAck(now time.Time, p *peer, a peerwire.PayAck) error {
	b := &p.buy
	if b.deal == nil || a.Alias != b.deal.Commit.Alias {
		return errPayUnknown
	}
	b.window, b.windowAt = uint64(a.Window), min(uint64(a.Index), b.links)
	s.refill(now, p)
	return nil
}

// onHold pays what is due: the seller waits for it. It serves no more unpaid
// than it has by now, whatever we believed; so if nothing is due it waits for a
// link ahead.
func (s *Swarm) onHold(now time.Time, p *peer, h peerwire.PayHold) error {
	b := &p.buy
	if b.deal == nil || h.Alias != b.deal.Commit.Alias {
		return errPayUnknown
	}
	b.window, b.windowAt = min(uint64(h.Unpaid), b.credit()), b.links
	if due := b.verified + s.unproven(b); due > b.links {
		s.pay(now, p, due)
	} else if b.outstanding(p) > 0 && b.deal.PayAhead {
		s.pay(now, p, due+prepaid)
	}
	if b.closing && b.asks < maxCloseAsks {
		b.closing = false
		s.askClose(now, p)
	}
	return nil
}

// outstanding is how many units are asked for or being verified.
func (b *purchase) outstanding(p *peer) uint64 { return uint64(p.asked.len() + b.pending) }

// credit is how many units the seller serves unpaid: what it said, and what our
// links have earned since (section 4).
func (b *purchase) credit() uint64 {
	return min(b.window+(b.links-min(b.links, b.windowAt))/trustGrowth, payment.MaxWindow)
}

// ahead is how many units may be paid for before they come.
func (b *purchase) ahead() uint64 {
	if b.deal.PayAhead || b.links > b.verified {
		return prepaid
	}
	return 0
}

// affordable is how many more units may be asked of a peer: within its window,
// one ahead, and the cap.
func (s *Swarm) affordable(now time.Time, p *peer) int {
	b := &p.buy
	if b.deal == nil || !b.agreed || b.deal.Spent {
		return 0
	}
	out := b.outstanding(p)
	window := b.credit() + b.ahead()
	if s.judgedWhole() {
		window += min(uint64(b.pending), uint64(s.layout.UnitsPerPiece())) // they are paid as they come
	}
	cap := uint64(b.deal.Cap) - min(uint64(b.deal.Cap), b.verified+s.disputed[b.id])
	s.raise(now, p, cap, out)
	room := min(window, cap)
	return int(room - min(room, out))
}

// raise asks for a higher cap when the present one lasts for less than half of
// raiseAhead at the rate seen so far: one that lasts for twice raiseAhead, so that
// there are few calls, and leaves to other sellers their share. Who has delivered
// nothing has to do with its first cap.
func (s *Swarm) raise(now time.Time, p *peer, left, out uint64) {
	b := &p.buy
	cap, all := uint64(b.deal.Cap), uint64(b.deal.Commit.Commitment.Links)
	if b.raising || cap >= all || b.verified+s.unproven(b) == 0 {
		return
	}
	soon := b.soon(now)
	if left > out+max(cap, soon)/2 {
		return
	}
	want := s.unitsLeft()
	share := b.verified + out + (want+want/4)/uint64(max(1, s.sellers()))
	more := max(min(max(2*cap, b.verified+out+2*soon), share), s.wholePiece(b))
	if b.verified == 0 { // that much has to be risked in v1, and no more
		if more = s.wholePiece(b); more <= cap {
			return
		}
	}
	more = min(max(more, cap+(cap+3)/4), all) // a top-up is a quarter at least
	b.raising = true
	s.out.Pays.Raise = append(s.out.Pays.Raise, Raise{b.id, uint32(more)})
}

// soon is how many units come in raiseAhead, at the rate since the seller
// agreed.
func (b *purchase) soon(now time.Time) uint64 {
	took := max(now.Sub(b.agreedAt), time.Millisecond)
	rate := float64(b.verified-min(b.verified, b.before)) / took.Seconds()
	return min(uint64(rate*raiseAhead.Seconds()), payment.MaxLinks)
}

// sellers is how many we are buying from.
func (s *Swarm) sellers() (n int) {
	for _, p := range s.order {
		if p.buy.deal != nil && p.buy.agreed && !p.dropped {
			n++
		}
	}
	return n
}

// NotRaised tells that a cap stays as it is. It is asked for again after a
// while.
func (s *Swarm) NotRaised(now time.Time, id payment.CommitmentID) {
	s.input()
	for _, p := range s.order {
		if p.buy.deal != nil && p.buy.id == id {
			p.buy.raiseAgain = now.Add(raisePause)
		}
	}
}

// renew opens the next commitment to a seller before the present one ends, or
// when its chain is used up.
func (s *Swarm) renew(now time.Time, p *peer) {
	b := &p.buy
	if b.deal == nil || !b.agreed || b.buying || now.Before(b.buyAfter) || !p.weInterested || p.dropped {
		return
	}
	c := &b.deal.Commit.Commitment
	if late := uint64(now.Add(renewBefore).Unix()) >= c.Expiry; late || b.deal.Spent || b.verified+s.unproven(b) >= uint64(c.Links) {
		b.buying = true
		s.out.Pays.Buy = append(s.out.Pays.Buy, Purchase{p.id, p.account, s.unitsLeft(), b.id})
	}
}

// tickPurchase tries again what could not be had: a commitment, a higher cap.
func (s *Swarm) tickPurchase(now time.Time, p *peer) {
	b := &p.buy
	if p.weInterested && !now.Before(b.buyAfter) {
		s.buy(p)
	}
	s.renew(now, p)
	if !b.raiseAgain.IsZero() {
		s.letGo(p)
	}
	if !b.raiseAgain.IsZero() && !now.Before(b.raiseAgain) {
		b.raising, b.raiseAgain = false, time.Time{}
	}
}

// payAhead releases the link without which more requests would not be served:
// with what is asked for already they go beyond what the seller lends. It pays
// all that is due, since one link costs as much as another.
func (s *Swarm) payAhead(now time.Time, p *peer, more int) {
	b := &p.buy
	if !s.sold || b.deal == nil || more == 0 {
		return
	}
	asked := b.verified + s.disputed[b.id] + b.outstanding(p) + uint64(more)
	if need := asked - min(asked, b.credit()); need > b.links {
		s.pay(now, p, max(b.verified, min(need, b.verified+s.unproven(b)+b.ahead())))
	}
}

// arrived notes a unit that is on its way to be verified.
func (s *Swarm) arrived(p *peer) {
	if s.sold {
		p.buy.pending++
	}
}

// deliveredUnit counts a unit that its leaf has proven: it is owed, and recorded
// before anything says that we have it.
func (s *Swarm) deliveredUnit(now time.Time, p *peer, b piece.Block) {
	k := &p.buy
	if !s.sold {
		return
	}
	k.pending = max(0, k.pending-1)
	if k.deal == nil || k.closed {
		return // it was refused, or closed, meanwhile: nobody can be paid
	}
	k.verified++
	s.owe(k.id, b)
	if k.verified <= k.links {
		s.refill(now, p)
		return // paid ahead
	}
	if due := k.verified - k.links; s.draining || due >= max(1, k.credit()/payShare) {
		s.pay(now, p, k.verified)
	} else if k.since.IsZero() {
		k.since = now
		s.wake(now.Add(payAfter))
	}
	if k.verified%refillEvery == 0 || p.asked.len() < refillEvery || k.credit() < 8*refillEvery {
		s.refill(now, p)
	}
}

// owe has a unit recorded as owed.
func (s *Swarm) owe(c payment.CommitmentID, b piece.Block) {
	s.out.Pays.Owed = append(s.out.Pays.Owed, payment.Delivery{Commitment: c, Unit: s.layout.Unit(b)})
}

// commitment is the one that pays what a peer sends; zero: none.
func (p *peer) commitment() (id payment.CommitmentID) {
	if p.buy.deal != nil {
		id = p.buy.id
	}
	return id
}

// deliveredBefore counts a unit whose connection has ended since it came: it is
// owed all the same, and paid on the next one.
func (s *Swarm) deliveredBefore(now time.Time, b piece.Block) {
	sent, k := s.sent(b.Piece).now, int(b.Begin/piece.BlockSize)
	if !s.sold || k >= len(sent) || sent[k].owed == (payment.CommitmentID{}) {
		return
	}
	id := sent[k].owed
	s.owe(id, b)
	for _, p := range s.order {
		if p.buy.deal != nil && p.buy.id == id && !p.dropped {
			p.buy.verified++
			s.pay(now, p, p.buy.verified)
		}
	}
}

// expectLate remembers a unit that was cancelled and may be on its way.
func (s *Swarm) expectLate(p *peer, b piece.Block) {
	if !s.sold || len(p.buy.late) >= maxLate {
		return
	}
	if p.buy.late == nil {
		p.buy.late = map[piece.Block]bool{}
	}
	p.buy.late[b] = true
}

// late takes a unit that was given up on. If nobody else sent it, it is as
// good as any; else it is owed if it is right.
func (s *Swarm) late(now time.Time, p *peer, m *peerwire.Message) bool {
	b := blockOf(m)
	if !p.buy.late[b] {
		return false
	}
	delete(p.buy.late, b)
	leaf := s.trees.leaf(b)
	if wanted, _ := s.picker.Received(b); wanted {
		s.contributed(p, b)
		s.arrived(p)
		s.out.Verify = append(s.out.Verify, Verification{Block: b, Data: m.Data, Leaf: leaf})
		return true
	}
	if leaf != nil && sha256.Sum256(m.Data) == *leaf {
		p.buy.pending++
		s.deliveredUnit(now, p, b)
	}
	s.free(m)
	return true
}

// spoiledUnit takes back a unit that was false: it is not owed.
func (s *Swarm) spoiledUnit(p *peer) {
	if s.sold {
		p.buy.pending = max(0, p.buy.pending-1)
	}
}

// pay releases the link that pays all units up to a number.
func (s *Swarm) pay(now time.Time, p *peer, units uint64) {
	b := &p.buy
	if !b.agreed {
		return // it could not be counted
	}
	units = min(units, uint64(b.deal.Cap))
	if units <= b.links {
		return
	}
	link, ok := b.deal.Links.Link(uint32(units))
	if !ok {
		return
	}
	s.totals.Paid += units - b.links
	s.released(b, units)
	s.send(now, p, peerwire.Message{ID: peerwire.PayID, Rare: peerwire.Pay{Alias: b.deal.Commit.Alias, Index: uint32(units), Link: link}})
}

// released notes how deep the link is that the seller has.
func (s *Swarm) released(b *purchase, index uint64) {
	b.links, b.since = index, time.Time{}
	s.out.Pays.Record = append(s.out.Pays.Record, Record{Kind: RecordReleased, Commitment: b.id, Index: uint32(index)})
}

// advancePurchase pays what has waited long enough.
func (s *Swarm) advancePurchase(now time.Time, p *peer) {
	b := &p.buy
	if b.since.IsZero() || b.deal == nil {
		return
	}
	if now.Sub(b.since) >= payAfter {
		s.pay(now, p, b.verified)
	} else {
		s.wake(b.since.Add(payAfter))
	}
}
