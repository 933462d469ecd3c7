package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

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
	u, err := m.underway(ctx, m.account())
	if err != nil {
		return sum, fmt.Errorf("reclaim: %w", err)
	}
	coins, err := m.refundExpired(ctx, now, u)
	sum, _ = sum.Add(coins)
	if err != nil {
		return sum, fmt.Errorf("reclaim: %w", err)
	}
	return sum, nil
}

// refundExpired settles what expired, as the ledger knows it: also commitments
// that ended by a close of which the seller redeemed less, and those that the
// wallet has forgotten.
func (m *Membership) refundExpired(ctx context.Context, now time.Time, u *underway) (sum payment.Amount, err error) {
	if sum, err = m.refundAll(ctx, now, u.expired(now)); err != nil {
		return sum, err
	}
	registered := map[payment.CommitmentID]bool{}
	for i := range u.commitments {
		registered[u.commitments[i].info.ID] = true
	}
	return sum, m.endUnregistered(ctx, registered, func(c *payment.Commitment) bool { return refundable(c, now) })
}

// refundable reports whether a commitment expired so long ago that its rest
// comes back.
func refundable(c *payment.Commitment, now time.Time) bool {
	return uint64(now.Add(-refundAfter).Unix()) >= c.Expiry
}

// expired are the commitments whose rest can come back.
func (u *underway) expired(now time.Time) []outstanding {
	return slices.DeleteFunc(slices.Clone(u.commitments), func(o outstanding) bool { return !refundable(o.commitment, now) })
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

// underway is what the ledger has of an account that is not over: intentions, and
// commitments that are not settled.
type underway struct {
	intentions  []contract.IntentionInfo
	commitments []outstanding
}

// maxQuestions is how many intentions are asked about at once: there may be many, and
// a ledger on Fabric takes some milliseconds for each. It is what connections a portal's
// client keeps.
const maxQuestions = 4

// underway asks the ledger.
func (m *Membership) underway(ctx context.Context, payer payment.Account) (*underway, error) {
	intentions, err := m.intentionsOf(ctx, payer)
	if err != nil {
		return nil, err
	}
	commitments := make([][]outstanding, len(intentions))
	asking, ctx := errgroup.WithContext(ctx)
	asking.SetLimit(maxQuestions)
	for i := range intentions {
		asking.Go(func() (err error) {
			commitments[i], err = m.outstanding(ctx, intentions[i].ID)
			return err
		})
	}
	if err := asking.Wait(); err != nil {
		return nil, err
	}
	return &underway{intentions, slices.Concat(commitments...)}, nil
}

// outstanding asks the ledger for the commitments of an intention that are not
// settled.
func (m *Membership) outstanding(ctx context.Context, of payment.IntentionID) (all []outstanding, err error) {
	err = m.pages(ctx, contract.Query{Kind: contract.QueryCommitments, Intention: of}, func(a *contract.Answer) error {
		for _, info := range a.Commitments {
			if info.Settled {
				continue
			}
			c, err := info.Parse()
			if err != nil {
				return err
			}
			all = append(all, outstanding{info, c})
		}
		return nil
	})
	return all, err
}

// intentionsOf asks the ledger for all intentions of an account that are not over.
func (m *Membership) intentionsOf(ctx context.Context, payer payment.Account) (all []contract.IntentionInfo, err error) {
	q := contract.Query{Kind: contract.QueryIntentions, Account: payer}
	err = m.pages(ctx, q, func(a *contract.Answer) error {
		all = append(all, a.Intentions...)
		return nil
	})
	return all, err
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
