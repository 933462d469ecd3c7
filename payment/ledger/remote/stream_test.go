package remote

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func readAll(text io.Reader) (list []message, err error) {
	s := newStream(text, nil)
	for {
		m, err := s.next()
		if err != nil {
			return list, err
		}
		list = append(list, m)
	}
}

func TestStream(t *testing.T) {
	msg := func(event, id, data string) message { return message{event, id, []byte(data)} }
	for name, tt := range map[string]struct {
		text string
		want []message
	}{
		"nothing":              {"", nil},
		"a comment":            {": keep-alive\n\n", nil},
		"one":                  {"id: 7\ndata: {}\n\n", []message{msg("message", "7", "{}")}},
		"with an event's name": {"event: block\nid: 1\ndata: a\n\n", []message{msg("block", "1", "a")}},
		"two lines":            {"data: a\ndata: b\n\n", []message{msg("message", "", "a\nb")}},
		"no space, CRLF":       {"data:a\r\nid:3\r\n\r\n", []message{msg("message", "3", "a")}},
		"only one space goes":  {"data:  a\n\n", []message{msg("message", "", " a")}},
		"the id stays":         {"id: 1\ndata: a\n\ndata: b\n\n", []message{msg("message", "1", "a"), msg("message", "1", "b")}},
		"an id without data":   {"id: 4\n\ndata: b\n\n", []message{msg("message", "4", "b")}},
		"a name is forgotten":  {"event: x\n\ndata: b\n\n", []message{msg("message", "", "b")}},
		"an unknown field":     {"retry: 10\nnonsense\ndata: b\n\n", []message{msg("message", "", "b")}},
		"cut off":              {"data: a\n\ndata: b\n", []message{msg("message", "", "a")}},
		"cut in a line":        {"data: a\n\ndata", []message{msg("message", "", "a")}},
		"NUL in an id":         {"id: 1\x002\ndata: a\n\n", []message{msg("message", "", "a")}},
		"a line over a buffer": {"data: " + strings.Repeat("x", 40_000) + "\n\n", []message{msg("message", "", strings.Repeat("x", 40_000))}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := readAll(strings.NewReader(tt.text))
			if !errors.Is(err, io.EOF) {
				t.Errorf("it ended with %v", err)
			}
			if d := cmp.Diff(tt.want, got, cmp.AllowUnexported(message{})); d != "" {
				t.Error(d)
			}
		})
	}
}

// endless is a stream whose events or lines never end.
type endless struct {
	unit string
	read int
}

func (e *endless) Read(b []byte) (int, error) {
	n := copy(b, strings.Repeat(e.unit, len(b)/len(e.unit)+1)[:len(b)])
	e.read += n
	return n, nil
}

func TestStreamIsBounded(t *testing.T) {
	for _, unit := range []string{"x", "data: 0123456789abcdef0123456789abcdef\n"} {
		e := &endless{unit: unit}
		if _, err := readAll(e); !errors.Is(err, ErrStream) {
			t.Errorf("%.10q for ever: %v", unit, err)
		}
		if e.read > 2*maxMessage {
			t.Errorf("%.10q for ever: %d bytes were read", unit, e.read)
		}
	}
}

func FuzzStream(f *testing.F) {
	f.Add([]byte("id: 7\ndata: {}\n\n"))
	f.Add([]byte(": c\nevent: block\r\nid: 1\r\ndata: a\r\ndata: b\r\n\r\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		list, err := readAll(bytes.NewReader(text))
		if err == nil {
			t.Fatal("a stream without end")
		}
		// What was read, written as the server writes, reads the same.
		var again bytes.Buffer
		for _, m := range list {
			if strings.ContainsRune(m.event+m.id+string(m.data), '\r') {
				return // a lone \r, which no server of ours writes
			}
			fmt.Fprintf(&again, "event: %s\nid: %s\n", m.event, m.id)
			for line := range strings.SplitSeq(string(m.data), "\n") {
				fmt.Fprintf(&again, "data: %s\n", line)
			}
			again.WriteByte('\n')
		}
		back, err := readAll(&again)
		if d := cmp.Diff(list, back, cmp.AllowUnexported(message{})); d != "" || !errors.Is(err, io.EOF) {
			t.Fatalf("%v\n%s", err, d)
		}
	})
}
