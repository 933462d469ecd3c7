package node

import (
	"fmt"
	"time"

	"torrente/payment"
	"torrente/payment/wallet"
)

// Note adds to the wallet's history, in which nothing is so important that what
// it tells of should fail: a disk that cannot be written is told by the next
// record that matters.
func (m *Membership) Note(now time.Time, events ...wallet.Event) {
	for i := range events {
		events[i].At = now
	}
	_ = m.Wallet.AddEvents(events)
}

// count writes a number of things, for people.
func count[N ~int | ~uint64](n N, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", uint64(n), thing)
}

// noteFrozen says that coins were frozen for units of a torrent: declared or
// added.
func (m *Membership) noteFrozen(now time.Time, kind string, t payment.TorrentID, units uint64, coins payment.Amount) {
	m.Note(now, wallet.Event{Kind: kind, Torrent: t, Units: units, Coins: coins})
}

// noteOpened says that a seller was promised so many units at first.
func (m *Membership) noteOpened(now time.Time, c *payment.Commitment, units uint32) {
	coins, _ := c.Price.Mul(uint64(units)) // a part of what is frozen
	m.Note(now, wallet.Event{
		Kind: wallet.EventOpened, Torrent: c.Torrent, Account: c.Receiver, Commitment: c.ID(), Units: uint64(units), Coins: coins,
	})
}

// noteReleased says that a seller's close was filed: so much it is paid.
func (m *Membership) noteReleased(now time.Time, close *payment.SignedClose) {
	o, ok := m.Wallet.Opening(close.Commitment)
	if !ok {
		return
	}
	c := &o.Commitment
	coins, _ := c.Price.Mul(uint64(close.Final)) // likewise
	m.Note(now, wallet.Event{
		Kind: wallet.EventReleased, Torrent: c.Torrent, Account: c.Receiver, Commitment: close.Commitment,
		Units: uint64(close.Final), Coins: coins,
	})
}

// noteReclaimed says that coins of a torrent came back.
func (m *Membership) noteReclaimed(now time.Time, t payment.TorrentID, coins payment.Amount) {
	if coins > 0 {
		m.Note(now, wallet.Event{Kind: wallet.EventReclaimed, Torrent: t, Coins: coins})
	}
}
