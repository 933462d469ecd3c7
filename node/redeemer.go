package node

import (
	"context"
	"fmt"
	"math"
	"time"

	"torrente/payment"
	"torrente/payment/wallet"
)

const (
	// redeemLook is how often it is decided whether to redeem.
	redeemLook = 10 * time.Second
	// redeemSilence is how long a buyer sends no link before what it paid is
	// redeemed.
	redeemSilence = 5 * time.Minute
	// redeemEarly is how long before expiry, at least, links are redeemed the
	// first time, and redeemLate how long before it the last time (payment
	// protocol, section 5, "Time").
	redeemEarly = 2 * time.Hour
	redeemLate  = 30 * time.Minute
	// redeemAboveUnits is how many units may be earned and not redeemed, unless
	// Membership.RedeemAbove says it in coins: 4 GiB.
	redeemAboveUnits = 1 << 18
	// redeemRetry is how long after a failure a claim is tried again: sooner if
	// it will expire.
	redeemRetry     = 5 * time.Minute
	redeemRetryLate = time.Minute
	// lastRedeem is how long the node may take to redeem at its end.
	lastRedeem = 4 * time.Second
)

// redeemer turns links into coins by itself, so that a seller loses nothing by
// forgetting it: near expiry, when a buyer is silent, when much has gathered,
// and at the end of the node.
type redeemer struct {
	node    *Node
	member  *Membership
	watched map[payment.CommitmentID]*watched
	warned  time.Time // when a failure was told the last time
}

// watched is what the redeemer remembers of a claim.
type watched struct {
	index uint32        // of the deepest link so far
	grew  time.Time     // when it rose the last time
	life  time.Duration // until expiry, from when the claim was first seen here
	stage int           // of its life, for which it was redeemed
	retry time.Time     // not before then
}

func newRedeemer(n *Node, m *Membership) *redeemer {
	return &redeemer{node: n, member: m, watched: map[payment.CommitmentID]*watched{}}
}

