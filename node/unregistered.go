package node

import (
	"errors"
	"slices"
	"sync"
	"time"

	"torrente/payment"
	"torrente/payment/wallet"
	"torrente/peerwire"
)

// errTwoCommitments ends a connection that shows a commitment while its last one
// waits for the ledger.
var errTwoCommitments = errors.New("a commitment while another one is not registered")

// unregistered holds the commitments to us that our ledger has not registered:
// one of each account, over all its connections and torrents, since each makes
// us ask the ledger again and again (P9). What the account's other connections
// bring waits for that one to be registered, to expire, or to lose its
// connection, which it does after lapseAfter; nobody but the account itself waits
// for it. None is on disk before
// it is registered: nothing is counted on it until then, and a buyer shows it
// again to a seller that does not know it.
type unregistered struct {
	wallet *wallet.Wallet

	mu sync.Mutex // guards the following
	// offers of each account, at most one of a connection. The first is the
	// Swarm's, the others wait.
	offers map[payment.Account][]offer
}

// lapseAfter is how long the others of an account wait for one that the ledger
// does not register, at least.
const lapseAfter = 2 * time.Minute

// offer is a commitment that came on a connection.
type offer struct {
	conn    *conn
	waited  time.Time // since when others wait for it, as lapse knows
	id      payment.CommitmentID
	message peerwire.Message // a PayCommit
}

func newUnregistered(w *wallet.Wallet) unregistered {
	return unregistered{wallet: w, offers: map[payment.Account][]offer{}}
}

func (o *offer) commit() peerwire.PayCommit { return o.message.Rare.(peerwire.PayCommit) }

// admit takes an account's offer. If it is the only one it is the Swarm's at
// once; else it is handed to it when its turn comes.
func (u *unregistered) admit(now time.Time, account payment.Account, o offer) (first bool, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.remove(account, func(o *offer) bool { return uint64(now.Unix()) >= o.commit().Commitment.Expiry })
	waiting := u.offers[account]
	switch {
	case u.met(o.id):
		return false, errOldCommitment
	case slices.ContainsFunc(waiting, func(w offer) bool { return w.conn == o.conn }):
		return false, errTwoCommitments
	}
	u.offers[account] = append(waiting, o)
	return len(waiting) == 0, nil
}

// met reports whether a commitment was registered before: its links could have
// been counted, so it may only be resumed.
func (u *unregistered) met(id payment.CommitmentID) bool {
	_, met := u.wallet.Claim(id)
	return met
}

// remove takes offers out; if the first is among them the next one is the
// Swarm's. The lock is held.
func (u *unregistered) remove(account payment.Account, which func(o *offer) bool) {
	all := u.offers[account]
	if len(all) == 0 {
		return
	}
	first := all[0].conn
	all = slices.DeleteFunc(all, func(o offer) bool { return which(&o) })
	if len(all) == 0 {
		delete(u.offers, account)
		return
	}
	u.offers[account] = all
	if next := &all[0]; next.conn == first {
		return
	} else if u.met(next.id) {
		next.conn.close()
	} else {
		next.conn.torrent.mail.post(event{kind: received, peer: next.conn.id, message: next.message})
	}
}

// gone forgets what a connection brought that has ended.
func (u *unregistered) gone(account payment.Account, c *conn) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.remove(account, func(o *offer) bool { return o.conn == c })
}

// lapse ends the connections of commitments that others have waited for too long:
// the buyer may show them again, behind those. While nobody waits they stay.
func (u *unregistered) lapse(now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, all := range u.offers {
		switch first := &all[0]; {
		case len(all) == 1:
			first.waited = time.Time{}
		case first.waited.IsZero():
			first.waited = now
		case now.Sub(first.waited) >= lapseAfter:
			first.conn.close() // then it is gone
		}
	}
}

// left forgets what the connections of a torrent brought that has ended.
func (u *unregistered) left(t *Torrent) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for account := range u.offers {
		u.remove(account, func(o *offer) bool { return o.conn.torrent == t })
	}
}

// forgetOffer lets the next commitment of an account in, if one came on this
// connection. While the Swarm has the connection it stays: it is written as soon
// as a link may count.
func (t *Torrent) forgetOffer(c *conn) {
	if s := c.secure; s != nil && s.sealed {
		t.node.purse.unregistered.gone(s.account(), c)
	}
}

// find returns the first offer of an account if it has this id.
func (u *unregistered) find(id payment.CommitmentID) (account payment.Account, o offer, found bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for account, all := range u.offers {
		if all[0].id == id {
			return account, all[0], true
		}
	}
	return account, o, false
}

// registered keeps a commitment that the ledger knows, and lets the account's
// next one in.
func (u *unregistered) registered(t *Torrent, id payment.CommitmentID) error {
	account, o, found := u.find(id)
	if !found || o.conn.torrent != t {
		return nil
	}
	c := o.commit()
	if err := u.wallet.SaveClaim(&c.Commitment, c.Signature); err != nil {
		return t.unwritten(err)
	}
	u.gone(account, o.conn)
	return nil
}

// ledger tells the Swarm of an event. What it is about is on disk before, for
// from then on links count on it.
func (t *Torrent) ledger(now time.Time, e payment.LedgerEvent) {
	if err := t.node.purse.unregistered.registered(t, e.Commitment); err != nil {
		t.setErr(err)
		t.swarm.Stop(err)
		return
	}
	t.swarm.Ledger(now, e)
}
