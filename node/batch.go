package node

import (
	"encoding/binary"
	"time"

	"torrente/identity"
	"torrente/internal/failpoint"
	"torrente/peerwire"
	"torrente/piece"
	"torrente/swarm"
)

const (
	// chunkBlocks is how many blocks go into one write.
	chunkBlocks = 8
	// chunkSize has room for them, with their heads, and some messages.
	chunkSize = chunkBlocks*(peerwire.PieceHeaderSize+piece.BlockSize) + 4<<10
	// smallWrite is how many bytes of messages other than blocks go into one
	// write, and what a connection keeps for them.
	smallWrite = 32 << 10
	// sealTogether is how many bytes of messages go into one sealed one.
	sealTogether = 16 << 10
)

// What was sent is told to the Swarm when it is half of what it hands on at a
// time, or some time has passed: each time wakes the loop.
const (
	reportBlocks = 32
	reportEvery  = 100 * time.Millisecond
)

// batch gathers what goes out with one system call. It begins in a buffer that
// the connection keeps; for blocks it takes a chunk and gives it back at the
// end. Only peers that have a slot are sent blocks: so the chunks that those
// hold who do not read are few, and nobody waits for one.
type batch struct {
	conn   *conn
	buf    []byte
	chunk  *[chunkSize]byte // nil: none was needed
	blocks int              // in buf
	bytes  int64            // of their data
	heavy  int              // messages in buf that the Swarm counts
	sent   event            // what was written and not told
	told   time.Time        // when it was, the last time
}

// writeAll writes messages and blocks, as many as fit in a buffer with each
// system call.
func (c *conn) writeAll(out []peerwire.Message) (err error) {
	b := batch{conn: c, buf: c.small[:0], told: time.Now()}
	defer b.end()
	for len(out) > 0 && err == nil {
		n := 1
		if out[0].ID == peerwire.Piece {
			n, err = b.addBlocks(out[:following(out)])
		} else {
			err = b.add(&out[0])
		}
		out = out[n:]
	}
	if err != nil {
		return err
	}
	return b.flush()
}

// following is how many blocks, from the first message on, follow each other in
// their piece.
func following(out []peerwire.Message) int {
	for i := 1; i < len(out); i++ {
		a, b := &out[i-1], &out[i]
		if b.ID != peerwire.Piece || b.Index != a.Index || b.Begin != a.Begin+a.Length {
			return i
		}
	}
	return len(out)
}

func (b *batch) add(m *peerwire.Message) error {
	failpoint.HitIf(m.ID == peerwire.PayCommitID, "node.commit.send")
	failpoint.HitIf(m.ID == peerwire.PayID, "node.link.send")
	if swarm.Heavy(m) {
		b.heavy++
	}
	if err := b.append(m); err != nil {
		return err
	}
	if len(b.buf) >= smallWrite && b.blocks == 0 {
		return b.flush()
	}
	return nil
}

// addBlocks reads blocks that follow each other into their places behind their
// heads, as many as there is room for, and returns how many.
func (b *batch) addBlocks(ms []peerwire.Message) (n int, err error) {
	const room = peerwire.PieceHeaderSize + piece.BlockSize
	if err := b.seal(); err != nil { // what was said before stays before
		return 0, err
	}
	if b.chunk == nil || cap(b.buf)-len(b.buf) < room {
		if err := b.flush(); err != nil {
			return 0, err
		}
		if b.chunk == nil {
			b.chunk = b.conn.torrent.node.chunks.Get().(*[chunkSize]byte)
		}
		b.buf = b.chunk[:0]
	}
	var places [chunkBlocks][]byte
	for n < min(len(ms), chunkBlocks) && cap(b.buf)-len(b.buf) >= room {
		m := &ms[n]
		b.buf = peerwire.AppendPieceHeader(b.buf, m.Index, m.Begin, m.Length)
		at := len(b.buf)
		b.buf = b.buf[:at+int(m.Length)]
		places[n] = b.buf[at:]
		n++
		b.blocks, b.bytes = b.blocks+1, b.bytes+int64(m.Length)
	}
	first := piece.Block{Piece: ms[0].Index, Begin: ms[0].Begin, Length: ms[0].Length}
	t := b.conn.torrent
	if err := t.store.Load().ReadRun(first, places[:n]); err != nil {
		t.damage(err)
		return n, err
	}
	return n, nil
}

// flush writes all there is.
func (b *batch) flush() error {
	if err := b.seal(); err != nil {
		return err
	}
	return b.write()
}

func (b *batch) write() error {
	if len(b.buf) == 0 {
		return nil
	}
	c := b.conn
	c.net.SetWriteDeadline(time.Now().Add(writeTime))
	failpoint.Hit("node.peer.write")
	_, err := c.net.Write(b.buf)
	failpoint.Hit("node.peer.written")
	b.sent.count, b.sent.bytes, b.sent.heavy = b.sent.count+b.blocks, b.sent.bytes+b.bytes, b.sent.heavy+b.heavy
	if now := time.Now(); b.sent.count >= reportBlocks || now.Sub(b.told) >= reportEvery {
		b.told = now
		b.tell()
	}
	b.buf, b.blocks, b.bytes, b.heavy = b.buf[:0], 0, 0, 0
	return err
}

// tell tells the Swarm what it counts of what was written.
func (b *batch) tell() {
	if e := b.sent; e.count > 0 || e.heavy > 0 {
		e.kind, e.peer = sent, b.conn.id
		b.conn.torrent.mail.post(e)
	}
	b.sent = event{}
}

// end tells the rest, and keeps or gives back the buffer.
func (b *batch) end() {
	b.tell()
	if b.chunk != nil {
		b.conn.torrent.node.chunks.Put(b.chunk)
	} else if cap(b.buf) <= 2*smallWrite {
		b.conn.small = b.buf
	}
}

// append appends a message as it goes over the wire. Once there are keys, that is
// sealed, together with others up to the next block: seal does that. Keep-alives
// are not sealed. The message that brings the keys becomes the empty sealed one,
// which is the first.
func (b *batch) append(m *peerwire.Message) error {
	c := b.conn
	switch {
	case m.ID == peerwire.PaySealedID:
		c.seal = m.Rare.(*identity.Session)
		return b.sealed(nil)
	case c.seal == nil || m.ID == peerwire.KeepAlive:
		b.buf = peerwire.Append(b.buf, *m)
		return nil
	}
	before := len(c.plain)
	if c.plain = peerwire.Append(c.plain, *m); before == 0 || len(c.plain) <= sealTogether {
		return nil
	}
	err := b.sealed(c.plain[:before])
	c.plain = c.plain[:copy(c.plain, c.plain[before:])]
	return err
}

// seal appends what waits to be sealed.
func (b *batch) seal() error {
	plain := b.conn.plain
	b.conn.plain = plain[:0]
	if len(plain) == 0 {
		return nil
	}
	return b.sealed(plain)
}

// sealed appends a sealed message. It does not make a chunk grow.
func (b *batch) sealed(plain []byte) (err error) {
	const head = 5
	if b.blocks > 0 && cap(b.buf)-len(b.buf) < head+len(plain)+identity.SealOverhead {
		if err := b.write(); err != nil {
			return err
		}
	}
	b.buf = binary.BigEndian.AppendUint32(b.buf, uint32(1+len(plain)+identity.SealOverhead))
	b.buf, err = b.conn.seal.Seal(append(b.buf, byte(peerwire.PaySealedID)), plain)
	return err
}
