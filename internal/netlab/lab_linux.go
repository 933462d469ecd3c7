package netlab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
)

// The errors of New.
var (
	ErrRoot     = errors.New("network namespaces need root: run it as root, or with sudo")
	ErrPrograms = errors.New("ip, nft and miniupnpd are needed: make debian installs them")
)

// Lab is a set of network namespaces. Its methods may be called by several goroutines.
type Lab struct {
	prefix string // of the namespaces' names

	mu         sync.Mutex // guards the following
	namespaces []string
	routers    []*Router
}

var made atomic.Int64

// New makes a Lab without namespaces. It removes those of labs whose process was
// killed.
func New() (*Lab, error) {
	if os.Geteuid() != 0 {
		return nil, ErrRoot
	}
	for _, program := range []string{"ip", "nft", "miniupnpd", "sysctl"} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, fmt.Errorf("%w (%s is not there)", ErrPrograms, program)
		}
	}
	sweep()
	return &Lab{prefix: fmt.Sprintf("torrente-%d-%d-", os.Getpid(), made.Add(1))}, nil
}

// sweep removes what is left of processes that were killed; their daemons ended with
// them.
func sweep() {
	out, err := exec.Command("ip", "netns", "list").Output()
	if err != nil {
		return // then nothing is left
	}
	for line := range strings.Lines(string(out)) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		var pid int
		if n, _ := fmt.Sscanf(name, "torrente-%d-", &pid); n != 1 {
			continue
		}
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); errors.Is(err, fs.ErrNotExist) {
			_ = exec.Command("ip", "netns", "del", name).Run() // another may have swept it
		}
	}
}

// Build runs commands, one a line. A namespace's name stands in braces; netns add
// makes it.
func (l *Lab) Build(script string) error {
	for line := range strings.Lines(script) {
		words := strings.Fields(strings.NewReplacer("{", l.prefix, "}", "").Replace(line))
		if len(words) == 0 {
			continue
		}
		if len(words) == 4 && strings.HasPrefix(strings.TrimSpace(line), "ip netns add {") {
			l.mu.Lock()
			l.namespaces = append(l.namespaces, words[3])
			l.mu.Unlock()
		}
		if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", strings.TrimSpace(line), err, strings.TrimSpace(string(out)))
		}
	}
	return nil
}

// In is a command in a namespace. It is killed when this process ends.
func (l *Lab) In(ctx context.Context, namespace string, argv ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", l.prefix + namespace}, argv...)...)
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return c
}

// Close ends the routers' daemons and removes the namespaces, with what is in them.
func (l *Lab) Close() (err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.routers {
		r.Stop()
	}
	for _, name := range l.namespaces {
		if out, bad := exec.Command("ip", "netns", "del", name).CombinedOutput(); bad != nil {
			err = errors.Join(err, fmt.Errorf("remove the namespace %s: %w: %s", name, bad, strings.TrimSpace(string(out))))
		}
	}
	l.routers, l.namespaces = nil, nil
	return err
}
