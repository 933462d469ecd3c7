package wallet

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/crypto/cryptobyte"

	"torrente/internal/failpoint"
	"torrente/payment"
)

// The keys of submissions, and the number before their bytes.
const (
	requestBytes = 16
	orderBytes   = 8
)

// Intention is coins frozen for one torrent, or about to be.
type Intention struct {
	ID      payment.IntentionID
	Torrent payment.TorrentID
	Request payment.RequestID // of the Declare
	Units   uint64            // wanted
	Coins   payment.Amount    // asked to be frozen, in sum
}

// Reservation is what a transaction is about to do. It is on the disk before
// the transaction is sent the first time; then sending the same bytes again,
// after any crash, has the effect of once (P5).
type Reservation struct {
	Request payment.RequestID // of the transaction
	// Signed are the transaction's bytes. Nil: there is none to send.
	Signed []byte
	// Intention is what it declares or adds coins to, Openings the chains it
	// opens, Caps the caps it raises.
	Intention *Intention
	Openings  []Opening
	Caps      map[payment.CommitmentID]uint32
}

// Reserve keeps a reservation durably, all of it or nothing. The same again
// changes nothing: caps only rise, and of an opening that is held already only
// the cap is looked at. Of the openings Commitment, Signature, Request and Cap
// are used. The errors are ErrForeign, ErrUnknown, ErrFinal, ErrRange,
// ErrRequest, payment.ErrCommitment, and those of the disk.
func (w *Wallet) Reserve(r Reservation) error {
	return w.durably(func() error {
		changed, err := w.planned(&r)
		if err != nil {
			return err
		}
		failpoint.Hit("wallet.reserve.write")
		err = w.update(func(tx *bolt.Tx) error { return r.put(tx, changed) })
		if err != nil {
			return err
		}
		failpoint.Hit("wallet.reserve.written")
		w.bought.adopt(&r, changed)
		return nil
	})
}

// SetCap keeps a higher cap durably: Reserve with nothing else in it.
func (w *Wallet) SetCap(id payment.CommitmentID, units uint32) error {
	return w.Reserve(Reservation{Caps: map[payment.CommitmentID]uint32{id: units}})
}

// planned returns how the openings will be that a reservation makes or changes.
func (w *Wallet) planned(r *Reservation) (map[payment.CommitmentID]Opening, error) {
	b := &w.bought
	b.mu.Lock()
	defer b.mu.Unlock()
	changed := map[payment.CommitmentID]Opening{}
	caps := map[payment.CommitmentID]uint32{}
	for i := range r.Openings {
		o := &r.Openings[i]
		if err := w.checkOpening(o); err != nil {
			return nil, err
		}
		id := o.Commitment.ID()
		if b.openings[id] == nil {
			changed[id] = Opening{Commitment: o.Commitment, Signature: o.Signature, Request: o.Request}
		}
		caps[id] = max(caps[id], o.Cap)
	}
	for id, units := range r.Caps {
		caps[id] = max(caps[id], units)
	}
	for id, units := range caps {
		o, isNew := changed[id]
		if held := b.openings[id]; held != nil {
			o = held.Opening
		} else if !isNew {
			return nil, fmt.Errorf("%w: %s", ErrUnknown, id)
		}
		switch {
		case units > o.Commitment.Links:
			return nil, fmt.Errorf("%w: cap %d of %s", ErrRange, units, id)
		case o.Ended && units > o.Cap:
			return nil, fmt.Errorf("%w: %s", ErrFinal, id)
		}
		o.Cap = max(o.Cap, units)
		changed[id] = o
	}
	return changed, nil
}

func (w *Wallet) checkOpening(o *Opening) error {
	c := &o.Commitment
	if err := c.Check(); err != nil {
		return err
	}
	if c.Payer != w.config.Account || c.Ledger != w.config.Ledger {
		return fmt.Errorf("%w: %s", ErrForeign, c.ID())
	}
	if o.Cap == 0 {
		return fmt.Errorf("%w: cap 0 of %s", ErrRange, c.ID())
	}
	return nil
}

func (r *Reservation) put(tx *bolt.Tx, changed map[payment.CommitmentID]Opening) error {
	for id, o := range changed {
		if err := put(tx, openingBucket, id[:], o.append(nil)); err != nil {
			return err
		}
	}
	if r.Intention != nil {
		if err := put(tx, intentionBucket, r.Intention.ID[:], r.Intention.append(nil)); err != nil {
			return err
		}
	}
	if r.Signed == nil {
		return nil
	}
	return putSubmission(tx, r.Request, r.Signed)
}

