package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"torrente/identity"
	"torrente/payment"
	"torrente/payment/contract"
	"torrente/payment/ledger"
	"torrente/payment/wallet"
)

// refundAfter is how long after its expiry a commitment's rest is refunded
// (payment protocol, section 5).
const refundAfter = 30 * time.Minute

// maxRefunds is how many commitments one call refunds.
const maxRefunds = 200

// Reclaim takes back what downloads froze and did not spend: at once what no
// seller was promised, and what sellers did not redeem of commitments that
// expired more than half an hour ago. It must not run beside a download of the
// same wallet: that would have to freeze anew. See Node.Reclaim.
func (m *Membership) Reclaim(ctx context.Context, now time.Time) (sum payment.Amount, err error) {
	if err := m.finish(ctx); err != nil {
		return 0, fmt.Errorf("reclaim: %w", err)
	}
	return m.reclaim(ctx, now, func(payment.TorrentID) bool { return false })
}

// Reclaim is Membership.Reclaim while the node runs: coins of downloads that go
// on stay frozen.
func (n *Node) Reclaim(ctx context.Context) (payment.Amount, error) {
	return n.cfg.Member.reclaim(ctx, n.cfg.Now(), n.downloads)
}

// downloads reports whether a torrent is being downloaded.
func (n *Node) downloads(id payment.TorrentID) bool {
	for _, t := range n.all() {
		if info := t.Info(); info != nil && payment.TorrentID(info.ID()) == id && !isClosed(t.ended) && !isClosed(t.settled) {
			return !t.opt.SeedOnly
		}
	}
	return false
}

func (m *Membership) reclaim(ctx context.Context, now time.Time, inUse func(payment.TorrentID) bool) (sum payment.Amount, err error) {
	for _, i := range m.Wallet.Intentions() {
		if inUse(i.Torrent) {
			continue
		}
		coins, err := m.closeIntention(ctx, now, i.ID)
		if err != nil {
			return sum, fmt.Errorf("reclaim: %w", err)
		}
		m.noteReclaimed(now, i.Torrent, coins)
		sum, _ = sum.Add(coins) // a part of what was minted
	}
	coins, err := m.refundExpired(ctx, now)
	sum, _ = sum.Add(coins)
	if err != nil {
		return sum, fmt.Errorf("reclaim: %w", err)
	}
	return sum, nil
}

// refundExpired settles what expired, as the ledger knows it: also commitments
// that ended by a close of which the seller redeemed less, and those that the
// wallet has forgotten.
func (m *Membership) refundExpired(ctx context.Context, now time.Time) (sum payment.Amount, err error) {
	registered := map[payment.CommitmentID]bool{}
	due, err := m.expiredOf(ctx, now, m.account(), func(id payment.CommitmentID) { registered[id] = true })
	if err != nil {
		return 0, err
	}
	if sum, err = m.refundAll(ctx, now, due); err != nil {
		return sum, err
	}
	return sum, m.endUnregistered(ctx, registered, func(c *payment.Commitment) bool { return refundable(c, now) })
}

// refundable reports whether a commitment expired so long ago that its rest
// comes back.
func refundable(c *payment.Commitment, now time.Time) bool {
	return uint64(now.Add(-refundAfter).Unix()) >= c.Expiry
}

// expiredOf finds the commitments of an account whose rest can come back, and
// tells of all that are not settled.
func (m *Membership) expiredOf(ctx context.Context, now time.Time, payer payment.Account, tell func(payment.CommitmentID)) (due []outstanding, err error) {
	err = m.outstandingOf(ctx, payer, func(_ *contract.IntentionInfo, o outstanding) {
		tell(o.info.ID)
		if refundable(o.commitment, now) {
			due = append(due, o)
		}
	})
	return due, err
}

// refundAll refunds commitments, as many in a call as it takes.
func (m *Membership) refundAll(ctx context.Context, now time.Time, due []outstanding) (sum payment.Amount, err error) {
	for len(due) > 0 {
		n := min(len(due), maxRefunds)
		coins, err := m.refund(ctx, now, due[:n])
		sum, _ = sum.Add(coins)
		if err != nil {
			return sum, err
		}
		due = due[n:]
	}
	return sum, nil
}

// outstanding is a commitment of ours that is not settled.
type outstanding struct {
	info       contract.CommitmentInfo
	commitment *payment.Commitment
}

// rest is how many units of it can come back.
func (o *outstanding) rest() uint32 {
	if o.info.Released {
		return o.info.Final - min(o.info.Final, o.info.Redeemed)
	}
	return o.info.Cap - min(o.info.Cap, o.info.Redeemed)
}

// coins is what so many of its units are worth.
func (o *outstanding) coins() payment.Amount {
	c, _ := o.commitment.Price.Mul(uint64(o.rest())) // no valid commitment is worth more than fits
	return c
}

