package node

import (
	"time"

	"torrente/internal/failpoint"
	"torrente/peerwire"
	"torrente/swarm"
)

// loop owns the Swarm: nothing else touches it. Mail is drained whole, then
// the effects of all of it are performed.
func (t *Torrent) loop() {
	defer close(t.loopDone)
	defer t.shutdown()
	if info := t.Info(); info != nil {
		t.startOpening(info)
	}
	if p := t.node.purse; p != nil {
		t.swarm.Ledger(t.node.cfg.Now(), p.priceEvent())
		t.swarm.Unheard(t.node.cfg.Now(), p.isSilent())
	}
	t.swarm.Found(t.node.cfg.Now(), t.opt.Peers, swarm.FromUser)
	t.announce()
	timer := time.NewTimer(0)
	defer timer.Stop()
	var armed time.Time // for when the timer is set
	for {
		select {
		case <-t.ctx.Done():
			return
		case <-t.mail.wake:
		case <-timer.C:
		}
		now := t.node.cfg.Now()
		for _, e := range t.mail.take() {
			t.handle(now, &e)
		}
		if !now.Before(t.swarm.Deadline()) {
			t.swarm.Advance(now)
			t.saveNowAndThen(now)
		}
		t.perform(now, t.swarm.Take())
		for len(t.answers) > 0 {
			answers := t.answers
			t.answers = nil
			for _, a := range answers {
				a(now)
			}
			t.perform(now, t.swarm.Take())
		}
		if due := t.swarm.Deadline(); due != armed {
			armed = due
			timer.Reset(due.Sub(now))
		}
		t.noticeEnds()
	}
}

func (t *Torrent) handle(now time.Time, e *event) {
	switch e.kind {
	case received:
		t.swarm.Receive(now, e.peer, e.message)
	case sent:
		if e.heavy > 0 {
			t.swarm.Written(now, e.peer, e.heavy)
		}
		if e.count > 0 {
			t.swarm.Sent(now, e.peer, e.count, e.bytes)
		}
	case verified:
		if e.verdict.Whole && e.verdict.Good {
			t.intakes.finished(e.verdict.Block.Piece)
		}
		t.swarm.Verified(now, e.verdict)
	case call:
		e.do()
	}
}

// perform does what the Swarm wants done, in the order of Effects' fields.
func (t *Torrent) perform(now time.Time, e *swarm.Effects) {
	if e.Metadata != nil {
		t.learn(e.Metadata)
	}
	if len(e.Layers) > 0 {
		t.learnLayers(e.Layers)
	}
	if e.Limits != nil {
		t.setLimits(e)
	}
	for _, s := range e.Seen {
		t.node.cfg.Seen(s.From, s.Ours)
	}
	failpoint.Hit("node.pays.perform")
	t.performPays(now, &e.Pays)
	failpoint.Hit("node.pays.performed")
	serve := e.Serve
	for i := range e.Send {
		for ; len(serve) > 0 && serve[0].After <= i; serve = serve[1:] {
			t.put(serve[0].Peer, servedBlock(serve[0].Block))
		}
		t.put(e.Send[i].Peer, e.Send[i].Message)
	}
	for _, n := range t.newcomers {
		if s := n.conn.secure; s != nil { // the hello comes behind the extended handshake
			n.conn.put(s.hello())
			t.touch(n.conn)
		}
		close(n.greeted)
	}
	t.newcomers = t.newcomers[:0]
	for _, s := range serve {
		t.put(s.Peer, servedBlock(s.Block))
	}
	for _, h := range e.Hashes {
		t.hashJobs <- h // has room: the Swarm bounds them
	}
	for _, v := range e.Verify {
		t.intakes.put(v)
	}
	for _, b := range e.Free {
		t.node.blocks.put(b)
	}
	for _, a := range e.Dial {
		t.tasks.Go(func() { t.dial(a) })
	}
	for _, c := range t.touched {
		c.queued = false
		c.flush()
	}
	t.touched = t.touched[:0]
	for _, d := range e.Drop {
		if c := t.conns[d.Peer]; c != nil {
			t.node.cfg.Log.Debug("drop", "peer", c.net.RemoteAddr(), "why", d.Why)
			t.tasks.Go(c.closeAfter) // what was said before the end is said
		}
	}
}

// put queues a message for a peer, if it is still there.
func (t *Torrent) put(id swarm.PeerID, m peerwire.Message) {
	if c := t.conns[id]; c != nil {
		c.put(m)
		t.touch(c)
	}
}

// touch notes a connection that has something to write.
func (t *Torrent) touch(c *conn) {
	if !c.queued {
		c.queued = true
		t.touched = append(t.touched, c)
	}
}

func (t *Torrent) setLimits(e *swarm.Effects) {
	t.limits = *e.Limits
	for _, c := range t.conns {
		c.setLimits(t.limits)
	}
}

// noticeEnds tells others, once, that the torrent is complete or has stopped.
func (t *Torrent) noticeEnds() {
	if t.swarm.Complete() && !isClosed(t.complete) {
		st := t.swarm.Status()
		t.last.Store(&st)
		close(t.complete)
	}
	if isClosed(t.complete) && t.swarm.Unsettled() == 0 && !isClosed(t.settled) {
		close(t.settled)
	}
	if t.swarm.Drained() && !isClosed(t.drained) {
		close(t.drained)
	}
	if why := t.swarm.Stopped(); why != nil && !isClosed(t.ended) {
		t.setErr(why)
		close(t.ended)
	}
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
