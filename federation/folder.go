package federation

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

	"torrente/identity"
	"torrente/internal/control"
)

// The files of a federation's folder. Keys are sealed by its password.
const (
	settingsFile    = "settings.json"
	ledgerFolder    = "ledger"       // payment/ledger's, if the ledger is here
	genesisFile     = "genesis"      // its first page, if it is elsewhere or on Fabric
	hostRootsFile   = "host.pem"     // the roots of the organisation that has the ledger, as it last said
	registryFile    = "members.db"   // invites, members, transfers under way
	treasuryKey     = "treasury.key" // the administrator's, who owns the treasury
	treasuryChain   = "treasury.pem" //
	authorityFolder = "authorities"  // 1.key, 1.pem, 2.key, ...: the roots that the portal issues by
	lockFile        = "lock"         // held by the process that has the folder open
	pidFile         = "pid"          // of that process
	controlFile     = control.File   // how to reach it
	maxFileBytes    = 1 << 20
)

// ErrNoFederation means that a folder holds no federation.
var ErrNoFederation = errors.New("there is no federation in it: make one with torrente federation init")

// ErrExists means that a folder holds something already.
var ErrExists = errors.New("it holds something already: give a folder that is empty or new")

// folder is where a federation lives.
type folder string

func (d folder) path(elem ...string) string {
	return filepath.Join(append([]string{string(d)}, elem...)...)
}

// settings are what init was told, beside what is on the ledger.
type settings struct {
	MSP  string        `json:"msp"`
	URL  string        `json:"url,omitempty"` // of the portal; empty: where it listens
	Cost identity.Cost `json:"cost"`          // of sealing further keys
	// Ledger is the URL of the portal that has the ledger, and Host its
	// organisation; empty: this folder has it.
	Ledger string `json:"ledger,omitempty"`
	Host   string `json:"host,omitempty"`
	// Profile is the connection profile of a ledger on Fabric, a path that may be
	// relative to the folder; empty: the ledger is not there.
	Profile string `json:"profile,omitempty"`
}

func (d folder) readSettings() (settings, error) {
	var s settings
	b, err := readBounded(d.path(settingsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return s, fmt.Errorf("%s: %w", d, ErrNoFederation)
	}
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil {
		return s, fmt.Errorf("%s: %w", d.path(settingsFile), err)
	}
	return s, nil
}

// write makes a file that is whole or absent after a crash. The folder is
// synced too, so that files appear in the order in which they were written.
func (d folder) write(name string, data []byte, perm fs.FileMode) error {
	path := d.path(name)
	if err := renameio.WriteFile(path, data, perm, renameio.WithStaticPermissions(perm)); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return syncFolder(filepath.Dir(path))
}

func (d folder) writeJSON(name string, v any, perm fs.FileMode) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return d.write(name, append(b, '\n'), perm)
}

func syncFolder(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// readBounded reads a file of the folder, which is small or not what it should be.
func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err == nil && len(b) > maxFileBytes {
		err = fmt.Errorf("%s is larger than %d bytes: it is not the file it should be", path, maxFileBytes)
	}
	return b, err
}
