package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gofrs/flock"
	"github.com/spf13/cobra"

	"torrente/internal/control"
)

// home is the folder of a node's state: key, certificate, wallet, resume
// records.
type home string

// homeOf is the folder that --home names, else TORRENTE_HOME, else
// $XDG_DATA_HOME/torrente, else ~/.local/share/torrente.
func homeOf(c *cobra.Command) (home, error) {
	if dir, err := c.Flags().GetString("home"); err == nil && dir != "" {
		return home(dir), nil
	}
	if dir := os.Getenv("TORRENTE_HOME"); dir != "" {
		return home(dir), nil
	}
	if dir := os.Getenv("XDG_DATA_HOME"); dir != "" {
		return home(filepath.Join(dir, "torrente")), nil
	}
	dir, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("where to keep the state is unknown: give --home DIR or set TORRENTE_HOME (%w)", err)
	}
	return home(filepath.Join(dir, ".local", "share", "torrente")), nil
}

// path is a file of the home folder.
func (h home) path(elem ...string) string {
	return filepath.Join(append([]string{string(h)}, elem...)...)
}

// resume is where the resume record of a torrent is.
func (h home) resume(id [20]byte) string { return h.path("resume", fmt.Sprintf("%x", id)) }

// inUse means that another process has a home folder.
type inUse struct {
	home home
	pid  int // 0: not known
}

func (e *inUse) Error() string {
	who := ""
	if e.pid != 0 {
		who = fmt.Sprintf(" (process %d)", e.pid)
	}
	return fmt.Sprintf("%s is in use by a running torrente%s: stop it, or give another folder with --home", e.home, who)
}

// take makes the folder if need be and keeps it for this process: two nodes in
// one home would spend the same coins. The lock ends with the process, so that
// what a dead one left behind is replaced. The error is *inUse.
func (h home) take() (release func(), err error) {
	if err := os.MkdirAll(h.path("resume"), 0o700); err != nil {
		return nil, unusable(err)
	}
	l := flock.New(h.path("lock"), flock.SetPermissions(0o600))
	ok, err := l.TryLock()
	if err != nil {
		return nil, unusable(err)
	}
	if !ok {
		return nil, &inUse{h, h.owner()}
	}
	release = func() {
		_ = os.Remove(h.path(control.File)) // not there unless it answered
		_ = os.Remove(h.path(pidFile))
		_ = l.Unlock() // it ends with the process anyway
	}
	err = os.WriteFile(h.path(pidFile), fmt.Appendln(nil, os.Getpid()), 0o600)
	if gone := os.Remove(h.path(control.File)); err == nil && !errors.Is(gone, fs.ErrNotExist) {
		err = gone
	}
	if err != nil {
		release()
		return nil, unusable(err)
	}
	return release, nil
}

// leaveTime is how long a command may have the folder that is no node: it asks the
// router, say.
const leaveTime = 15 * time.Second

// takeSoon takes the folder, also from a command that has it for a while. The error is
// *inUse at once if a node has it.
func (h home) takeSoon(ctx context.Context) (release func(), err error) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(leaveTime); ; {
		release, err = h.take()
		if _, busy := errors.AsType[*inUse](err); !busy {
			return release, err
		}
		if at, bad := control.Read(h.path(control.File)); bad == nil && at.PID == h.owner() {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, context.Canceled
		case <-tick.C:
			if time.Now().After(end) {
				return nil, err
			}
		}
	}
}

// unusable says why there can be no state in a folder.
func unusable(err error) error {
	if errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("the state folder: %w", err)
	}
	return fmt.Errorf("the state folder: %w: give another with --home", err)
}

// reachTime is how long a process may open its keys before it answers, or do
// something short.
const reachTime = 10 * time.Second

// takeOrReach takes the folder, or reaches the process that has it, if it offers a group
// of commands. If that process neither goes nor answers the error is *inUse.
func (h home) takeOrReach(ctx context.Context, offer string) (release func(), running *control.Client, err error) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(reachTime); ; {
		release, err = h.take()
		if _, busy := errors.AsType[*inUse](err); !busy {
			return release, nil, err
		}
		if at, bad := control.Read(h.path(control.File)); bad == nil && at.PID == h.owner() && slices.Contains(at.Offers, offer) {
			return nil, control.NewClient(at), nil
		}
		select {
		case <-ctx.Done():
			return nil, nil, context.Canceled
		case <-tick.C:
			if time.Now().After(end) {
				return nil, nil, err
			}
		}
	}
}

const pidFile = "pid" // of the process that has the folder

// owner is the process that holds the folder; 0: it does not say.
func (h home) owner() int {
	b, err := os.ReadFile(h.path(pidFile))
	pid, bad := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || bad != nil {
		return 0
	}
	return pid
}
