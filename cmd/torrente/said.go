package main

import (
	"context"
	"errors"
	"strings"
	"sync"
)

// said keeps what a child process writes, and waits for a line of it.
type said struct {
	until string
	found chan struct{} // closed when a line has until in it
	done  chan struct{} // closed when the process has ended

	mu   sync.Mutex // guards the following
	text strings.Builder
	line string
	err  error
}

// maxSaid bounds what is kept of a child's words.
const maxSaid = 64 << 10

func newSaid(until string) *said {
	return &said{until: until, found: make(chan struct{}), done: make(chan struct{})}
}

// Write takes the process's words.
func (s *said) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.text.Len() < maxSaid {
		s.text.Write(b)
	}
	if s.line != "" {
		return len(b), nil
	}
	for line := range strings.Lines(s.text.String()) {
		if strings.HasSuffix(line, "\n") && strings.Contains(line, s.until) {
			s.line = strings.TrimSpace(line)
			close(s.found)
			break
		}
	}
	return len(b), nil
}

func (s *said) ended(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
	close(s.done)
}

// wait returns the line, or why there is none.
func (s *said) wait(ctx context.Context) (string, error) {
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case <-s.found:
		return s.line, nil
	case <-s.done:
		return "", errors.New("it ended: " + strings.TrimSpace(s.text.String()))
	}
}