// putSubmission numbers the transactions in the order in which they came.
func putSubmission(tx *bolt.Tx, request payment.RequestID, signed []byte) error {
	b := tx.Bucket(submissionBucket)
	if b == nil {
		return fmt.Errorf("%w (%s has no %s)", ErrDamaged, dbName, submissionBucket)
	}
	if held := b.Get(request[:]); held != nil {
		value, ok := unseal(submissionBucket, request[:], held)
		switch {
		case !ok || len(value) < orderBytes:
			return damagedRow(submissionBucket, request[:])
		case !bytes.Equal(value[orderBytes:], signed):
			return fmt.Errorf("%w: %s", ErrRequest, request)
		}
		return nil
	}
	order, err := b.NextSequence()
	if err != nil {
		return err
	}
	value := append(binary.BigEndian.AppendUint64(nil, order), signed...)
	return put(tx, submissionBucket, request[:], value)
}

// adopt takes into memory what is on the disk now. Links released and units
// owed have gone on meanwhile, so only the cap is taken of what was there.
func (b *bought) adopt(r *Reservation, changed map[payment.CommitmentID]Opening) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, o := range changed {
		if held := b.openings[id]; held != nil {
			held.Cap = o.Cap
		} else {
			b.openings[id] = newOpening(id, o)
		}
	}
	if r.Intention != nil {
		b.intentions[r.Intention.ID] = *r.Intention
	}
}

// append adds the row: torrent 32, request 16, units u64, coins u64.
func (i *Intention) append(b []byte) []byte {
	b = append(append(b, i.Torrent[:]...), i.Request[:]...)
	b = binary.BigEndian.AppendUint64(b, i.Units)
	return binary.BigEndian.AppendUint64(b, uint64(i.Coins))
}

func parseIntention(id payment.IntentionID, b []byte) (Intention, bool) {
	i := Intention{ID: id}
	in := cryptobyte.String(b)
	ok := in.CopyBytes(i.Torrent[:]) && in.CopyBytes(i.Request[:]) &&
		in.ReadUint64(&i.Units) && in.ReadUint64((*uint64)(&i.Coins)) && in.Empty()
	return i, ok
}

func (b *bought) loadIntention(key, value []byte) bool {
	if len(key) != len(payment.IntentionID{}) {
		return false
	}
	i, ok := parseIntention(payment.IntentionID(key), value)
	b.intentions[i.ID] = i
	return ok
}

// Intentions returns those that were declared here and are not closed, in the
// order of their ids.
func (w *Wallet) Intentions() []Intention {
	b := &w.bought
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.SortedFunc(maps.Values(b.intentions), func(x, y Intention) int {
		return slices.Compare(x.ID[:], y.ID[:])
	})
}

// IntentionClosed drops an intention that is closed on the ledger, durably.
func (w *Wallet) IntentionClosed(id payment.IntentionID) error {
	return w.durably(func() error {
		err := w.update(func(tx *bolt.Tx) error { return remove(tx, intentionBucket, id[:]) })
		if err == nil {
			w.bought.mu.Lock()
			delete(w.bought.intentions, id)
			w.bought.mu.Unlock()
		}
		return err
	})
}

// Submission is a transaction whose outcome is not known.
type Submission struct {
	Request payment.RequestID
	Signed  []byte
}

// PendingSubmissions returns the reserved transactions that are not done, in
// the order in which they were reserved. They are sent again as they are.
func (w *Wallet) PendingSubmissions() ([]Submission, error) {
	var all []Submission
	var order []uint64
	err := w.each(submissionBucket, func(k, v []byte) error {
		n := binary.BigEndian.Uint64(v)
		at, _ := slices.BinarySearch(order, n)
		order = slices.Insert(order, at, n)
		all = slices.Insert(all, at, Submission{payment.RequestID(k), bytes.Clone(v[orderBytes:])})
		return nil
	})
	return all, err
}

// DoneSubmission forgets a transaction whose outcome is known, durably. One
// that was forgotten is no error.
func (w *Wallet) DoneSubmission(request payment.RequestID) error {
	return w.durably(func() error {
		failpoint.Hit("wallet.submission.done")
		return w.update(func(tx *bolt.Tx) error { return remove(tx, submissionBucket, request[:]) })
	})
}
