package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"torrente/payment"
	"torrente/payment/contract"
	"torrente/payment/wallet"
	"torrente/piece"
	"torrente/piece/store"
	"torrente/swarm"
)

// closeSale signs the close of a commitment to us; from the moment that it is
// on disk no link is counted on it.
func (t *Torrent) closeSale(e swarm.Ending) error {
	m := t.node.cfg.Member
	if _, registered := m.Wallet.Claim(e.Commitment); !registered {
		if c := t.conns[e.Peer]; c != nil {
			c.close() // who was never told that it is registered has nothing to close
		}
		return nil
	}
	c := payment.Close{Ledger: m.Ledger.ID(), Commitment: e.Commitment, Final: e.Final}
	who := m.Identity.Principal()
	signed, err := c.Sign(m.Identity.Key(), who.MSP, who.SPKI)
	if err != nil {
		return err
	}
	if err := m.Wallet.SignedClose(&signed); err != nil {
		return err
	}
	t.answer(func(now time.Time) { t.swarm.Closed(now, e.Peer, signed) })
	return nil
}

// Settle ends what a complete torrent has bought: it waits until ctx is done
// for the closes of the sellers that are there, files them, and takes back the
// coins that no seller was promised. It returns the coins that came back. What
// sellers that are gone were promised returns after its expiry (Reclaim).
func (t *Torrent) Settle(ctx context.Context) (payment.Amount, error) {
	p := t.node.purse
	if p == nil || t.Info() == nil || t.Info().Pay == nil {
		return 0, nil
	}
	select {
	case <-t.settled:
	case <-ctx.Done():
	case <-t.ctx.Done():
	}
	ctx, cancel := context.WithTimeout(t.ctx, settleTime)
	defer cancel()
	return p.settle(ctx, t)
}

// settleTime is how long the ledger may take to settle a download. What it has
// not done by then can be done at any time (Reclaim).
const settleTime = 10 * time.Second

func (p *purse) settle(ctx context.Context, t *Torrent) (payment.Amount, error) {
	torrent := payment.TorrentID(t.Info().ID())
	f := p.intentionOf(torrent)
	f.mu.Lock()
	defer f.mu.Unlock()
	closes := t.takeCloses()
	sum, err := p.release(ctx, closes)
	if err != nil {
		t.keepCloses(closes) // for the next try
		p.node.cfg.Log.Warn("file the sellers' closes", "err", err)
	}
	for _, i := range p.member.Wallet.Intentions() {
		if i.Torrent != torrent {
			continue
		}
		coins, err2 := p.member.closeIntention(ctx, p.node.cfg.Now(), i.ID)
		if err2 != nil {
			return sum, fmt.Errorf("give back what was not spent: %w", err2)
		}
		p.member.noteReclaimed(p.node.cfg.Now(), torrent, coins)
		sum, _ = sum.Add(coins) // both are parts of what was minted
	}
	f.known = false
	if err != nil {
		err = fmt.Errorf("give back what was not spent: %w", err)
	}
	return sum, err
}

// closeIntention takes back at once what of an intention no seller may have.
func (m *Membership) closeIntention(ctx context.Context, now time.Time, id payment.IntentionID) (payment.Amount, error) {
	r, err := m.call(ctx, now, &contract.Close{Intention: id})
	if err != nil && !errors.Is(err, contract.NoIntention) {
		return 0, err
	}
	return r.Coins, m.Wallet.IntentionClosed(id)
}

