package node

import (
	"fmt"
	"time"

	"torrente/payment"
	"torrente/swarm"
)

// performPays does what the Swarm wants done about payment. What must be on
// disk is there before the loop goes on to what relies on it; what takes the
// ledger's time is done beside the loop.
func (t *Torrent) performPays(now time.Time, e *swarm.Pays) {
	p := t.node.purse
	if p == nil {
		return
	}
	if len(e.Record) > 0 {
		if err := t.record(e.Record); err != nil {
			t.setErr(err)
			t.swarm.Stop(err)
			return
		}
	}
	torrent := payment.TorrentID{}
	if info := t.Info(); info != nil {
		torrent = payment.TorrentID(info.ID())
	}
	for _, l := range e.Return {
		p.giveBack(torrent, l)
	}
	for _, c := range e.Count {
		got := p.count(now, c)
		t.tell(func(now time.Time) { t.swarm.Counted(now, c.Peer, got.Paid, got.Recalled) })
	}
	for _, l := range e.Lend {
		n := p.lend(torrent, l)
		t.tell(func(now time.Time) { t.swarm.Leased(now, l.Peer, n) })
	}
	for _, b := range e.Buy {
		t.tasks.Go(func() { t.buy(b) })
	}
	for _, r := range e.Raise {
		t.tasks.Go(func() {
			if err := p.raise(t.ctx, r); err != nil {
				t.node.cfg.Log.Warn("top up", "err", err)
			}
		})
	}
	for _, id := range e.Watch {
		t.tasks.Go(func() {
			if err := p.watch(t.ctx, t, id); err != nil {
				t.node.cfg.Log.Warn("ask the ledger", "err", err)
			}
		})
	}
}

// record makes facts safe.
func (t *Torrent) record(facts []swarm.Record) (err error) {
	v := t.node.cfg.Member.Vault
	for i := range facts {
		r := &facts[i]
		switch r.Kind {
		case swarm.RecordCommitment:
			err = v.Claim(&r.Commit.Commitment, r.Commit.Signature)
		case swarm.RecordLink:
			err = v.Link(r.Commitment, r.Claim)
		case swarm.RecordOwed:
			err = v.Owed(r.Commitment, r.Unit)
		}
		if err != nil {
			return fmt.Errorf("the wallet cannot be written, so %s stops: %w", t.Name(), err)
		}
	}
	return nil
}

// buy opens a commitment; why there is none is kept for the user.
func (t *Torrent) buy(b swarm.Purchase) {
	deal, err := t.node.purse.buy(t.ctx, t, b)
	if err != nil {
		t.node.cfg.Log.Warn("buy", "err", err)
		t.trouble.Store(&err)
	}
	t.tell(func(now time.Time) { t.swarm.Bought(now, b.Peer, deal) })
}

// PaymentTrouble is why nothing could be bought the last time; nil: nothing
// is wrong.
func (t *Torrent) PaymentTrouble() error {
	if e := t.trouble.Load(); e != nil {
		return *e
	}
	return nil
}
