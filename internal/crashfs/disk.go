package crashfs

import (
	"errors"
	"os"
	"sync"
)

// Sector is how many bytes a disk writes at once: after a loss of power each
// sector is one that was written, or the one before it.
const Sector = 512

// ErrPower is the error of everything that is done after PowerOff.
var ErrPower = errors.New("the power is off")

// Disk holds files. The zero value is ready, with the power on.
type Disk struct {
	// Before and After, if set, are called around every write, cut and sync
	// while the power is on, without a lock held; an error of theirs is the
	// operation's. An error of Before keeps it from happening, PowerOff in
	// Before too. They are set while no file is in use.
	Before, After func(Op) error

	mu    sync.Mutex // guards the following
	off   bool
	syncs int
	files map[string]*history
}

// Op is one operation that changes what is on a disk.
type Op struct {
	Kind Kind
	Path string
}

// Kind says what an operation does.
type Kind string

// The operations.
const (
	Write    Kind = "write"
	Truncate Kind = "truncate"
	Sync     Kind = "sync"
)

// Open opens a file that exists, for reading and writing. What it holds, when it
// is opened for the first time, is durable.
func (d *Disk) Open(path string) (*File, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return d.Wrap(f)
}

// Wrap is Open for a file that is open already, which the File closes.
func (d *Disk) Wrap(f *os.File) (*File, error) {
	path := f.Name()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.files == nil {
		d.files = map[string]*history{}
	}
	if d.files[path] == nil {
		h, err := newHistory(f)
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		d.files[path] = h
	}
	return &File{File: f, disk: d, history: d.files[path]}, nil
}

// PowerOff ends all: nothing done later happens.
func (d *Disk) PowerOff() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.off = true
}

// Syncs returns how many syncs there were.
func (d *Disk) Syncs() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.syncs
}

// Left is a file after a loss of power.
type Left struct {
	Data     []byte
	Modified int64 // ns since 1970, as the file system tells it
}

// Lose chooses what a loss of power now leaves of each file, by path. choose
// returns a number from 0 to n-1; 0 always loses the most. The disk and its
// files stay as they are.
func (d *Disk) Lose(choose func(n int) int) map[string]Left {
	d.mu.Lock()
	defer d.mu.Unlock()
	left := map[string]Left{}
	for _, path := range d.paths() {
		left[path] = d.files[path].lose(choose)
	}
	return left
}

// around does an operation, and tells the hooks.
func (d *Disk) around(op Op, do func() error) error {
	if d.powerless() {
		return ErrPower
	}
	if d.Before != nil {
		if err := d.Before(op); err != nil {
			return err
		}
	}
	d.mu.Lock()
	if d.off {
		d.mu.Unlock()
		return ErrPower
	}
	err := do()
	if op.Kind == Sync && err == nil {
		d.syncs++
	}
	d.mu.Unlock()
	if err == nil && d.After != nil {
		err = d.After(op)
	}
	return err
}

func (d *Disk) powerless() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.off
}
