package wallet

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"torrente/payment"
)

// MaxHistory is how many events a wallet keeps; older ones go.
const MaxHistory = 10_000

// maxEventText bounds Event.Text, in bytes.
const maxEventText = 1 << 10

// The kinds of events that the node writes.
const (
	EventDeclared  = "declared"  // coins were frozen for a torrent
	EventAdded     = "added"     // more of them
	EventOpened    = "opened"    // a commitment to a seller
	EventReleased  = "released"  // a seller's close was filed
	EventReclaimed = "reclaimed" // coins that were frozen came back
	EventInherited = "inherited" // coins of an account that was reassigned to this one
	EventRedeemed  = "redeemed"  // links became coins
	EventExpired   = "expired"   // links that nobody redeemed in time
	EventRecovered = "recovered" // the ledger knew what the wallet did not
	EventRenewed   = "renewed"   // the certificate
	EventLimit     = "limit"     // the wallet's limit was set
)

// Event is a line of the wallet's history, for its owner to read.
type Event struct {
	At         time.Time            `json:"at"`
	Kind       string               `json:"kind"` // one of the constants
	Torrent    payment.TorrentID    `json:"torrent,omitzero"`
	Account    payment.Account      `json:"account,omitzero"` // the other side
	Commitment payment.CommitmentID `json:"commitment,omitzero"`
	Units      uint64               `json:"units,omitzero"`
	Coins      payment.Amount       `json:"coins,omitzero"`
	Text       string               `json:"text,omitzero"`
}

// AddEvent adds to the history, durably. Nothing else depends on it.
func (w *Wallet) AddEvent(e Event) error { return w.AddEvents([]Event{e}) }

// AddEvents is AddEvent for several, in their order, all or none.
func (w *Wallet) AddEvents(events []Event) error {
	if len(events) == 0 {
		return nil
	}
	values := make([][]byte, 0, len(events))
	for _, e := range events {
		if len(e.Kind)+len(e.Text) > maxEventText {
			return fmt.Errorf("an event of %d bytes, more than %d", len(e.Kind)+len(e.Text), maxEventText)
		}
		e.At = e.At.UTC()
		value, err := json.Marshal(e)
		if err != nil {
			return fmt.Errorf("write an event: %w", err)
		}
		values = append(values, value)
	}
	return w.durably(func() error {
		return w.update(func(tx *bolt.Tx) error {
			for _, v := range values {
				if err := putEvent(tx, v); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

func putEvent(tx *bolt.Tx, value []byte) error {
	b := tx.Bucket(historyBucket)
	if b == nil {
		return fmt.Errorf("%w (%s has no %s)", ErrDamaged, dbName, historyBucket)
	}
	number, err := b.NextSequence()
	if err != nil {
		return err
	}
	if number > MaxHistory {
		if err := b.Delete(eventKey(number - MaxHistory)); err != nil {
			return err
		}
	}
	return put(tx, historyBucket, eventKey(number), value)
}

func eventKey(number uint64) []byte { return binary.BigEndian.AppendUint64(nil, number) }

// History returns the newest events, the newest first, at most limit of them.
func (w *Wallet) History(limit int) ([]Event, error) {
	var events []Event
	err := w.each(historyBucket, func(k, v []byte) error {
		var e Event
		if err := json.Unmarshal(v, &e); err != nil {
			return damagedRow(historyBucket, k)
		}
		events = append(events, e)
		return nil
	})
	events = events[max(0, len(events)-max(0, limit)):]
	slices.Reverse(events)
	return events, err
}