// release files the closes that sellers signed.
func (p *purse) release(ctx context.Context, closes []payment.SignedClose) (payment.Amount, error) {
	var call contract.ReleaseMany
	for _, c := range closes {
		info, err := p.member.commitment(ctx, c.Commitment)
		if err != nil {
			return 0, err
		}
		if info != nil && !info.Released && !info.Settled {
			call.Releases = append(call.Releases, contract.Release{Close: c, K: info.K})
		}
	}
	if len(call.Releases) == 0 {
		return 0, nil
	}
	receipt, err := p.member.call(ctx, p.node.cfg.Now(), &call)
	if err != nil {
		return 0, err
	}
	for i, code := range receipt.Items {
		c := &call.Releases[i].Close
		if code.Err() != nil {
			p.node.cfg.Log.Warn("a seller's close was refused", "err", code)
			continue
		}
		if err := p.member.Wallet.Ended(c.Commitment, c.Final); err != nil {
			return receipt.Coins, err
		}
		p.member.noteReleased(p.node.cfg.Now(), c)
	}
	return receipt.Coins, nil
}

// keepCloses keeps closes for Settle.
func (t *Torrent) keepCloses(closes []payment.SignedClose) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closes = append(t.closes, closes...)
}

func (t *Torrent) takeCloses() []payment.SignedClose {
	t.mu.Lock()
	defer t.mu.Unlock()
	closes := t.closes
	t.closes = nil
	return closes
}

// owedUnits are the units of a torrent that are owed, or paid, to somebody.
func owedUnits(w *wallet.Wallet, torrent payment.TorrentID) (map[uint32]bool, error) {
	known := map[uint32]bool{}
	for _, o := range w.Openings() {
		if o.Commitment.Torrent != torrent {
			continue
		}
		units, err := w.OwedUnits(o.Commitment.ID())
		if err != nil {
			return nil, err
		}
		for _, u := range units {
			known[u] = true
		}
	}
	return known, nil
}

// boughtBefore are the blocks of unfinished pieces that earlier runs bought:
// each was right when it was written down as owed, and is neither fetched nor
// paid again. A piece that has them all, and was not known to be whole when the
// run ended, is checked and then had, or else begun anew.
func (t *Torrent) boughtBefore(s *store.Store, have *piece.Bitfield) (map[int][]int, error) {
	info := t.Info()
	if t.node.purse == nil || !t.pays() || info.Pay == nil || s.Empty() {
		return nil, nil
	}
	var doubtful []int
	layout := s.Layout()
	for i := range layout.Pieces() {
		if !have.Has(i) && s.HasData(i) {
			doubtful = append(doubtful, i)
		}
	}
	if len(doubtful) == 0 {
		return nil, nil // what was bought may be much to read
	}
	known, err := owedUnits(t.node.cfg.Member.Wallet, payment.TorrentID(info.ID()))
	if err != nil || len(known) == 0 {
		return nil, err
	}
	partial := map[int][]int{}
	for _, i := range doubtful {
		var blocks []int
		for k := range layout.Blocks(i) {
			if known[layout.Unit(layout.Block(i, k))] {
				blocks = append(blocks, k)
			}
		}
		switch len(blocks) {
		case 0:
		case layout.Blocks(i):
			good, err := s.Check(i)
			if err != nil {
				return nil, err
			}
			if good {
				have.Set(i)
			}
		default:
			partial[i] = blocks
		}
	}
	return partial, nil
}

// attribute records units as owed that came just before the last run was
// killed, and that no record says are owed. Each is owed once.
func (t *Torrent) attribute(torrent payment.TorrentID, a swarm.Attribution) (swarm.Attribution, error) {
	t.attributing.Lock()
	defer t.attributing.Unlock()
	w := t.node.cfg.Member.Wallet
	known, err := owedUnits(w, torrent)
	if err != nil {
		return a, err
	}
	var owed []payment.Delivery
	layout := t.store.Load().Layout()
	for i := range layout.Pieces() {
		if !t.unrecorded.Has(i) {
			continue
		}
		for k := range layout.Blocks(i) {
			unit := layout.Unit(layout.Block(i, k))
			if uint64(len(owed)) < a.Units && !known[unit] {
				owed = append(owed, payment.Delivery{Commitment: a.Commitment, Unit: unit})
			}
		}
	}
	n, err := w.OwedMany(owed)
	a.Units = uint64(n)
	return a, err
}
