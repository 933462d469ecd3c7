package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// disk is a folder on a file system of its own, in a file. What was not synced
// is in the kernel's memory only, so a copy of the file is what a loss of power
// leaves.
type disk struct {
	t     *testing.T
	at    string // the folder
	files string // where the files are that hold the file system
	cuts  int
	on    bool // it is mounted
}

const (
	diskBytes = 48 << 20
	// bootID is where the kernel tells its runs from each other.
	bootID = "/proc/sys/kernel/random/boot_id"
	// withBootID runs a program in whose eyes the kernel's run is another.
	withBootID = `mount --bind "$0" ` + bootID + ` && exec "$@"`
)

// needDisks fails a test where file systems cannot be mounted.
func needDisks(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("/dev/loop-control"); err != nil || os.Geteuid() != 0 {
		t.Fatal("cutting power needs root and loop devices, which are missing here: run make test as root, on a machine that has /dev/loop-control")
	}
}

// newDisk makes a folder that loses power.
func newDisk(f *fair, name string) *disk {
	f.t.Helper()
	d := &disk{t: f.t, at: f.path(name), files: f.t.TempDir()}
	f.fine(os.Mkdir(d.at, 0o700))
	f.fine(os.WriteFile(d.image(), nil, 0o600))
	f.fine(os.Truncate(d.image(), diskBytes))
	d.tool("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", d.image())
	d.mount()
	f.t.Cleanup(func() { f.end(); d.unmount() })
	d.tool("rmdir", filepath.Join(d.at, "lost+found"))
	d.tool("sync", "-f", d.at)
	return d
}

func (d *disk) image() string { return filepath.Join(d.files, fmt.Sprintf("image-%d", d.cuts)) }

func (d *disk) tool(name string, args ...string) {
	d.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		d.t.Fatalf("%s %q: %v %s", name, args, err, out)
	}
}

// mount leaves it to syncs alone to write the journal of names and lengths. A
// boot id says that the machine was started since.
func (d *disk) mount() {
	d.t.Helper()
	d.tool("mount", "-t", "ext4", "-o", "loop,noatime,commit=3000", d.image(), d.at)
	d.on = true
	if err := os.WriteFile(d.boot(), []byte(rand.Text()+"\n"), 0o400); err != nil {
		d.t.Fatal(err)
	}
}

func (d *disk) boot() string { return filepath.Join(d.files, fmt.Sprintf("boot-%d", d.cuts)) }

// unmount does so also while a process looks into the folder.
func (d *disk) unmount() {
	if !d.on {
		return
	}
	d.on = false
	if out, err := exec.Command("umount", d.at).CombinedOutput(); err != nil {
		out2, err2 := exec.Command("umount", "-l", d.at).CombinedOutput()
		d.t.Errorf("%v %s", errors.Join(err, err2), append(out, out2...))
	}
}

// boots has a command see the boot id of the machine that the disk is in.
func (d *disk) boots(c *exec.Cmd) {
	c.Args = append([]string{"sh", "-c", withBootID, d.boot(), c.Path}, c.Args[1:]...)
	c.Path = "/bin/sh"
	c.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
}

// cut takes the power away: what was synced is there afterwards. look sees the
// folder as it was before, when the power is gone already.
func (d *disk) cut(look func()) {
	d.t.Helper()
	was := d.image()
	d.cuts++
	d.tool("cp", "--sparse=always", was, d.image())
	look()
	d.unmount()
	if err := os.Remove(was); err != nil {
		d.t.Fatal(err)
	}
	d.mount()
}
