package wallet

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"torrente/internal/crashfs"
	"torrente/payment"
)

func TestLinksAreSyncedInGroups(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		d := new(crashfs.Disk)
		config := on(d, testConfig())
		config.SyncEvery = 0
		w := opened(t, dir, config)
		in, out := commitment(0, false), commitment(1, true)
		ok(t, w.SaveClaim(in, payment.Signature{}))
		ok(t, w.Reserve(Reservation{Openings: []Opening{openingOf(out, 9)}}))
		for round := range 3 {
			for n := range 10 {
				ok(t, w.Link(in.ID(), linkOf(in, uint32(1+10*round+n))))
				time.Sleep(9 * time.Millisecond)
			}
			time.Sleep(9 * time.Millisecond) // 99 ms since the first link
			synctest.Wait()
			if d.Syncs() != round {
				t.Fatalf("round %d: synced %d times, too early", round, d.Syncs())
			}
			time.Sleep(time.Millisecond)
			synctest.Wait()
			if d.Syncs() != round+1 {
				t.Fatalf("round %d: synced %d times", round, d.Syncs())
			}
			time.Sleep(time.Hour) // nothing is written, nothing is synced
		}
		must[bool](t)(w.Owed(out.ID(), 1))
		time.Sleep(time.Hour)
		synctest.Wait()
		if d.Syncs() != 3 {
			t.Errorf("synced %d times for no link", d.Syncs())
		}
	})
}

func TestFullLogsAreFolded(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		config := testConfig()
		config.foldAt = headerBytes + 10*linkBytes
		w := opened(t, dir, config)
		in, out := commitment(0, false), commitment(1, true)
		ok(t, w.SaveClaim(in, payment.Signature{}))
		ok(t, w.Reserve(Reservation{Openings: []Opening{openingOf(out, 9)}}))
		for n := range uint32(100) {
			ok(t, w.Link(in.ID(), linkOf(in, n+1)))
			must[bool](t)(w.Owed(out.ID(), n))
			synctest.Wait()
			size := must[os.FileInfo](t)(os.Stat(filepath.Join(dir, linksName))).Size()
			if want := headerBytes + int64(n+1)%10*linkBytes; size != want || size != w.sold.log.end {
				t.Fatalf("%d links: %d bytes, want %d", n+1, size, want)
			}
			size = must[os.FileInfo](t)(os.Stat(filepath.Join(dir, owedName))).Size()
			if want := headerBytes + int64(n+1)%20*owedBytes; size != want {
				t.Fatalf("%d units: %d bytes, want %d", n+1, size, want)
			}
		}
		r := opened(t, crashed(t, dir), testConfig())
		c, _ := r.Claim(in.ID())
		if o, _ := r.Opening(out.ID()); c.Best != linkOf(in, 100) || o.Owed != 100 {
			t.Errorf("%+v, %d owed", c.Best, o.Owed)
		}
	})
}

// SIGKILL and power loss before and after each step of a fold, at Close and at
// Open alike: nothing is lost, and nothing counts twice.
func TestFoldInterrupted(t *testing.T) {
	t.Parallel()
	dir, in, out := written(t)
	d := new(crashfs.Disk)
	var copies []string
	snapshot := func(crashfs.Op) error {
		copies = append(copies, crashed(t, dir), lost(t, d, dir, func(int) int { return 0 }))
		return nil
	}
	d.Before, d.After = snapshot, snapshot
	w := opened(t, dir, on(d, testConfig()))
	atOpen := len(copies)
	if atOpen != 2*2*2*2 {
		t.Errorf("Open took %d snapshots, of 2 logs at 2 steps", atOpen)
	}
	d.Before, d.After = nil, nil
	ok(t, w.Link(in.ID(), linkOf(in, 7)))
	must[bool](t)(w.Owed(out.ID(), 7))
	w.syncLinks()
	ok(t, w.bought.log.f.Sync())
	d.Before, d.After = snapshot, snapshot
	ok(t, w.Close())
	for i, dir := range copies {
		r := opened(t, dir, testConfig())
		c, _ := r.Claim(in.ID())
		o, _ := r.Opening(out.ID())
		best, owed := uint32(3), uint32(3)
		if i >= atOpen {
			best, owed = 7, 4
		}
		if c.Best != linkOf(in, best) || o.Owed != owed {
			t.Errorf("snapshot %d: %+v, %d owed", i, c.Best, o.Owed)
		}
	}
}

var errDisk = errors.New("the disk says no")

// Each change of a file fails, once before it takes effect and once after. What
// is acknowledged is there, and what is not is not.
func TestEveryWriteFails(t *testing.T) {
	t.Parallel()
	for _, after := range []bool{false, true} {
		for fails := range 9 {
			in, out := commitment(0, false), commitment(1, true)
			dir, d, count := t.TempDir(), new(crashfs.Disk), 0
			w := must[*Wallet](t)(Open(dir, on(d, testConfig())))
			ok(t, w.SaveClaim(in, payment.Signature{}))
			ok(t, w.Reserve(Reservation{Openings: []Opening{openingOf(out, 9)}}))
			fail := func(crashfs.Op) error {
				if count++; count-1 == fails {
					return errDisk
				}
				return nil
			}
			if after {
				d.After = fail
			} else {
				d.Before = fail
			}
			var best, owed uint32
			for n := range uint32(3) {
				if w.Link(in.ID(), linkOf(in, n+1)) == nil {
					best = n + 1
				}
				if _, err := w.Owed(out.ID(), n); err == nil {
					owed++
				}
				w.syncLinks()
			}
			killed := crashed(t, dir)
			_ = w.Close() // may fail: then the logs are as they were
			for _, dir := range []string{killed, dir} {
				r := opened(t, dir, testConfig())
				c, _ := r.Claim(in.ID())
				o, _ := r.Opening(out.ID())
				if c.Best != linkOf(in, best) || o.Owed != owed {
					t.Errorf("operation %d fails, after %v: %d of %d links, %d of %d units", fails, after, c.Best.Index, best, o.Owed, owed)
				}
			}
		}
	}
}

