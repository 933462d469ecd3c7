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
	// payAtOnce is the most units that wait to be paid.
	payAtOnce = 16
	// trustGrowth is how many paid units earn one of credit (section 4).
	trustGrowth = 16
	// raisePause is how long a cap that could not be raised is left alone.
	raisePause = 5 * time.Second
	// prepaid is how many units are paid ahead, at most (P2).
	prepaid = 1
)

// Deal is a commitment of ours that the ledger has registered.
type Deal struct {
	Commit peerwire.PayCommit
	Links  Links  // of its chain
	Cap    uint32 // registered
	Index  uint32 // links released before
}

// Links are the links of a chain: *payment.Chain.
type Links interface {
	Link(i uint32) (payment.Link, bool)
}

// purchase is what we have from a seller. Verified units are paid soon; one
// may be paid ahead (P2): links <= verified + 1.
type purchase struct {
	early   *peerwire.PayTerms // that came before we knew the torrent
	terms   bool               // accepted
	buying  bool               // Bought will come
	deal    *Deal
	id      payment.CommitmentID // of its commitment
	agreed  bool                 // the seller knows that the commitment is registered
	raising bool

	links    uint64 // released
	verified uint64 // units, those of earlier connections with the deal included
	pending  int    // units here, not yet verified
	window   uint64 // units that the seller serves unpaid, as it said
	since    time.Time
	// raiseAgain is when a cap may be asked for that could not be had; zero:
	// none is waited for.
	raiseAgain time.Time
	// late are units that we gave up on: they are owed all the same if they
	// come and are right.
	late map[piece.Block]bool
}

// maxLate bounds them: what was asked for once.
const maxLate = maxDepth

// onTerms takes a seller's offer. Only the ledger's own price is paid.
func (s *Swarm) onTerms(now time.Time, p *peer, t peerwire.PayTerms) error {
	b := &p.buy
	if t.Unit != piece.BlockSize || t.Price != s.price || t.Epoch != s.epoch {
		s.send(now, p, peerwire.Message{ID: peerwire.PayErrorID, Rare: peerwire.PayError{Code: PayErrorTerms, Text: "the price is not the ledger's"}})
		return nil
	}
	b.terms, b.window = true, uint64(max(t.Floor, t.Window))
	s.buy(p)
	return nil
}

// buy asks for a commitment to a seller that has what we need.
func (s *Swarm) buy(p *peer) {
	b := &p.buy
	if !b.terms || b.buying || b.deal != nil || !p.weInterested || p.dropped || !s.cfg.Pays {
		return
	}
	b.buying = true
	s.out.Pays.Buy = append(s.out.Pays.Buy, Purchase{p.id, p.account, s.unitsLeft()})
}

// payAll pays everybody what is due: a piece is whole, or this is the end.
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

// unitsLeft is how many units are still missing.
func (s *Swarm) unitsLeft() uint64 {
	return uint64((s.left() + piece.BlockSize - 1) / piece.BlockSize)
}

// Bought brings a deal, registered on the ledger; nil: there is none to be had.
func (s *Swarm) Bought(now time.Time, id PeerID, d *Deal) {
	s.input()
	p := s.peers[id]
	if p == nil || p.dropped {
		return
	}
	b := &p.buy
	b.buying = false
	if d == nil {
		return
	}
	b.deal, b.id, b.links, b.verified = d, d.Commit.Commitment.ID(), uint64(d.Index), uint64(d.Index)
	s.send(now, p, peerwire.Message{ID: peerwire.PayCommitID, Rare: d.Commit})
}

// onStatus takes what the seller's ledger says of our commitment.
func (s *Swarm) onStatus(now time.Time, p *peer, st peerwire.PayStatus) error {
	b := &p.buy
	if b.deal == nil || st.Alias != b.deal.Commit.Alias {
		return errPayUnknown
	}
	switch st.State {
	case peerwire.PayRegistered:
		b.agreed = true
		s.refill(now, p)
	case peerwire.PayRefused, peerwire.PayClosed:
		b.agreed = false
	}
	return nil
}

// capBought takes a higher cap of our own commitment.
func (s *Swarm) capBought(now time.Time, p *peer, e payment.LedgerEvent) {
	b := &p.buy
	if b.deal == nil || b.id != e.Commitment || e.Cap <= b.deal.Cap {
		return
	}
	b.deal.Cap, b.raising = e.Cap, false
	s.send(now, p, peerwire.Message{ID: peerwire.PayTopUpID, Rare: peerwire.PayTopUp{Alias: b.deal.Commit.Alias, Cap: e.Cap}})
	s.refill(now, p)
}

