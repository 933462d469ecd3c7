package swarm

import (
	"errors"
	"time"

	"torrente/payment"
	"torrente/peerwire"
)

// This file, sell.go, buy.go, unpaid.go, whole.go, resume.go, close.go and
// unheard.go are all of a Swarm that knows of payment. In a torrent that is free
// nothing in them happens.

// plainShare is the part of the connections, one in four, that peers which
// cannot pay may have of a sold torrent: they get metadata and hashes, and no
// data.
const plainShare = 4

// The reasons for which a paid connection ends.
var (
	errPayUnknown  = errors.New("a payment message about nothing that was agreed")
	errPayAgain    = errors.New("an alias that is in use")
	errCommitment  = errors.New("a commitment for other terms than ours")
	errLink        = errors.New("a link that is not of its chain")
	errPaidTooMuch = errors.New("a link for more than was served")
)

// The codes of pay error while a torrent is sold.
const (
	PayErrorTerms uint16 = 32 + iota // the price is not the ledger's
	PayErrorFunds                    // the buyer has not what the price asks
)

// Record is a fact that must be on disk before what follows it in Effects.
type Record struct {
	Kind       RecordKind
	Commitment payment.CommitmentID
	Claim      payment.Claim       // RecordLink
	Commit     *peerwire.PayCommit // RecordCommitment
	Index      uint32              // RecordReleased: the deepest link that was sent
}

// RecordKind says which fact.
type RecordKind uint8

// The records, and how safe each must be (payment protocol, section 6).
const (
	RecordCommitment RecordKind = iota // we were given a commitment: fsync, once the ledger has registered it
	RecordLink                         // we were given a link: write
	RecordReleased                     // we send a link: no hurry, the seller shows it to us
)

// Count is a link to be counted in the account's Book: Counted follows.
type Count struct {
	Peer       PeerID
	Commitment *payment.Commitment
	Index, Cap uint32
	// Resumed links are for units served on earlier connections: no more than
	// Ahead of them are still to be served.
	Resumed bool
	Ahead   uint32
}

// Loan asks the account's Book for units to serve unpaid, or gives some back.
type Loan struct {
	Peer    PeerID
	Account payment.Account
	Units   uint64
	// Again asks for a unit that was charged, and may have been lost on its
	// way, to be served again free.
	Again bool
}

// Meeting is what an account's Book knows when a connection begins.
type Meeting struct {
	Left   payment.Standing // of earlier connections, in this torrent
	Owed   uint64           // units, in all torrents
	Lease  uint64           // units lent at first
	Window uint64           // units that may be unpaid at once, Lease included
}

// Parting hands the account's Book what a connection leaves behind.
type Parting struct {
	Peer    PeerID
	Account payment.Account
	payment.Standing
}

// Purchase asks for a commitment to an account: Bought follows.
type Purchase struct {
	Peer    PeerID
	Account payment.Account
	Units   uint64 // that are missing; 0: what is owed is to be paid
	// Refused is a commitment that the seller does not know, or has ended.
	Refused payment.CommitmentID
}

// Raise asks for a higher cap of a commitment of ours: the ledger's event
// follows.
type Raise struct {
	Commitment payment.CommitmentID
	Cap        uint32 // units
}

// Resume asks for what was kept of a commitment to us: Resumed follows.
type Resume struct {
	Peer    PeerID
	Account payment.Account
	Said    peerwire.PayResume
}

// Ending asks for a signed close of a commitment to us: Closed follows.
type Ending struct {
	Peer       PeerID
	Commitment payment.CommitmentID
	Final      uint32
}

// Pays is what a Swarm wants done about payment.
type Pays struct {
	Record []Record
	// Owed are units that came and are right. Each is written (section 6) before
	// anything says that we have it.
	Owed   []payment.Delivery
	Meet   []Loan // Met follows
	Resume []Resume
	Count  []Count
	Lend   []Loan // Leased follows
	Return []Loan
	Hold   []Loan // their next request waits for a link
	Leave  []Parting
	Close  []Ending
	Buy    []Purchase
	Raise  []Raise
	// Attribute asks for units that are on disk and owed to nobody: Attributed
	// follows. A seller says that it served them.
	Attribute []Attribution
	// Released are closes that sellers signed of our commitments.
	Released []payment.SignedClose
	// Watch are commitments of which the ledger is asked: Ledger follows.
	Watch []payment.CommitmentID
}