// After a sync that failed nothing is acknowledged, whatever the disk says then.
func TestFailedSyncIsFinal(t *testing.T) {
	var said bytes.Buffer
	d := new(crashfs.Disk)
	config := on(d, testConfig())
	config.Log = slog.New(slog.NewTextHandler(&said, nil))
	w := opened(t, t.TempDir(), config)
	c := commitment(0, false)
	ok(t, w.SaveClaim(c, payment.Signature{}))
	ok(t, w.Link(c.ID(), linkOf(c, 1)))
	d.Before = func(op crashfs.Op) error {
		if op.Kind == crashfs.Sync {
			return errDisk
		}
		return nil
	}
	w.syncLinks()
	d.Before = nil
	if err := w.Link(c.ID(), linkOf(c, 2)); !errors.Is(err, ErrBroken) || !errors.Is(err, errDisk) {
		t.Errorf("a link after a failed sync: %v", err)
	}
	if !strings.Contains(said.String(), errDisk.Error()) {
		t.Errorf("the log says %q", &said)
	}
}

// A write that failed and cannot be undone ends the log.
func TestWriteThatCannotBeUndone(t *testing.T) {
	d := new(crashfs.Disk)
	w := opened(t, t.TempDir(), on(d, testConfig()))
	c := commitment(0, true)
	ok(t, w.Reserve(Reservation{Openings: []Opening{openingOf(c, 9)}}))
	d.Before = func(crashfs.Op) error { return errDisk }
	_, err := w.Owed(c.ID(), 1)
	d.Before = nil
	if !errors.Is(err, ErrBroken) {
		t.Errorf("%v", err)
	}
	if _, err := w.Owed(c.ID(), 1); !errors.Is(err, ErrBroken) {
		t.Errorf("again: %v", err)
	}
}

// When wallet.db cannot be written the logs go on, and are asked to be folded
// again after another MiB.
func TestFoldThatFails(t *testing.T) {
	var said bytes.Buffer
	dir, config := t.TempDir(), testConfig()
	config.Log = slog.New(slog.NewTextHandler(&said, nil))
	w := must[*Wallet](t)(Open(dir, config))
	in, out := commitment(0, false), commitment(1, true)
	ok(t, w.SaveClaim(in, payment.Signature{}))
	ok(t, w.Reserve(Reservation{Openings: []Opening{openingOf(out, 9)}}))
	ok(t, w.Link(in.ID(), linkOf(in, 1)))
	ok(t, w.db.Close())
	w.config.foldAt = headerBytes
	w.foldFull()
	if w.sold.log.limit != headerBytes+linkBytes+foldRetryBytes || !strings.Contains(said.String(), "database not open") {
		t.Errorf("limit %d, the log says %q", w.sold.log.limit, &said)
	}
	ok(t, w.Link(in.ID(), linkOf(in, 2)))
	must[bool](t)(w.Owed(out.ID(), 5))
	if err := w.SetCap(out.ID(), 10); err == nil {
		t.Error("a cap was kept nowhere")
	}
	if err := w.SignedClose(closeOf(in, 2)); err == nil {
		t.Error("a close was kept nowhere")
	}
	if err := w.Link(in.ID(), linkOf(in, 3)); !errors.Is(err, ErrFinal) {
		t.Errorf("a link after a close that may have been written: %v", err)
	}
	if err := w.Close(); err == nil {
		t.Error("Close did not say that it could not fold")
	}
	r := opened(t, dir, testConfig())
	c, _ := r.Claim(in.ID())
	if o, _ := r.Opening(out.ID()); c.Best != linkOf(in, 2) || c.Close != nil || o.Owed != 1 || o.Cap != 9 {
		t.Errorf("%+v, %+v", c, o)
	}
}

// What is known already is not written again: a peer that repeats itself costs
// no disk.
func TestRepeatsAreNotWritten(t *testing.T) {
	w := opened(t, t.TempDir(), testConfig())
	in, out := commitment(0, false), commitment(1, true)
	ok(t, w.SaveClaim(in, payment.Signature{}))
	ok(t, w.Reserve(Reservation{Openings: []Opening{openingOf(out, 9)}}))
	for range 3 {
		ok(t, w.Link(in.ID(), linkOf(in, 9)))
		ok(t, w.Link(in.ID(), linkOf(in, 8)))
		must[bool](t)(w.Owed(out.ID(), 5))
	}
	if w.sold.log.end != headerBytes+linkBytes || w.bought.log.end != headerBytes+owedBytes {
		t.Errorf("%d bytes of links, %d of units", w.sold.log.end, w.bought.log.end)
	}
}
