package node

import (
	"errors"
	"fmt"
	"time"

	"torrente/payment"
	"torrente/payment/wallet"
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
	err := t.record(e)
	if err == nil {
		err = t.lend(now, e)
	}
	if err != nil {
		t.setErr(err)
		t.swarm.Stop(err)
		return
	}
	if len(e.Released) > 0 {
		t.keepCloses(e.Released)
	}
	for _, a := range e.Attribute {
		t.tasks.Go(func() {
			a, err := t.attribute(payment.TorrentID(t.Info().ID()), a)
			if err != nil {
				t.fail(t.unwritten(err))
				return
			}
			t.tell(func(now time.Time) { t.swarm.Attributed(now, a) })
		})
	}
	for _, b := range e.Buy {
		t.tasks.Go(func() { t.buy(b) })
	}
	for _, r := range e.Raise {
		t.tasks.Go(func() {
			if err := p.raise(t.ctx, r); err == nil {
				t.shortage.Store(nil)
			} else {
				t.node.cfg.Log.Warn("top up", "err", err)
				t.shortage.Store(&err)
				t.tell(func(now time.Time) { t.swarm.NotRaised(now, r.Commitment) })
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

// lend asks the Books, and tells the Swarm what they say once it is safe. The
// Swarm is told after the effects at hand: they are its own until then.
func (t *Torrent) lend(now time.Time, e *swarm.Pays) error {
	if len(e.Close)+len(e.Leave)+len(e.Meet)+len(e.Resume)+len(e.Count)+len(e.Lend)+len(e.Return)+len(e.Hold) == 0 {
		return nil
	}
	p, torrent := t.node.purse, payment.TorrentID(t.Info().ID())
	for _, l := range e.Leave {
		p.part(now, torrent, l)
	}
	for _, l := range e.Meet {
		m := p.meet(now, torrent, l)
		t.answer(func(now time.Time) { t.swarm.Met(now, l.Peer, l.Account, m) })
	}
	for _, c := range e.Close { // before anybody asks for it again
		if err := t.closeSale(c); err != nil {
			return t.unwritten(err)
		}
	}
	for _, r := range e.Resume {
		k := p.kept(now, torrent, r)
		t.answer(func(now time.Time) { t.swarm.Resumed(now, r.Peer, r.Said, k) })
	}
	for _, c := range e.Count {
		got := p.count(now, c)
		t.answer(func(now time.Time) { t.swarm.Counted(now, c, got) })
	}
	for _, l := range e.Return {
		p.giveBack(torrent, l)
	}
	for _, l := range e.Lend {
		l = p.lend(now, torrent, l)
		t.answer(func(now time.Time) { t.swarm.Leased(now, l) })
	}
	for _, l := range e.Hold {
		p.hold(now, torrent, l)
	}
	if err := p.keepUnsafe(); err != nil {
		return t.unwritten(err)
	}
	return nil
}

func (t *Torrent) answer(a func(now time.Time)) { t.answers = append(t.answers, a) }

// record makes facts safe, links and units in one write each.
func (t *Torrent) record(e *swarm.Pays) error {
	w := t.node.cfg.Member.Wallet
	t.links = t.links[:0]
	for i := range e.Record {
		switch r := &e.Record[i]; r.Kind {
		case swarm.RecordCommitment:
			// It is written when it is registered: see unregistered.
		case swarm.RecordLink:
			t.links = append(t.links, wallet.Paid{Commitment: r.Commitment, Claim: r.Claim})
		case swarm.RecordReleased:
			if err := w.Released(r.Commitment, r.Index); err != nil {
				return t.unwritten(err)
			}
		}
	}
	if len(t.links) > 0 {
		if err := w.Links(t.links); err != nil {
			return t.unwritten(err)
		}
	}
	if len(e.Owed) > 0 {
		if err := recordOwed(w, e.Owed); err != nil {
			return t.unwritten(err)
		}
	}
	return nil
}

// recordOwed leaves out what came after its commitment had ended: nobody can be
// paid for it.
func recordOwed(w *wallet.Wallet, owed []payment.Delivery) error {
	_, err := w.OwedMany(owed)
	if !errors.Is(err, wallet.ErrFinal) {
		return err
	}
	for i := range owed {
		if _, err := w.OwedMany(owed[i : i+1]); err != nil && !errors.Is(err, wallet.ErrFinal) {
			return err
		}
	}
	return nil
}

func (t *Torrent) unwritten(err error) error {
	return fmt.Errorf("the wallet cannot be written, so %s stops: %w", t.Name(), err)
}

// Allow says what the user agreed to pay for a torrent that was opened with
// AskFirst. It is called once at most.
func (t *Torrent) Allow(c Consent) {
	t.opt.Consent = c // read by those alone who have waited for allowed
	close(t.allowed)
}

// buy opens a commitment; why there is none is kept for the user. What is owed
// is paid without asking anybody.
func (t *Torrent) buy(b swarm.Purchase) {
	if b.Units > 0 {
		select {
		case <-t.allowed:
		case <-t.ctx.Done():
			return
		}
	}
	deal, err := t.node.purse.buy(t.ctx, t, b)
	if err != nil {
		t.node.cfg.Log.Warn("buy", "err", err)
		if !errors.Is(err, errCapsPromised) { // that is but a question of time
			t.trouble.Store(&err)
		}
	} else if deal != nil {
		t.trouble.Store(nil)
	}
	t.tell(func(now time.Time) { t.swarm.Bought(now, b.Peer, deal) })
}

// Pays reports whether this node may pay for the torrent, or be paid.
func (t *Torrent) Pays() bool { return t.pays() }

// Shortage is why a seller could not be promised more the last time; nil:
// nothing is wrong. Others may have enough: it matters if nothing comes.
func (t *Torrent) Shortage() error {
	if e := t.shortage.Load(); e != nil {
		return *e
	}
	return nil
}

// PaymentTrouble is why nothing could be bought the last time; nil: nothing
// is wrong.
func (t *Torrent) PaymentTrouble() error {
	if err := t.clockTrouble(); err != nil {
		return err
	}
	if e := t.trouble.Load(); e != nil {
		return *e
	}
	return nil
}