func (p *Pays) reset() {
	*p = Pays{
		Record: p.Record[:0], Owed: p.Owed[:0], Meet: p.Meet[:0], Resume: p.Resume[:0], Count: p.Count[:0], Lend: p.Lend[:0],
		Return: p.Return[:0], Hold: p.Hold[:0], Leave: p.Leave[:0], Close: p.Close[:0], Buy: p.Buy[:0],
		Raise: p.Raise[:0], Attribute: p.Attribute[:0], Released: p.Released[:0], Watch: p.Watch[:0],
	}
}

// plain counts the connected peers that cannot pay.
func (s *Swarm) plain() (n int) {
	for _, p := range s.order {
		if !p.about.Pay && !p.dropped {
			n++
		}
	}
	return n
}

// Authenticated tells who is at the other end of a connection. The newest
// connection of an account to a torrent wins.
func (s *Swarm) Authenticated(now time.Time, id PeerID, account payment.Account) {
	s.input()
	p := s.peers[id]
	if p == nil || p.dropped {
		return
	}
	for _, o := range s.snapshot() {
		if o != p && o.account == account {
			s.drop(o, errReplaced)
		}
	}
	p.account = account
	s.meet(p)
	if p.interested {
		s.unchokeIfFree(now, p)
	}
}

// mayServe reports whether a peer may have a slot: of a sold torrent only one
// whose account is known. What it gets there is up to feedSold.
func (s *Swarm) mayServe(p *peer) bool { return !s.sold || !p.account.IsZero() && !p.doubted }

// Ledger tells what a transaction did.
func (s *Swarm) Ledger(now time.Time, e payment.LedgerEvent) {
	s.input()
	switch e.Kind {
	case payment.EventPrice:
		s.price, s.epoch, s.before = e.Price, e.Epoch, e.Before
		for _, p := range s.order {
			s.offer(now, p)
			if t := p.buy.early; t != nil && s.picker != nil && s.epoch != 0 {
				p.buy.early = nil
				if err := s.onTerms(now, p, *t); err != nil {
					s.drop(p, err)
				}
			}
		}
	case payment.EventOpened, payment.EventCap:
		for _, p := range s.order {
			s.capSold(now, p, e)
			s.capBought(now, p, e)
		}
	case payment.EventReleased, payment.EventRefunded:
		for _, p := range s.order {
			s.endSold(now, p, e.Commitment)
		}
	}
}

// onPay takes a payment message; it came sealed, from an account that we know.
func (s *Swarm) onPay(now time.Time, p *peer, m *peerwire.Message) error {
	if s.picker == nil { // its metadata is ahead of ours
		switch r := m.Rare.(type) {
		case peerwire.PayTerms:
			p.buy.early = &r
			return nil
		case peerwire.PayUnpaid:
			return s.onUnpaid(now, p, r)
		}
	}
	if !s.sold || s.picker == nil || p.account.IsZero() {
		return errPayUnknown
	}
	switch r := m.Rare.(type) {
	case peerwire.PayTerms:
		return s.onTerms(now, p, r)
	case peerwire.PayCommit:
		return s.onCommit(now, p, r)
	case peerwire.PayStatus:
		return s.onStatus(now, p, r)
	case peerwire.Pay:
		return s.onLink(now, p, r)
	case peerwire.PayAck:
		return s.onAck(now, p, r)
	case peerwire.PayTopUp:
		return s.onTopUp(p, r)
	case peerwire.PayHold:
		return s.onHold(now, p, r)
	case peerwire.PayUnpaid:
		return s.onUnpaid(now, p, r)
	case peerwire.PayResume:
		return s.onResume(now, p, r)
	case peerwire.PayClose:
		return s.onClose(now, p, r)
	}
	return nil // what later versions say besides
}

// wake asks for Advance at a time before the next tick.
func (s *Swarm) wake(at time.Time) {
	if s.payTimer.IsZero() || at.Before(s.payTimer) {
		s.payTimer = at
	}
}

// advancePay does what payment has to do at its own times.
func (s *Swarm) advancePay(now time.Time) {
	if s.payTimer.IsZero() || now.Before(s.payTimer) {
		return
	}
	s.payTimer = time.Time{}
	for _, p := range s.order {
		if !p.dropped {
			s.advanceSale(now, p)
			s.advancePurchase(now, p)
		}
	}
}
