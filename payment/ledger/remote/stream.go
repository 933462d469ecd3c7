package remote

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// Bounds of a stream of server-sent events.
const (
	maxLine    = 8 << 20 // bytes
	maxMessage = 8 << 20 // bytes of the data of one event
)

// ErrStream means that a stream of events is not as the specification of
// server-sent events has it, or beyond the bounds.
var ErrStream = errors.New("the stream of ledger events is damaged: update this program")

// message is one server-sent event.
type message struct {
	event string // "message" if not said
	id    string // of this or the last event that had one
	data  []byte // lines joined by a newline
}

// stream reads server-sent events (WHATWG HTML, 9.2.6), of which the server
// uses comments, id, event and data.
type stream struct {
	r    *bufio.Reader
	id   string
	heed func() // called for every line: somebody is there
}

func newStream(r io.Reader, heed func()) *stream {
	return &stream{r: bufio.NewReaderSize(r, 16<<10), heed: heed}
}

// next returns the next event with data. At the end of the stream it returns
// io.EOF, and drops an event that is cut off.
func (s *stream) next() (message, error) {
	m := message{event: "message"}
	var lines int
	for {
		line, err := s.line()
		if err != nil {
			return message{}, err
		}
		if s.heed != nil {
			s.heed()
		}
		if len(line) == 0 {
			if lines > 0 {
				m.id = s.id
				return m, nil
			}
			m = message{event: "message"}
			continue
		}
		field, value, _ := bytes.Cut(line, []byte{':'})
		value = bytes.TrimPrefix(value, []byte{' '})
		switch string(field) {
		case "data":
			if lines++; lines > 1 {
				m.data = append(m.data, '\n')
			}
			if len(m.data)+len(value) > maxMessage {
				return message{}, fmt.Errorf("%w (an event is longer than %d bytes)", ErrStream, maxMessage)
			}
			m.data = append(m.data, value...)
		case "event":
			m.event = string(value)
		case "id":
			if !bytes.Contains(value, []byte{0}) {
				s.id = string(value)
			}
		}
		// Anything else is a comment, or a field of the future.
	}
}

// line returns the next line without its end, \n or \r\n. The server writes no
// lone \r.
func (s *stream) line() ([]byte, error) {
	var long []byte
	for {
		part, err := s.r.ReadSlice('\n')
		if len(long)+len(part) > maxLine {
			return nil, fmt.Errorf("%w (a line is longer than %d bytes)", ErrStream, maxLine)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			long = append(long, part...)
			continue
		}
		if err != nil {
			return nil, err
		}
		if long != nil {
			part = append(long, part...)
		}
		return bytes.TrimSuffix(part[:len(part)-1], []byte{'\r'}), nil
	}
}
