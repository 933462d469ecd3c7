package contract

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"torrente/payment"
)

// ErrBooks means that a State breaks an invariant: coins appeared or vanished,
// or more is owed than was frozen.
var ErrBooks = errors.New("the ledger's books do not balance")

// Books are the totals of a State.
type Books struct {
	Minted      payment.Amount `json:"minted"`
	Balance     payment.Amount `json:"balance"` // of all accounts
	Unswept     payment.Amount `json:"unswept"`
	Frozen      payment.Amount `json:"frozen"`
	Intentions  uint64         `json:"intentions"`
	Commitments uint64         `json:"commitments"`
}

// Available returns what accounts can use: balance and unswept credits.
func (b *Books) Available() payment.Amount { return b.Balance + b.Unswept }

// Conserved reports whether every coin that was minted is somewhere, once (L1).
func (b *Books) Conserved() bool {
	available, ok := b.Balance.Add(b.Unswept)
	sum, fits := available.Add(b.Frozen)
	return ok && fits && sum == b.Minted
}

// Audit walks all rows of a State, adds them up anew, and checks conservation
// (L1), the solvency of every intention (L2), the order of redeemed, cap and
// links of every commitment (L3), and that more than half of the organisations
// agreed to what passed, and to every coin minted since the beginning (L9). Organisations'
// rows must have the roots that rows of their own say, and be those of the list. The errors are ErrBooks, with the row that is
// wrong, and the Reader's.
func Audit(st Reader) (Books, error) {
	v := view{st}
	var b Books
	var l ledgerRow
	if ok, err := v.read(keyLedger, &l); err != nil || !ok {
		return b, errors.Join(err, ErrNoLedger)
	}
	var err error
	if b.Minted, err = v.minted(&l); err != nil {
		return b, err
	}
	if err := v.auditProposals(int(l.founders)); err != nil {
		return b, err
	}
	if err := v.auditRoots(); err != nil {
		return b, err
	}
	if b.Balance, err = v.sumCoins("acct/"); err != nil {
		return b, err
	}
	if b.Unswept, err = v.sumCoins("cr/"); err != nil {
		return b, err
	}
	if err := v.auditIntentions(&b); err != nil {
		return b, err
	}
	if err := v.countCommitments(b.Commitments); err != nil {
		return b, err
	}
	if !b.Conserved() {
		return b, fmt.Errorf("%w: %s available and %s frozen, %s minted", ErrBooks, b.Available(), b.Frozen, b.Minted)
	}
	return b, nil
}

// auditRoots compares the roots in each organisation's row with those that have
// rows of their own.
func (v view) auditRoots() error {
	trusted := map[string][][]byte{}
	err := v.walk("ca/", func(rest string, value []byte) error {
		var a authority
		if err := decodeRow("ca/"+rest, value, &a); err != nil {
			return err
		}
		if msp, _, _ := strings.Cut(rest, "/"); a.trusted {
			trusted[msp] = append(trusted[msp], a.certificate)
		}
		return nil
	})
	if err != nil {
		return err
	}
	all, err := v.organisations()
	if err != nil {
		return err
	}
	var found organisationList
	err = v.walk("org/", func(msp string, value []byte) error {
		found = append(found, msp)
		var o organisation
		if err := decodeRow("org/"+msp, value, &o); err != nil {
			return err
		}
		for _, list := range [][][]byte{o.roots, trusted[msp]} {
			slices.SortFunc(list, bytes.Compare)
		}
		if !slices.EqualFunc(o.roots, trusted[msp], bytes.Equal) {
			return fmt.Errorf("%w: %s has %d roots in its row, and others or %d in theirs", ErrBooks, msp, len(o.roots), len(trusted[msp]))
		}
		return nil
	})
	if err != nil {
		return err
	}
	if slices.Sort(found); !slices.Equal(found, all) { // on Fabric rows come in another order
		return fmt.Errorf("%w: the list of organizations is %v, and rows are there of %v", ErrBooks, all, found)
	}
	return nil
}

