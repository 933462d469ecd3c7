package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"torrente/internal/netlab"
)

// stage is where a path is played: a lab, a folder, and the processes.
type stage struct {
	ctx      context.Context
	lab      *netlab.Lab
	dir      string
	torrente string
	path     path
	say      *told
	verbose  bool
	children []*child
}

// told is where the demonstration tells what happens.
type told struct {
	mu  sync.Mutex // guards the following
	out io.Writer
}

func (t *told) line(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(t.out, format+"\n", args...)
}

func (s *stage) file(name string) string { return filepath.Join(s.dir, name) }

// strike ends what runs, and removes the lab and the folder.
func (s *stage) strike() error {
	for i := len(s.children) - 1; i >= 0; i-- {
		s.children[i].end()
	}
	return errors.Join(s.lab.Close(), os.RemoveAll(s.dir))
}

// command is one of the program's in a namespace.
func (s *stage) command(ctx context.Context, where string, args ...string) *exec.Cmd {
	c := s.lab.In(ctx, where, append([]string{s.torrente}, args...)...)
	c.Env = append(os.Environ(), "TORRENTE_PASSWORD=natlab", "TORRENTE_PORTMAP=off", "TORRENTE_HOME="+s.file("home"))
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	c.WaitDelay = 20 * time.Second
	return c
}

// do runs a command to its end, and returns what it printed.
func (s *stage) do(where string, args ...string) (string, error) {
	c := s.command(s.ctx, where, args...)
	var errs bytes.Buffer
	c.Stderr = &errs
	out, err := c.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", args[0], err, strings.TrimSpace(errs.String()))
	}
	return string(out), nil
}

// child is a process that runs meanwhile.
type child struct {
	cmd   *exec.Cmd
	ended chan struct{}
	err   error // how it ended; to be read after ended is closed

	mu    sync.Mutex // guards the following
	lines []string
	news  chan struct{} // closed when there is another line
}

// begin starts a command.
func (s *stage) begin(ctx context.Context, where string, args ...string) (*child, error) {
	c := &child{cmd: s.command(ctx, where, args...), ended: make(chan struct{}), news: make(chan struct{})}
	out, in := io.Pipe()
	c.cmd.Stdout, c.cmd.Stderr = in, in
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	s.children = append(s.children, c)
	read := make(chan struct{})
	go func() {
		defer close(read)
		c.read(out, func(line string) {
			if s.verbose {
				s.say.line("    %s: %s", where, line)
			}
		})
	}()
	go func() {
		c.err = c.cmd.Wait()
		_ = in.Close() // which never fails
		<-read
		close(c.ended)
	}()
	return c, nil
}

// start starts a command and waits until it has said something.
func (s *stage) start(where, until string, args ...string) (*child, error) {
	c, err := s.begin(s.ctx, where, args...)
	if err != nil {
		return nil, err
	}
	return c, c.says(s.ctx, until, 30*time.Second)
}

// read takes lines; what a progress rewrites is a line each time.
func (c *child) read(from io.Reader, each func(string)) {
	lines := bufio.NewScanner(from)
	lines.Split(splitAtReturns)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" {
			continue
		}
		each(line)
		c.mu.Lock()
		c.lines = append(c.lines, line)
		close(c.news)
		c.news = make(chan struct{})
		c.mu.Unlock()
	}
}

// splitAtReturns is a bufio.SplitFunc.
func splitAtReturns(data []byte, atEOF bool) (advance int, token []byte, err error) {
	if i := bytes.IndexAny(data, "\r\n"); i >= 0 {
		return i + 1, data[:i], nil
	}
	if atEOF && len(data) > 0 {
		return len(data), data, nil
	}
	return 0, nil, nil
}

// says waits until a line has a part.
func (c *child) says(ctx context.Context, part string, limit time.Duration) error {
	ctx, end := context.WithTimeout(ctx, limit)
	defer end()
	for {
		c.mu.Lock()
		news := c.news
		c.mu.Unlock()
		if c.line(part) != "" {
			return nil
		}
		select {
		case <-news:
		case <-c.ended:
			return fmt.Errorf("%s ended (%v) before it said %q; it said last: %s", c.cmd.Args[5], c.err, part, c.last())
		case <-ctx.Done():
			return fmt.Errorf("%s did not say %q; it said last: %s", c.cmd.Args[5], part, c.last())
		}
	}
}

// line is the last one that has a part, or "".
func (c *child) line(part string) (found string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, line := range c.lines {
		if strings.Contains(line, part) {
			found = line
		}
	}
	return found
}

// last is what it said last.
func (c *child) last() string { return c.line("") }

// end interrupts it, and waits for its end.
func (c *child) end() {
	_ = c.cmd.Process.Signal(os.Interrupt) // it may have ended
	<-c.ended
}

// writeGoods makes a file that nobody has.
func writeGoods(path string, size int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.CopyN(f, rand.Reader, size)
	return errors.Join(err, f.Close())
}

// sameFiles compares two files, which may be larger than memory.
func sameFiles(a, b string) (bool, error) {
	var sums [2][]byte
	for i, path := range []string{a, b} {
		f, err := os.Open(path)
		if err != nil {
			return false, err
		}
		h := sha256.New()
		_, err = io.Copy(h, f)
		if err := errors.Join(err, f.Close()); err != nil {
			return false, err
		}
		sums[i] = h.Sum(nil)
	}
	return bytes.Equal(sums[0], sums[1]), nil
}
