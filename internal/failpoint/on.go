//go:build failpoint

package failpoint

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// The variables of the environment.
const (
	killVariable = "TORRENTE_FAILPOINT"
	logVariable  = "TORRENTE_FAILPOINT_LOG"
)

// plan says where the process dies.
type plan struct {
	name string // of the point; empty: any
	at   int    // how often it is reached before, and the time itself
}

var errPlan = errors.New("neither NAME@N nor SEED:RANGE, with N and RANGE at least 1")

// parse reads a plan.
func parse(s string) (plan, error) {
	if name, count, ok := strings.Cut(s, "@"); ok {
		n, err := strconv.Atoi(count)
		if err != nil || n < 1 || name == "" {
			return plan{}, errPlan
		}
		return plan{name, n}, nil
	}
	seed, most, _ := strings.Cut(s, ":")
	n, err := strconv.ParseUint(seed, 10, 64)
	m, err2 := strconv.Atoi(most)
	if err != nil || err2 != nil || m < 1 {
		return plan{}, errPlan
	}
	return plan{at: 1 + rand.New(rand.NewPCG(n, 0)).IntN(m)}, nil
}

// counter counts how often points are reached.
type counter struct {
	plan plan
	log  *os.File // nil: none
	kill func()   // does not return

	mu    sync.Mutex // guards the following; whoever dies keeps it, so that nobody passes another point
	all   int
	times map[string]int
}

// process is what Hit counts in; nil: nothing was asked for.
var process *counter

func init() {
	kill, log := os.Getenv(killVariable), os.Getenv(logVariable)
	if kill == "" && log == "" {
		return
	}
	c, err := newCounter(kill, log)
	if err != nil {
		fmt.Fprintf(os.Stderr, "failpoint: %v\n", err)
		os.Exit(2)
	}
	process = c
}

func newCounter(kill, log string) (*counter, error) {
	c := &counter{times: map[string]int{}, kill: killSelf}
	var err error
	if kill != "" {
		if c.plan, err = parse(kill); err != nil {
			return nil, fmt.Errorf("%s=%s: %w", killVariable, kill, err)
		}
	}
	if log != "" {
		c.log, err = os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	}
	return c, err
}

// killSelf is the end: no deferred call runs, nothing is flushed.
func killSelf() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // until the signal has arrived
}

// Hit says that a point is reached. It does not return if the process is to die
// here.
func Hit(name string) {
	if process != nil {
		process.hit(name)
	}
}

// HitIf is Hit if something holds: one line where an if would remain without
// the tag.
func HitIf(holds bool, name string) {
	if holds {
		Hit(name)
	}
}

func (c *counter) hit(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all++
	c.times[name]++
	n := c.times[name]
	if n == 1 {
		c.note("hit %s\n", name)
	}
	if c.plan.name == name && c.plan.at == n || c.plan.name == "" && c.plan.at == c.all {
		c.note("kill %s %d\n", name, n)
		c.kill()
	}
}

// note writes a line with one write, which SIGKILL leaves whole.
func (c *counter) note(format string, args ...any) {
	if c.log != nil {
		fmt.Fprintf(c.log, format, args...)
	}
}
