package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/gofrs/flock"
	"github.com/spf13/cobra"
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

// take makes the folder if need be and keeps it for this process: two nodes in
// one home would spend the same coins. The lock ends with the process.
func (h home) take() (release func(), err error) {
	if err := os.MkdirAll(h.path("resume"), 0o700); err != nil {
		return nil, fmt.Errorf("the state folder: %w", err)
	}
	l := flock.New(h.path("lock"), flock.SetPermissions(0o600))
	ok, err := l.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock the state folder %s: %w", h, err)
	}
	if !ok {
		return nil, fmt.Errorf("%s is in use by a running torrente%s: stop it, or give another folder with --home", h, h.owner())
	}
	if err := os.WriteFile(h.path("pid"), fmt.Appendln(nil, os.Getpid()), 0o600); err != nil {
		l.Unlock()
		return nil, fmt.Errorf("the state folder: %w", err)
	}
	return func() {
		os.Remove(h.path("pid"))
		l.Unlock()
	}, nil
}

// owner names the process that holds the folder, if it says.
func (h home) owner() string {
	b, err := os.ReadFile(h.path("pid"))
	pid, bad := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || bad != nil {
		return ""
	}
	return fmt.Sprintf(" (process %d)", pid)
}
