package wallet

import (
	"bytes"
	"fmt"

	"torrente/payment"
)

// load reads wallet.db into memory: all but books, history and the bytes of
// transactions, whose rows are only checked.
func (w *Wallet) load() error {
	if err := w.loadMeta(); err != nil {
		return err
	}
	w.bought.openings = map[payment.CommitmentID]*opening{}
	w.bought.intentions = map[payment.IntentionID]Intention{}
	w.sold.claims = map[payment.CommitmentID]*claim{}
	for _, step := range [...]struct {
		bucket []byte
		row    func(key, value []byte) bool
	}{
		{openingBucket, w.bought.loadOpening},
		{owedBucket, w.bought.loadOwed},
		{intentionBucket, w.bought.loadIntention},
		{claimBucket, w.sold.loadClaim},
		{submissionBucket, func(k, v []byte) bool { return len(k) == requestBytes && len(v) > orderBytes }},
		{bookBucket, func(k, _ []byte) bool { return len(k) == len(payment.Account{}) }},
		{historyBucket, func(k, _ []byte) bool { return len(k) == orderBytes }},
	} {
		err := w.each(step.bucket, func(k, v []byte) error {
			if !step.row(k, v) {
				return damagedRow(step.bucket, k)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// loadMeta checks whose wallet it is, and opens the secret.
func (w *Wallet) loadMeta() error {
	rows := map[string][]byte{}
	err := w.each(metaBucket, func(k, v []byte) error {
		rows[string(k)] = bytes.Clone(v)
		return nil
	})
	if err != nil {
		return err
	}
	owner := append(w.config.Account[:], w.config.Ledger[:]...)
	switch stored := rows[string(metaOwner)]; {
	case len(stored) != len(owner):
		return damagedRow(metaBucket, metaOwner)
	case !bytes.Equal(stored, owner):
		return fmt.Errorf("it belongs to account %x on ledger %x: %w", stored[:32], stored[32:], ErrAccount)
	}
	w.secret, err = openSecret(&w.config, rows[string(metaSecret)])
	return err
}
