package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"torrente/payment/ledger/remote"
)

const (
	// filesWanted is how many files and connections a busy node has open at once.
	filesWanted = 2048
	// spaceWanted is how little free space is worth a word, in bytes.
	spaceWanted = 1 << 30
	// syncWanted is how long a durable write may take: payments wait for some.
	syncWanted = 20 * time.Millisecond
	// syncs is how many durable writes are measured.
	syncs = 7
	// greetTime is how long a portal may take to answer.
	greetTime = 10 * time.Second
)

// port looks whether somebody else listens where the node is to.
func (d *doctor) port(context.Context) (verdict, string) {
	l, err := net.Listen("tcp", net.JoinHostPort(d.at.bind, strconv.Itoa(int(d.at.port))))
	switch {
	case err == nil:
		_ = l.Close() // nobody has connected
		return fine, fmt.Sprintf("port %d is free", d.at.port)
	case !errors.Is(err, syscall.EADDRINUSE):
		return broken, fmt.Sprintf("port %d cannot be listened on: %v: give another with --port, or another --bind", d.at.port, err)
	}
	if pid := d.runs(); pid != 0 {
		return fine, fmt.Sprintf("port %d is taken, and a node runs in %s (process %d)", d.at.port, d.home, pid)
	}
	return broken, fmt.Sprintf("port %d is taken by another program: end that, or give another with --port", d.at.port)
}

// runs is another process that has the home folder; 0: there is none.
func (d *doctor) runs() int {
	release, err := d.home.take()
	if err == nil {
		release()
	}
	if e, ok := errors.AsType[*inUse](err); ok && e.pid != os.Getpid() { // the router's examination takes it, too
		return e.pid
	}
	return 0
}

// files looks how many files may be open. The soft limit is raised to the hard one by
// every program in Go.
func (d *doctor) files(context.Context) (verdict, string) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return limited, fmt.Sprintf("how many files may be open at once cannot be found out: %v", err)
	}
	if limit.Max < filesWanted {
		return limited, fmt.Sprintf("%d files and connections may be open at once, which is few: ulimit -n %d before the start, or LimitNOFILE=%d in the unit, gives it more", limit.Max, filesWanted, filesWanted)
	}
	return fine, fmt.Sprintf("%d files and connections may be open at once", limit.Max)
}

// state looks at the disk of keys and wallet: how long a durable write takes.
func (d *doctor) state(context.Context) (verdict, string) {
	if err := os.MkdirAll(string(d.home), 0o700); err != nil {
		return broken, unusable(err).Error()
	}
	took, err := syncTime(string(d.home))
	if err != nil {
		return broken, unusable(err).Error()
	}
	free, err := freeSpace(string(d.home))
	says := fmt.Sprintf("%s has %s free, and a durable write takes %s", d.home, formatSize(free), took.Round(10*time.Microsecond))
	switch {
	case err != nil:
		return broken, unusable(err).Error()
	case free < spaceWanted:
		return limited, says + ": make room, the wallet must be able to grow"
	case took > syncWanted:
		return limited, says + ", for which payments wait: a --home on a faster disk helps"
	}
	return fine, says
}

// data looks at the disk of the data.
func (d *doctor) data(context.Context) (verdict, string) {
	free, err := freeSpace(d.dir)
	if err != nil {
		return broken, fmt.Sprintf("%s: %v: name the folder of the data with --dir", d.dir, err)
	}
	f, err := os.CreateTemp(d.dir, ".torrente-doctor-")
	if err != nil {
		return broken, fmt.Sprintf("nothing can be written to %s (%v): what is seeded from there can be read, downloads need another --dir", d.dir, err)
	}
	if err := errors.Join(f.Close(), os.Remove(f.Name())); err != nil {
		return broken, fmt.Sprintf("%s: %v", d.dir, err)
	}
	says := fmt.Sprintf("%s has %s free", d.dir, formatSize(free))
	if free < spaceWanted {
		return limited, says + ": larger downloads need another --dir"
	}
	return fine, says
}

func freeSpace(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * int64(st.Bsize), nil
}

// syncTime is what a small durable write takes: the middle one of a few.
func syncTime(dir string) (time.Duration, error) {
	f, err := os.CreateTemp(dir, "doctor-")
	if err != nil {
		return 0, err
	}
	var all []time.Duration
	for i := range syncs {
		began := time.Now()
		_, bad := f.WriteAt(make([]byte, 512), int64(i)*512)
		if bad = errors.Join(bad, f.Sync()); bad != nil {
			err = bad
			break
		}
		all = append(all, time.Since(began))
	}
	if err := errors.Join(err, f.Close(), os.Remove(f.Name())); err != nil {
		return 0, err
	}
	slices.Sort(all)
	return all[len(all)/2], nil
}

// ledger greets the portal, and compares the clocks.
func (d *doctor) ledger(ctx context.Context) (verdict, string) {
	now, err := clock()
	if err != nil {
		return broken, err.Error()
	}
	if _, err := os.Stat(d.home.path(federationFile)); errors.Is(err, fs.ErrNotExist) {
		return fine, "nobody is enrolled here: what is free needs no ledger, torrente enroll is for what is sold"
	}
	dir, err := readDirectory(filepath.Clean(string(d.home)))
	if err != nil {
		return broken, err.Error()
	}
	ctx, cancel := context.WithTimeout(ctx, greetTime)
	defer cancel()
	took, err := remote.Greet(ctx, dir.Address(), dir.Pool(), now)
	if err != nil {
		return broken, err.Error()
	}
	return fine, fmt.Sprintf("the federation %s answers at %s in %s, and this machine's clock is right", dir.Name, dir.Address(), took.Round(time.Millisecond))
}

// router asks the router to let others in, or the node that has asked it.
func (d *doctor) router(context.Context) (verdict, string) {
	if _, off, _ := d.at.protocols(); off {
		return fine, "the router is not asked (--portmap off)"
	}
	s, _, err := d.home.askRouter(d.c, d.std, &d.at)
	if err != nil {
		return limited, err.Error()
	}
	if s.Reachable() {
		return fine, s.Sentence()
	}
	return limited, s.Sentence()
}
