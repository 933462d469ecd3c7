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
}

// writeAll writes messages and blocks, as many as fit in a buffer with each
// system call.
func (c *conn) writeAll(out []peerwire.Message) error {
	b := batch{conn: c, buf: c.small[:0]}
	defer b.end()
	for i := range out {
		if err := b.add(&out[i]); err != nil {
			return err
		}
	}
	return b.flush()
}

func (b *batch) add(m *peerwire.Message) (err error) {
	if m.ID == peerwire.Piece {
		return b.addBlock(m)
	}
	failpoint.HitIf(m.ID == peerwire.PayCommitID, "node.commit.send")
	failpoint.HitIf(m.ID == peerwire.PayID, "node.link.send")
	if swarm.Heavy(m) {
		b.heavy++
	}
	if b.buf, err = b.conn.append(b.buf, m); err != nil {
		return err
	}
	if len(b.buf) >= smallWrite && b.blocks == 0 {
		return b.flush()
	}
	return nil
}

// addBlock reads a block into place behind its head.
func (b *batch) addBlock(m *peerwire.Message) error {
	if b.chunk == nil || cap(b.buf)-len(b.buf) < peerwire.PieceHeaderSize+piece.BlockSize {
		if err := b.flush(); err != nil {
			return err
		}
		if b.chunk == nil {
			b.chunk = b.conn.torrent.node.chunks.Get().(*[chunkSize]byte)
		}
		b.buf = b.chunk[:0]
	}
	at := len(b.buf)
	b.buf = peerwire.AppendPieceHeader(b.buf, m.Index, m.Begin, m.Length)
	b.buf = b.buf[:at+peerwire.PieceHeaderSize+int(m.Length)]
	which := piece.Block{Piece: m.Index, Begin: m.Begin, Length: m.Length}
	t := b.conn.torrent
	if err := t.store.Load().Read(which, b.buf[at+peerwire.PieceHeaderSize:]); err != nil {
		t.damage(err)
		return err
	}
	b.blocks, b.bytes = b.blocks+1, b.bytes+int64(m.Length)
	return nil
}

// flush writes, and tells the Swarm what it counts.
func (b *batch) flush() error {
	if len(b.buf) == 0 {
		return nil
	}
	c := b.conn
	c.net.SetWriteDeadline(time.Now().Add(writeTime))
	failpoint.Hit("node.peer.write")
	_, err := c.net.Write(b.buf)
	failpoint.Hit("node.peer.written")
	if b.blocks > 0 || b.heavy > 0 {
		c.torrent.mail.post(event{kind: sent, peer: c.id, count: b.blocks, bytes: b.bytes, heavy: b.heavy})
	}
	b.buf, b.blocks, b.bytes, b.heavy = b.buf[:0], 0, 0, 0
	return err
}

// end keeps or gives back the buffer.
func (b *batch) end() {
	if b.chunk != nil {
		b.conn.torrent.node.chunks.Put(b.chunk)
	} else if cap(b.buf) <= 2*smallWrite {
		b.conn.small = b.buf
	}
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