func (v view) auditIntentions(b *Books) error {
	return v.walk("int/", func(rest string, value []byte) error {
		var id payment.IntentionID
		var i intention
		if err := id.UnmarshalText([]byte(rest)); err != nil {
			return err
		}
		if err := decodeRow("int/"+rest, value, &i); err != nil {
			return err
		}
		frozen, commitments, err := v.auditIntention(id, &i)
		if err != nil {
			return err
		}
		b.Intentions++
		b.Commitments += commitments
		var ok bool
		if b.Frozen, ok = b.Frozen.Add(frozen); !ok {
			return fmt.Errorf("%w: more is frozen than 64 bits hold", ErrBooks)
		}
		return nil
	})
}

// auditIntention adds up an intention's commitments and compares.
func (v view) auditIntention(id payment.IntentionID, i *intention) (frozen payment.Amount, commitments uint64, err error) {
	var sum struct{ reserved, redeemed, open uint64 }
	err = v.walk(hexed(byIntention, id)+"/", func(rest string, _ []byte) error {
		var c payment.CommitmentID
		if err := c.UnmarshalText([]byte(rest)); err != nil {
			return err
		}
		info, err := v.auditCommitment(c, id)
		if err != nil {
			return err
		}
		commitments++
		sum.redeemed += uint64(info.Redeemed)
		switch {
		case info.Settled:
			sum.reserved += uint64(info.Final)
		case info.Released:
			sum.reserved += uint64(info.Final)
			sum.open++
		default:
			sum.reserved += uint64(info.Cap)
			sum.open++
		}
		return nil
	})
	if err != nil {
		return 0, 0, err
	}
	if sum.reserved != i.reserved || sum.open != uint64(i.open) {
		return 0, 0, fmt.Errorf("%w: intention %v reserves %d units for %d commitments, they have %d and are %d",
			ErrBooks, id, i.reserved, i.open, sum.reserved, sum.open)
	}
	if _, ok := i.unreserved(); !ok {
		return 0, 0, fmt.Errorf("%w: intention %v owes more than its %s coins", ErrBooks, id, i.funds)
	}
	info, err := v.intentionInfo(id)
	if err != nil {
		return 0, 0, err
	}
	if closed := i.closed && i.open == 0; closed && info.Frozen != 0 {
		return 0, 0, fmt.Errorf("%w: intention %v is over and keeps %s coins", ErrBooks, id, info.Frozen)
	}
	return info.Frozen, commitments, nil
}

// auditCommitment checks that redeemed <= final or cap <= links.
func (v view) auditCommitment(c payment.CommitmentID, id payment.IntentionID) (*CommitmentInfo, error) {
	info, err := v.commitmentInfo(c)
	if err != nil {
		return nil, err
	}
	if info == nil {
		return nil, fmt.Errorf("%w: commitment %v of intention %v is missing", ErrBooks, c, id)
	}
	com, err := info.Parse()
	if err != nil {
		return nil, err
	}
	limit := info.Cap
	if info.Released || info.Settled {
		limit = info.Final
	}
	if com.ID() != c || com.Intention != id || info.Redeemed > limit || limit > info.Cap || info.Cap > com.Links {
		return nil, fmt.Errorf("%w: commitment %v: redeemed %d, final %d, cap %d, links %d",
			ErrBooks, c, info.Redeemed, info.Final, info.Cap, com.Links)
	}
	return info, nil
}

// countCommitments finds commitments that belong to no intention.
func (v view) countCommitments(want uint64) error {
	var n uint64
	if err := v.walk("com/", func(string, []byte) error { n++; return nil }); err != nil {
		return err
	}
	if n != want {
		return fmt.Errorf("%w: %d commitments, of which %d belong to an intention", ErrBooks, n, want)
	}
	return nil
}
