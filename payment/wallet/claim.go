package wallet

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/crypto/cryptobyte"

	"torrente/internal/failpoint"
	"torrente/payment"
)

// Claim is a commitment that pays this account, and how far.
type Claim struct {
	Commitment payment.Commitment
	Signature  payment.Signature
	Best       payment.Claim        // the deepest link counted; index 0 and the root at first
	Redeemed   uint32               // index that the ledger has paid
	Close      *payment.SignedClose // nil until signed
	Ended      bool                 // on the ledger: nothing can be redeemed any more
}

// Deepest returns the index up to which the ledger would pay: that of the best
// link, or the final one of a signed close.
func (c *Claim) Deepest() uint32 {
	if c.Close != nil {
		return min(c.Best.Index, c.Close.Final)
	}
	return c.Best.Index
}

// Redeemable returns the units that the ledger would pay at now.
func (c *Claim) Redeemable(now time.Time) uint32 {
	if c.Ended || c.Deepest() <= c.Redeemed || c.Expired(now) {
		return 0
	}
	return c.Deepest() - c.Redeemed
}

// Expired reports whether nothing can be redeemed any more at now.
func (c *Claim) Expired(now time.Time) bool {
	return uint64(max(now.Unix(), 0)) >= c.Commitment.Expiry
}

// Worth returns the coins of so many of its units.
func (c *Claim) Worth(units uint32) payment.Amount {
	coins, _ := c.Commitment.Price.Mul(uint64(units)) // Check says that the whole chain's fit
	return coins
}

// claim is what memory holds of one.
type claim struct {
	Claim
	id    payment.CommitmentID
	final bool // closed or ended, or a close is being written: counts no link
	dirty bool // wallet.db lacks its best link
}

// sold is the receiver's half of a wallet.
type sold struct {
	mu     sync.Mutex // guards the following; held during writes to log, and folds
	claims map[payment.CommitmentID]*claim
	log    appendLog
}

// append adds the row: commitment 256, signature 64, best index u32, link 32,
// redeemed u32, ended u8, and the signed close if there is one.
func (c *Claim) append(b []byte) []byte {
	b = c.Commitment.Append(b)
	b = append(b, c.Signature[:]...)
	b = binary.BigEndian.AppendUint32(b, c.Best.Index)
	b = append(b, c.Best.Link[:]...)
	b = binary.BigEndian.AppendUint32(b, c.Redeemed)
	b = appendBool(b, c.Ended)
	if c.Close != nil {
		b = c.Close.Append(b)
	}
	return b
}

func parseClaim(b []byte) (c Claim, ok bool) {
	in := cryptobyte.String(b)
	ok = readCommitment(&in, &c.Commitment) && in.CopyBytes(c.Signature[:]) &&
		in.ReadUint32(&c.Best.Index) && in.CopyBytes(c.Best.Link[:]) &&
		in.ReadUint32(&c.Redeemed) && readBool(&in, &c.Ended) &&
		max(c.Best.Index, c.Redeemed) <= c.Commitment.Links
	if ok && !in.Empty() {
		c.Close, ok = payment.ReadSignedClose(&in)
		ok = ok && in.Empty() && c.Close.Commitment == c.Commitment.ID()
	}
	return c, ok
}

func (s *sold) loadClaim(key, value []byte) bool {
	c, ok := parseClaim(value)
	id := c.Commitment.ID()
	if !ok || string(id[:]) != string(key) {
		return false
	}
	s.claims[id] = &claim{Claim: c, id: id, final: c.Close != nil || c.Ended}
	return true
}

func (c *claim) fold(tx *bolt.Tx) error { return put(tx, claimBucket, c.id[:], c.append(nil)) }

func (c *claim) unfolded() bool { return c.dirty }

func (c *claim) folded() { c.dirty = false }

// SaveClaim keeps a commitment to this account durably, before its first link
// is counted. One that is held already stays as it is. The caller has verified
// the signature. The errors are ErrForeign, payment.ErrCommitment, and those of
// the disk.
func (w *Wallet) SaveClaim(c *payment.Commitment, sig payment.Signature) error {
	if err := c.Check(); err != nil {
		return err
	}
	id := c.ID()
	if c.Receiver != w.config.Account || c.Ledger != w.config.Ledger {
		return fmt.Errorf("%w: %s", ErrForeign, id)
	}
	return w.durably(func() error {
		if _, held := w.Claim(id); held {
			return nil
		}
		fresh := &claim{id: id, Claim: Claim{Commitment: *c, Signature: sig, Best: c.Start()}}
		failpoint.Hit("wallet.claim.write")
		if err := w.update(fresh.fold); err != nil {
			return err
		}
		failpoint.Hit("wallet.claim.written")
		w.sold.mu.Lock()
		defer w.sold.mu.Unlock()
		w.sold.claims[id] = fresh
		return nil
	})
}

// Claims returns all that are not forgotten, those that expire first first.
func (w *Wallet) Claims() []Claim {
	s := &w.sold
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Claim, 0, len(s.claims))
	for _, id := range slices.SortedFunc(maps.Keys(s.claims), compareIDs) {
		all = append(all, s.claims[id].Claim)
	}
	slices.SortStableFunc(all, func(a, b Claim) int {
		return int(int64(a.Commitment.Expiry) - int64(b.Commitment.Expiry)) // both at most payment.MaxTime
	})
	return all
}

// Claim returns one, and false if the wallet does not hold it.
func (w *Wallet) Claim(id payment.CommitmentID) (Claim, bool) {
	s := &w.sold
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.claims[id]; c != nil {
		return c.Claim, true
	}
	return Claim{}, false
}

// Redeemable sums what links say that the ledger owes this account at now: the
// units, and their coins at the price that each commitment fixed.
func (w *Wallet) Redeemable(now time.Time) (units uint64, coins payment.Amount) {
	s := &w.sold
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.claims {
		n := c.Redeemable(now)
		units += uint64(n)
		sum, fits := coins.Add(c.Worth(n))
		if !fits {
			sum = math.MaxUint64
		}
		coins = sum
	}
	return units, coins
}

// Redeemed keeps durably up to which index of each commitment the ledger has
// paid. It never goes back. What it was asked to pay, and has not answered, is a
// Submission. The errors are ErrUnknown, ErrRange, and those of the disk; after
// one nothing is kept.
func (w *Wallet) Redeemed(indexes map[payment.CommitmentID]uint32) error {
	return w.durably(func() error {
		changed := make([]claim, 0, len(indexes))
		for id, index := range indexes {
			c, held := w.Claim(id)
			switch {
			case !held:
				return fmt.Errorf("%w: %s", ErrUnknown, id)
			case index > c.Commitment.Links:
				return fmt.Errorf("%w: %d of %s", ErrRange, index, id)
			case index > c.Redeemed:
				c.Redeemed = index
				changed = append(changed, claim{Claim: c, id: id})
			}
		}
		if len(changed) == 0 {
			return nil
		}
		failpoint.Hit("wallet.redeemed.write")
		err := w.update(func(tx *bolt.Tx) error {
			for i := range changed {
				if err := changed[i].fold(tx); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		failpoint.Hit("wallet.redeemed.written")
		w.sold.mu.Lock()
		defer w.sold.mu.Unlock()
		for i := range changed {
			w.sold.claims[changed[i].id].Redeemed = changed[i].Redeemed
		}
		return nil
	})
}

func (s *sold) shut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log.broken = errShut
}