// outstanding asks the ledger for all commitments of ours that are not settled,
// with their intentions.
func (m *Membership) outstanding(ctx context.Context, each func(*contract.IntentionInfo, outstanding)) error {
	return m.outstandingOf(ctx, m.account(), each)
}

// outstandingOf is outstanding for another account.
func (m *Membership) outstandingOf(ctx context.Context, payer payment.Account, each func(*contract.IntentionInfo, outstanding)) error {
	return m.intentionsOf(ctx, payer, func(i *contract.IntentionInfo) error {
		q := contract.Query{Kind: contract.QueryCommitments, Intention: i.ID}
		return m.pages(ctx, q, func(a *contract.Answer) error {
			for _, info := range a.Commitments {
				if info.Settled {
					continue
				}
				c, err := info.Parse()
				if err != nil {
					return err
				}
				each(i, outstanding{info, c})
			}
			return nil
		})
	})
}

// intentions asks the ledger for all intentions of ours that are not over.
func (m *Membership) intentions(ctx context.Context, each func(*contract.IntentionInfo) error) error {
	return m.intentionsOf(ctx, m.account(), each)
}

// intentionsOf is intentions for another account.
func (m *Membership) intentionsOf(ctx context.Context, payer payment.Account, each func(*contract.IntentionInfo) error) error {
	var all []contract.IntentionInfo
	q := contract.Query{Kind: contract.QueryIntentions, Account: payer}
	err := m.pages(ctx, q, func(a *contract.Answer) error {
		all = append(all, a.Intentions...)
		return nil
	})
	for i := range all {
		if err != nil {
			return err
		}
		err = each(&all[i])
	}
	return err
}

// refund settles commitments that expired, and notes it.
func (m *Membership) refund(ctx context.Context, now time.Time, due []outstanding) (payment.Amount, error) {
	var call contract.Refund
	for i := range due {
		call.Settles = append(call.Settles, contract.Settle{Commitment: due[i].info.ID, K: due[i].info.K})
	}
	r, err := m.submit(ctx, now, &call)
	if err == nil && r.Code != contract.NoneDone {
		err = r.Code.Err()
	}
	if err == nil && len(r.Items) != len(due) {
		err = fmt.Errorf("the ledger answered for %d of %d commitments: try again", len(r.Items), len(due))
	}
	if err != nil {
		return 0, err
	}
	var events []wallet.Event
	for i, code := range r.Items {
		o := &due[i]
		if code.Err() != nil {
			err = fmt.Errorf("commitment %.8s: %w", o.info.ID, code)
			continue
		}
		if held, ok := m.Wallet.Opening(o.info.ID); ok && !held.Ended {
			if err := m.Wallet.Ended(o.info.ID, o.info.Redeemed); err != nil {
				return r.Coins, err
			}
		}
		if o.coins() > 0 {
			events = append(events, wallet.Event{
				Kind: wallet.EventReclaimed, Torrent: o.commitment.Torrent, Account: o.commitment.Receiver,
				Commitment: o.info.ID, Units: uint64(o.rest()), Coins: o.coins(),
			})
		}
	}
	m.Note(now, events...)
	return r.Coins, err
}

// endUnregistered ends commitments that expired and that the ledger never had,
// or settled while we were away.
func (m *Membership) endUnregistered(ctx context.Context, registered map[payment.CommitmentID]bool, expired func(*payment.Commitment) bool) error {
	for _, o := range m.Wallet.Openings() {
		id := o.Commitment.ID()
		if o.Ended || registered[id] || !expired(&o.Commitment) {
			continue
		}
		info, err := m.commitment(ctx, id)
		if err != nil {
			return err
		}
		var final uint32
		if info != nil {
			final = info.Final
		}
		if err := m.Wallet.Ended(id, final); err != nil {
			return err
		}
	}
	return nil
}

// finish sends what was reserved before a crash, as it was, so that what the
// ledger knows is all that there is. What it will never take is given up.
func (m *Membership) finish(ctx context.Context) error {
	pending, err := m.Wallet.PendingSubmissions()
	if err != nil {
		return err
	}
	for _, s := range pending {
		signed, err := contract.ParseSigned(s.Signed)
		if err != nil {
			return err
		}
		one, cancel := context.WithTimeout(ctx, ledgerTime)
		_, err = m.Ledger.Submit(one, signed)
		cancel()
		if err != nil && !hopeless(err) {
			return err
		}
		if err := m.Wallet.DoneSubmission(s.Request); err != nil {
			return err
		}
	}
	return nil
}

// hopeless reports whether the ledger will never execute the same bytes.
func hopeless(err error) bool {
	_, off := errors.AsType[*ledger.ClockOff](err)
	return off || identity.RefusalCode(err) != 0 || errors.Is(err, payment.ErrSignature) || errors.Is(err, contract.ErrTransaction)
}