// onAck takes how far the seller has counted.
func (s *Swarm) onAck(now time.Time, p *peer, a peerwire.PayAck) error {
	b := &p.buy
	if b.deal == nil || a.Alias != b.deal.Commit.Alias {
		return errPayUnknown
	}
	b.window = uint64(a.Window)
	s.refill(now, p)
	return nil
}

// onHold pays what is due: the seller waits for it.
func (s *Swarm) onHold(now time.Time, p *peer, h peerwire.PayHold) error {
	b := &p.buy
	if b.deal == nil || h.Alias != b.deal.Commit.Alias {
		return errPayUnknown
	}
	s.pay(now, p, b.verified)
	return nil
}

// credit is how many units the seller serves unpaid: what it said, or what our
// links have earned since (section 4).
func (b *purchase) credit() uint64 {
	return min(max(b.window, b.links/trustGrowth), payment.MaxWindow)
}

// affordable is how many more units may be asked of a peer: within its window,
// one ahead, and the cap.
func (s *Swarm) affordable(p *peer) int {
	if !s.sold {
		return maxDepth
	}
	b := &p.buy
	if b.deal == nil || !b.agreed {
		return 0
	}
	out := uint64(p.asked.len() + b.pending)
	window := b.credit() + prepaid
	cap := uint64(b.deal.Cap) - min(uint64(b.deal.Cap), b.verified)
	s.raise(p, cap, out)
	room := min(window, cap)
	return int(room - min(room, out))
}

// raise asks for a higher cap before the cap is reached.
func (s *Swarm) raise(p *peer, left, out uint64) {
	b := &p.buy
	all := b.deal.Commit.Commitment.Links
	if b.raising || b.deal.Cap >= all || left > out+uint64(b.deal.Cap)/2 {
		return
	}
	b.raising = true
	more := min(uint64(all), 2*uint64(b.deal.Cap), b.verified+s.unitsLeft())
	if more < uint64(b.deal.Cap)+uint64(b.deal.Cap+3)/4 {
		more = min(uint64(all), uint64(b.deal.Cap)+uint64(b.deal.Cap+3)/4) // a top-up is a quarter at least
	}
	s.out.Pays.Raise = append(s.out.Pays.Raise, Raise{b.id, uint32(more)})
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

// tickPurchase lets a cap be asked for again that could not be had.
func (s *Swarm) tickPurchase(now time.Time, p *peer) {
	b := &p.buy
	if !b.raiseAgain.IsZero() && !now.Before(b.raiseAgain) {
		b.raising, b.raiseAgain = false, time.Time{}
	}
}

// payAhead releases the link without which a request would not be served: what
// is asked for goes beyond what the seller lends.
func (s *Swarm) payAhead(now time.Time, p *peer, more int) {
	b := &p.buy
	if !s.sold || b.deal == nil || more == 0 {
		return
	}
	asked := b.verified + uint64(p.asked.len()+b.pending)
	if need := asked - min(asked, b.credit()); need > b.links {
		s.pay(now, p, min(need, b.verified+prepaid))
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
	if !s.sold || k.deal == nil {
		return
	}
	k.pending--
	k.verified++
	s.out.Pays.Record = append(s.out.Pays.Record, Record{Kind: RecordOwed, Commitment: k.id, Unit: s.unitOf(b)})
	if k.verified <= k.links {
		s.refill(now, p)
		return // paid ahead
	}
	if due := k.verified - k.links; due >= max(1, min(k.credit()/4, payAtOnce)) {
		s.pay(now, p, k.verified)
	} else if k.since.IsZero() {
		k.since = now
		s.wake(now.Add(payAfter))
	}
	s.refill(now, p)
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
		p.buy.pending--
	}
}

// pay releases the link that pays all units up to a number.
func (s *Swarm) pay(now time.Time, p *peer, units uint64) {
	b := &p.buy
	units = min(units, uint64(b.deal.Cap))
	if units <= b.links {
		return
	}
	link, ok := b.deal.Links.Link(uint32(units))
	if !ok {
		return
	}
	s.totals.Paid += units - b.links
	b.links, b.since = units, time.Time{}
	s.send(now, p, peerwire.Message{ID: peerwire.PayID, Rare: peerwire.Pay{Alias: b.deal.Commit.Alias, Index: uint32(units), Link: link}})
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
