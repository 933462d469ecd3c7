package node

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"torrente/identity"
	"torrente/peerwire"
	"torrente/swarm"
)

const (
	// handshakeTime is how long a handshake may take in all.
	handshakeTime = 10 * time.Second
	// writeTime is how long a peer may take to take what we write.
	writeTime = 2 * time.Minute
	// maxWaiting is how many bytes wait for a peer that does not read.
	maxWaiting = 4 << 20
	// messageWeight is what a message takes besides its Data.
	messageWeight = 128
	// maxSpare is how long an outbox may be, in messages, to be used again.
	maxSpare = 1024
)

// conn is a connection after its handshake. Its reader and its writer are two
// goroutines that the torrent owns.
type conn struct {
	net     net.Conn
	id      swarm.PeerID
	torrent *Torrent
	wake    chan struct{} // holds a token when there is something to write
	done    chan struct{} // closed by close
	once    sync.Once
	queued  bool // in Torrent.touched; belongs to the loop
	secure  *secure
	seal    *identity.Session // with which the writer seals, once there are keys
	plain   []byte            // what the writer seals
	small   []byte            // what the writer writes when there are no blocks
	last    atomic.Bool       // what is in the outbox is the last to be written

	mu sync.Mutex // guards the following
	// outbox is what is to be written. A piece without Data is a block to be
	// read first.
	outbox  []peerwire.Message
	spare   []peerwire.Message
	waiting int // weight of the outbox and of what is being written
	limits  peerwire.Limits
}

func newConn(c net.Conn, id swarm.PeerID, t *Torrent, l peerwire.Limits) *conn {
	return &conn{net: c, id: id, torrent: t, wake: make(chan struct{}, 1), done: make(chan struct{}), limits: l}
}

// close ends reader and writer; the first of them to notice reports it.
func (c *conn) close() {
	c.once.Do(func() {
		close(c.done)
		c.net.Close()
	})
}

// read runs until the connection ends, and returns why.
func (c *conn) read() error {
	in := inbox{conn: c}
	r := peerwire.NewReader(c.net, in.block)
	for {
		r.Limits = c.currentLimits()
		m, err := r.Next()
		if err == nil {
			err = in.accept(m)
		}
		if err != nil {
			c.giveBack(&m)
			in.post()
			return err
		}
		if !r.Ready() {
			if err := in.post(); err != nil {
				return err
			}
		}
	}
}

// maxTogether is how many messages that came together are posted together.
const maxTogether = 16

// inbox gathers messages that came together: each post wakes the loop.
type inbox struct {
	conn   *conn
	events []event
}

// accept takes a message that was read.
func (in *inbox) accept(m peerwire.Message) error {
	secure := in.conn.secure
	switch {
	case secure == nil && m.ID.IsPay():
		return errOutOfTurn
	case secure == nil:
		return in.add(m)
	case secure.changes(&m):
		if err := in.post(); err != nil { // what came before is told before
			return err
		}
	}
	return secure.receive(m, in)
}

// add keeps a message until others have come, a few at most. With an error it is
// still the caller's.
func (in *inbox) add(m peerwire.Message) error {
	if len(in.events) >= maxTogether {
		if err := in.post(); err != nil {
			return err
		}
	}
	in.events = append(in.events, event{kind: received, peer: in.conn.id, message: m})
	return nil
}

// block gives the buffer for a block. Who has to wait for one keeps none back.
func (in *inbox) block() []byte {
	if b := in.conn.torrent.node.blocks.take(false); b != nil {
		return b
	}
	in.post()
	return in.conn.torrent.node.blocks.get(in.conn.done)
}

// post tells the Swarm. When the torrent is gone it gives the buffers back.
func (in *inbox) post() error {
	events := in.events
	in.events = in.events[:0]
	if len(events) == 0 || in.conn.torrent.mail.postWaiting(events...) {
		return nil
	}
	for i := range events {
		in.conn.giveBack(&events[i].message)
	}
	return errClosed
}

// giveBack frees the buffer of a message that nobody will get.
func (c *conn) giveBack(m *peerwire.Message) {
	if m.Data != nil && m.ID == peerwire.Piece {
		c.torrent.node.blocks.put(m.Data)
	}
}

func (c *conn) currentLimits() peerwire.Limits {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.limits
}

func (c *conn) setLimits(l peerwire.Limits) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.limits = l
}

// put queues what is to be written. It never waits: a peer for which too much
// piles up is closed.
func (c *conn) put(m peerwire.Message) {
	c.mu.Lock()
	c.outbox = append(c.outbox, m)
	c.waiting += weight(&m)
	over := c.waiting > maxWaiting
	c.mu.Unlock()
	if over {
		c.close()
	}
}

// weight is about how much memory a message takes until it is written.
func weight(m *peerwire.Message) int { return messageWeight + len(m.Data) }

// flush wakes the writer.
func (c *conn) flush() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *conn) takeOutbox() []peerwire.Message {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.outbox
	c.outbox, c.spare = c.spare[:0], nil
	return out
}

// written forgets what was taken from the outbox: until then it weighs.
func (c *conn) written(out []peerwire.Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range out {
		c.waiting -= weight(&out[i])
	}
	clear(out)
	if cap(out) <= maxSpare {
		c.spare = out
	}
}

// write runs until the connection ends, and returns why.
func (c *conn) write() error {
	for {
		select {
		case <-c.done:
			return errClosed
		case <-c.wake:
		}
		last := c.last.Load() // before the outbox is taken: what was put before closeAfter is in it
		if out := c.takeOutbox(); len(out) > 0 {
			if err := c.writeAll(out); err != nil {
				return err
			}
			c.written(out)
		}
		if last {
			return errClosed
		}
	}
}

// closeAfter writes what is in the outbox, within a second, and closes.
func (c *conn) closeAfter() {
	c.last.Store(true)
	c.flush()
	select {
	case <-c.done:
	case <-time.After(time.Second):
		c.close()
	}
}

var errClosed = errors.New("closed")
