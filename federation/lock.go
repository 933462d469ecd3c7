package federation

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/gofrs/flock"
)

// InUse means that another process has the folder open.
type InUse struct {
	Dir string
	PID int // 0: not known
}

func (e *InUse) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("%s is in use by another process: stop it first", e.Dir)
	}
	return fmt.Sprintf("%s is in use by process %d: stop it first", e.Dir, e.PID)
}

// take keeps the folder for this process. The lock ends with the process, so
// that nothing has to be cleared after a crash; a control.json that a dead
// process left behind is removed. The errors are ErrNoFederation and *InUse.
func (d folder) take() (release func(), err error) {
	// Asked first: a lock file must not appear in a folder that is no federation's.
	if _, err := os.Stat(d.path(settingsFile)); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", d, ErrNoFederation)
	} else if err != nil {
		return nil, err
	}
	l := flock.New(d.path(lockFile), flock.SetPermissions(0o600))
	switch ok, err := l.TryLock(); {
	case err != nil:
		return nil, fmt.Errorf("lock %s: %w", d, err)
	case !ok:
		return nil, &InUse{string(d), d.owner()}
	}
	release = func() {
		_ = os.Remove(d.path(controlFile)) // not there unless Serve ran
		_ = os.Remove(d.path(pidFile))
		_ = l.Unlock() // it ends with the process anyway
	}
	err = os.WriteFile(d.path(pidFile), fmt.Appendln(nil, os.Getpid()), 0o600)
	if gone := os.Remove(d.path(controlFile)); err == nil && !errors.Is(gone, fs.ErrNotExist) {
		err = gone
	}
	if err != nil {
		release()
		return nil, err
	}
	return release, nil
}

// owner returns the process that has the folder open, or 0.
func (d folder) owner() int {
	b, err := readBounded(d.path(pidFile))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return 0
	}
	return pid
}