// run looks until the node ends.
func (r *redeemer) run(ctx context.Context) {
	tick := time.NewTicker(redeemLook)
	defer tick.Stop()
	for ctx.Err() == nil {
		r.look(ctx, r.node.cfg.Now())
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// look redeems what is due, and gives up what has expired.
func (r *redeemer) look(ctx context.Context, now time.Time) {
	r.bury(ctx, now)
	due := r.due(now)
	if len(due) == 0 {
		return
	}
	got, err := r.member.redeemSome(ctx, now, func(c *wallet.Claim) bool { return due[c.Commitment.ID()] })
	if got.Units > 0 {
		r.node.cfg.Log.Info("redeemed", "units", got.Units, "coins", got.Coins)
	}
	r.note(now, due)
	if err != nil && ctx.Err() == nil {
		r.warn(now, err)
	}
}

// due decides which claims are redeemed now.
func (r *redeemer) due(now time.Time) map[payment.CommitmentID]bool {
	due, open := map[payment.CommitmentID]bool{}, map[payment.CommitmentID]bool{}
	var units uint64
	var coins payment.Amount
	for _, c := range r.member.Wallet.Claims() {
		w, id := r.watch(now, &c), c.Commitment.ID()
		n := c.Redeemable(now)
		if n == 0 {
			w.stage = w.stageAt(now, &c) // nothing was left to redeem for it
			continue
		}
		if now.Before(w.retry) {
			continue
		}
		open[id] = true
		units += uint64(n)
		coins = more(coins, c.Worth(n))
		if w.stageAt(now, &c) > w.stage || now.Sub(w.grew) >= redeemSilence {
			due[id] = true
		}
	}
	if r.isMuch(units, coins) {
		return open
	}
	return due
}

// more adds, and stops at the most that there can be.
func more(a, b payment.Amount) payment.Amount {
	if sum, ok := a.Add(b); ok {
		return sum
	}
	return math.MaxUint64
}

// isMuch reports whether so much should not stay at risk.
func (r *redeemer) isMuch(units uint64, coins payment.Amount) bool {
	if r.member.RedeemAbove == 0 {
		return units > redeemAboveUnits
	}
	return coins > r.member.RedeemAbove
}

// watch notes whether a claim's link has risen.
func (r *redeemer) watch(now time.Time, c *wallet.Claim) *watched {
	id := c.Commitment.ID()
	w := r.watched[id]
	if w == nil {
		w = &watched{grew: now, life: expiryOf(c).Sub(now)}
		r.watched[id] = w
	}
	if c.Best.Index > w.index {
		w.index, w.grew = c.Best.Index, now
	}
	return w
}

func expiryOf(c *wallet.Claim) time.Time { return time.Unix(int64(c.Commitment.Expiry), 0) }

// stageAt is 1 when the claim should have been redeemed for the first time, 2
// for the last.
func (w *watched) stageAt(now time.Time, c *wallet.Claim) int {
	left := expiryOf(c).Sub(now)
	switch {
	case left <= redeemLate:
		return 2
	case left <= max(redeemEarly, w.life/10):
		return 1
	}
	return 0
}

// note remembers of claims that were tried whether they have to be tried again.
func (r *redeemer) note(now time.Time, tried map[payment.CommitmentID]bool) {
	for id := range tried {
		c, ok := r.member.Wallet.Claim(id)
		w := r.watched[id]
		switch {
		case !ok || w == nil:
		case c.Redeemable(now) == 0:
			w.stage, w.retry = w.stageAt(now, &c), time.Time{}
		case w.stageAt(now, &c) > 0:
			w.retry = now.Add(redeemRetryLate)
		default:
			w.retry = now.Add(redeemRetry)
		}
	}
}

// warn tells of a failure: to the user once an hour, if coins may be lost soon.
func (r *redeemer) warn(now time.Time, err error) {
	r.node.cfg.Log.Warn("redeem", "err", err)
	for _, c := range r.member.Wallet.Claims() {
		if n := c.Redeemable(now); n > 0 && r.watch(now, &c).stageAt(now, &c) > 0 && now.Sub(r.warned) >= time.Hour {
			r.warned = now
			r.node.say("%s that you earned are lost at %s unless redeemed before, which did not work so far: %v",
				count(c.Worth(n), "coin"), expiryOf(&c).Local().Format(time.DateTime), err)
		}
	}
}

// bury ends claims that expired. What was not redeemed of them is lost, and the
// history says so.
func (r *redeemer) bury(ctx context.Context, now time.Time) {
	for _, c := range r.member.Wallet.Claims() {
		id := c.Commitment.ID()
		if c.Ended {
			delete(r.watched, id)
		}
		if c.Ended || !c.Expired(now) || now.Before(r.watch(now, &c).retry) {
			continue
		}
		info, err := r.member.commitment(ctx, id)
		if err != nil {
			r.watch(now, &c).retry = now.Add(redeemRetry)
			return // the ledger is down: the others wait as well
		}
		redeemed, worth := c.Redeemed, uint32(0) // links beyond the cap were worth nothing
		if info != nil {
			redeemed, worth = max(redeemed, info.Redeemed), info.Cap
		}
		if err := r.node.purse.end(id, redeemed, worth); err != nil {
			r.node.cfg.Log.Error("a claim that expired", "err", err)
		}
	}
}

// noteExpired says in the history what was not redeemed in time.
func (m *Membership) noteExpired(now time.Time, c *wallet.Claim, redeemed uint32) {
	if c.Deepest() <= redeemed {
		return
	}
	lost := c.Deepest() - redeemed
	m.Note(now, wallet.Event{
		Kind: wallet.EventExpired, Torrent: c.Commitment.Torrent, Account: c.Commitment.Payer, Commitment: c.Commitment.ID(),
		Units: uint64(lost), Coins: c.Worth(lost), Text: "not redeemed in time",
	})
}

// atEnd redeems what was earned, before the process goes: the ledger has a few
// seconds for it.
func (r *redeemer) atEnd() {
	now := r.node.cfg.Now()
	units, coins := r.member.Wallet.Redeemable(now)
	if units == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), lastRedeem)
	defer cancel()
	got, err := r.member.Redeem(ctx, now)
	if got.Units > 0 {
		r.node.say("redeemed %s for %s", count(got.Coins, "coin"), count(got.Units, "unit"))
	}
	if err == nil {
		return
	}
	left := coins - min(coins, got.Coins)
	r.node.say("%s that you earned are kept, and not redeemed so far (%v): run torrente wallet redeem before %s",
		count(left, "coin"), err, r.soonest(now).Local().Format(time.DateTime))
}

// soonest is when the first of what can be redeemed expires.
func (r *redeemer) soonest(now time.Time) time.Time {
	for _, c := range r.member.Wallet.Claims() { // those that expire first first
		if c.Redeemable(now) > 0 {
			return expiryOf(&c)
		}
	}
	return now
}

// say tells the user something that needs no answer.
func (n *Node) say(format string, args ...any) {
	sentence := fmt.Sprintf(format, args...)
	n.cfg.Log.Info(sentence)
	if n.cfg.Say != nil {
		n.cfg.Say(sentence)
	}
}
