package node

import (
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"torrente/identity"
	"torrente/peerwire"
	"torrente/piece"
	"torrente/swarm"
)

const (
	// handshakeTime is how long a handshake may take in all.
	handshakeTime = 10 * time.Second
	// writeTime is how long a peer may take to take what we write.
	writeTime = 2 * time.Minute
	// chunkBlocks is how many blocks go into one write.
	chunkBlocks = 8
	// chunkSize has room for them, with their heads, and some messages.
	chunkSize = chunkBlocks*(peerwire.PieceHeaderSize+piece.BlockSize) + 4<<10
	// maxOutbox is how many messages wait for a peer that does not read.
	maxOutbox = 64 << 10
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
	last    atomic.Bool       // what is in the outbox is the last to be written

	mu sync.Mutex // guards the following
	// outbox is what is to be written. A piece without Data is a block to be
	// read first.
	outbox []peerwire.Message
	spare  []peerwire.Message
	limits peerwire.Limits
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
	r := peerwire.NewReader(c.net, c.torrent.node.blocks.get)
	for {
		r.Limits = c.currentLimits()
		m, err := r.Next()
		if err == nil && c.secure != nil {
			inner, tells, failed := c.secure.receive(m)
			if failed != nil {
				return failed
			}
			if m = inner; !tells {
				continue
			}
		} else if err == nil && m.ID.IsPay() {
			return errOutOfTurn
		}
		if err == nil && !c.torrent.mail.postWaiting(event{kind: received, peer: c.id, message: m}) {
			err = errClosed
		}
		if err != nil {
			if m.Data != nil && m.ID == peerwire.Piece {
				c.torrent.node.blocks.put(m.Data)
			}
			return err
		}
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
	n := len(c.outbox)
	c.mu.Unlock()
	if n > maxOutbox {
		c.close()
	}
}

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
	clear(c.spare)
	c.outbox, c.spare = c.spare[:0], out
	return out
}

// write runs until the connection ends, and returns why.
func (c *conn) write() error {
	for {
		select {
		case <-c.done:
			return errClosed
		case <-c.wake:
		}
		if out := c.takeOutbox(); len(out) > 0 {
			if err := c.writeAll(out); err != nil {
				return err
			}
		}
		if c.last.Load() {
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

// writeAll writes messages and blocks, as many as fit in a buffer with each
// system call.
func (c *conn) writeAll(out []peerwire.Message) error {
	chunks := c.torrent.node.chunks
	buf := chunks.get()
	defer func() { chunks.put(buf) }()
	at, blocks, bytes := 0, 0, int64(0)
	flush := func() error {
		if at == 0 {
			return nil
		}
		c.net.SetWriteDeadline(time.Now().Add(writeTime))
		_, err := c.net.Write(buf[:at])
		if blocks > 0 {
			c.torrent.mail.post(event{kind: sent, peer: c.id, count: blocks, bytes: bytes})
		}
		at, blocks, bytes = 0, 0, 0
		return err
	}
	for i := range out {
		m := &out[i]
		if len(buf)-at < peerwire.PieceHeaderSize+piece.BlockSize {
			if err := flush(); err != nil {
				return err
			}
		}
		if m.ID == peerwire.Piece {
			if err := c.serve(buf[at:], m); err != nil {
				return err
			}
			at += peerwire.PieceHeaderSize + int(m.Length)
			blocks, bytes = blocks+1, bytes+int64(m.Length)
			continue
		}
		b, err := c.append(buf[:at], m)
		if err != nil {
			return err
		}
		if len(b) > len(buf) { // a bitfield longer than the room that is left
			long := b[at:]
			if err := flush(); err != nil {
				return err
			}
			if _, err := c.net.Write(long); err != nil {
				return err
			}
			continue
		}
		at = len(b)
	}
	return flush()
}

// append appends a message as it goes over the wire: sealed, once there are
// keys, but for keep-alives. The message that brings the keys becomes the empty
// sealed one, which is the first.
func (c *conn) append(dst []byte, m *peerwire.Message) ([]byte, error) {
	var plain []byte
	switch {
	case m.ID == peerwire.PaySealedID:
		c.seal = m.Rare.(*identity.Session)
	case c.seal == nil || m.ID == peerwire.KeepAlive:
		return peerwire.Append(dst, *m), nil
	default:
		c.plain = peerwire.Append(c.plain[:0], *m)
		plain = c.plain[4:]
	}
	dst = binary.BigEndian.AppendUint32(dst, uint32(1+len(plain)+identity.SealOverhead))
	return c.seal.Seal(append(dst, byte(peerwire.PaySealedID)), plain)
}

// serve reads a block into place behind its head.
func (c *conn) serve(dst []byte, m *peerwire.Message) error {
	peerwire.AppendPieceHeader(dst[:0], m.Index, m.Begin, m.Length)
	b := piece.Block{Piece: m.Index, Begin: m.Begin, Length: m.Length}
	err := c.torrent.store.Load().Read(b, dst[peerwire.PieceHeaderSize:][:m.Length])
	if err != nil {
		c.torrent.fail(err)
	}
	return err
}

var errClosed = errors.New("closed")
