package peerwire

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
)

// readAhead is how much a Reader asks of its source at once: large enough to
// make system calls rare, small enough for a thousand peers.
const readAhead = 64 << 10

// Reader reads messages from a stream.
type Reader struct {
	// Limits may change between calls, when the metadata becomes known.
	Limits Limits
	// Block gives the buffer for the data of a piece message, at least
	// BlockSize long. It may wait: then the peer waits too, through TCP.
	Block func() []byte

	src  *bufio.Reader
	head [PieceHeaderSize]byte
}

// NewReader reads from src. block gives the buffers of piece messages.
func NewReader(src io.Reader, block func() []byte) *Reader {
	return &Reader{Block: block, src: bufio.NewReaderSize(src, readAhead)}
}

// Next reads one message. The Data of a piece message is a buffer from Block,
// cut to length; other Data is newly made. io.EOF means that the stream ended
// between two messages; ErrTooLong, ErrMalformed and ErrUnknownID that the
// peer broke the protocol.
func (r *Reader) Next() (Message, error) {
	head := r.head[:5]
	if _, err := io.ReadFull(r.src, head[:4]); err != nil {
		return Message{}, err
	}
	n := binary.BigEndian.Uint32(head)
	if n == 0 {
		return Message{ID: KeepAlive}, nil
	}
	if _, err := io.ReadFull(r.src, head[4:5]); err != nil {
		return Message{}, cut(err)
	}
	id := ID(head[4])
	if err := r.Limits.checkLength(id, int(min(n-1, 1<<30))); err != nil {
		return Message{}, err
	}
	if id == Piece {
		return r.piece(int(n) - 9)
	}
	return r.other(id, int(n)-1)
}

// Ready reports whether the next message has come whole, so that Next will not
// wait for the peer.
func (r *Reader) Ready() bool {
	have := r.src.Buffered()
	if have < 4 {
		return false
	}
	head, err := r.src.Peek(4)
	return err == nil && uint64(have-4) >= uint64(binary.BigEndian.Uint32(head))
}

// piece reads the rest of a piece message, the block straight into its buffer.
func (r *Reader) piece(length int) (Message, error) {
	if length <= 0 {
		return Message{}, fmt.Errorf("%w: piece without data", ErrMalformed)
	}
	head := r.head[5:13]
	if _, err := io.ReadFull(r.src, head); err != nil {
		return Message{}, cut(err)
	}
	data := r.Block()[:length]
	m := Message{
		ID: Piece, Index: binary.BigEndian.Uint32(head), Begin: binary.BigEndian.Uint32(head[4:]),
		Length: uint32(length), Data: data,
	}
	if _, err := io.ReadFull(r.src, data); err != nil {
		return m, cut(err) // with its buffer, for the caller to take back
	}
	return m, nil
}

// other reads a message that is not a piece. The short ones, most of all
// requests, are parsed where they lie in the buffer.
func (r *Reader) other(id ID, body int) (Message, error) {
	m := Message{ID: id}
	if body <= 12 {
		b, err := r.src.Peek(body)
		if err != nil {
			return Message{}, cut(err)
		}
		ok := m.parseBody(b, r.Limits)
		m.Data = append([]byte(nil), m.Data...) // bits or payload must outlive the buffer
		if _, err := r.src.Discard(body); err != nil || !ok {
			return Message{}, fmt.Errorf("%w: %v of %d bytes", ErrMalformed, id, body)
		}
		return m, nil
	}
	b := make([]byte, body)
	if _, err := io.ReadFull(r.src, b); err != nil {
		return Message{}, cut(err)
	}
	if !m.parseBody(b, r.Limits) {
		return Message{}, fmt.Errorf("%w: %v of %d bytes", ErrMalformed, id, body)
	}
	return m, nil
}

// cut tells an end in the middle of a message from one between messages.
func cut(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
