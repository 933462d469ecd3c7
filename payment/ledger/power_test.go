package ledger

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"

	"torrente/internal/crashfs"
	"torrente/payment/contract"
)

// on has a ledger's block log on a disk that can lose power.
func on(d *crashfs.Disk, config Config) Config {
	config.open = func(path string) (file, int64, error) {
		f, err := d.Open(path)
		if err != nil {
			return nil, 0, err
		}
		info, err := f.Stat()
		if err != nil {
			return nil, 0, err
		}
		return f, info.Size(), nil
	}
	return config
}

// lost copies a ledger's folder as a loss of power would leave it. The file of
// rows stays: bbolt has synced it at the end of its last Update. Its note, which
// is not synced, may be gone.
func lost(t testing.TB, d *crashfs.Disk, dir string, choose func(n int) int) string {
	t.Helper()
	to := t.TempDir()
	names := []string{LogFile, stateFile, stateFile + sumSuffix}
	for _, name := range names[:len(names)-choose(2)] {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(to, name), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for path, left := range d.Lose(choose) {
		if err := os.WriteFile(filepath.Join(to, filepath.Base(path)), left.Data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// The power goes before or after any write, cut or sync of the log: what was
// acknowledged is there, what was not may be sent again, and the log is whole.
func TestPowerLossAtAnyOperation(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		dir, d := created(t), new(crashfs.Disk)
		config := Config{Now: fixed(today), flushAt: rapid.IntRange(5, 60).Draw(r, "rows before a flush")}
		e := must[*Embedded](t)(Open(dir, on(d, config)))
		choose := func(n int) int { return rapid.IntRange(0, n-1).Draw(r, "kept") }
		last, count, left := rapid.IntRange(1, 9).Draw(r, "operations"), 0, ""
		cut := func(crashfs.Op) error {
			if count++; count == last {
				left = lost(t, d, dir, choose)
				d.PowerOff()
			}
			return nil
		}
		if rapid.Bool().Draw(r, "after") {
			d.After = cut
		} else {
			d.Before = cut
		}
		var sent []*contract.Signed
		acknowledged := 0
		for range 4 {
			s := sign(t, crowd().alice, e.ID(), today, transfer(crowd().bob, 1))
			sent = append(sent, s)
			if _, err := e.Submit(context.Background(), s); err != nil {
				break
			}
			acknowledged++
		}
		if left == "" {
			left = lost(t, d, dir, choose)
		}
		d.PowerOff()
		_ = e.Close() // without power it says that it is broken
		checkAfterLoss(t, left, sent, acknowledged)
	})
}

func checkAfterLoss(t *testing.T, dir string, sent []*contract.Signed, acknowledged int) {
	t.Helper()
	if r, err := Verify(dir); err != nil || !r.Conserved || int(r.Transactions) < acknowledged || int(r.Transactions) > len(sent) {
		t.Fatalf("%d of %d acknowledged: %+v, %v", acknowledged, len(sent), r, err)
	}
	e := must[*Embedded](t)(Open(dir, Config{Now: fixed(today)}))
	defer e.Close()
	for i, s := range sent {
		r := submit(t, e, s)
		if r.Code != contract.OK || i < acknowledged && r.Height != uint64(i+1) {
			t.Fatalf("transaction %d of %d acknowledged, sent again: %+v", i, acknowledged, r)
		}
	}
	if a := account(t, e, crowd().bob); int(a.Unswept) != len(sent) {
		t.Fatalf("%d transactions, %s coins", len(sent), a.Unswept)
	}
	if r, err := Verify(dir); err != nil || r.Unfinished != 0 || int(r.Transactions) != len(sent) {
		t.Fatalf("afterwards: %+v, %v", r, err)
	}
}

// Wherever a frame lies, any of its sectors may be missing: it is torn then, and
// never damaged, whose log nobody could open.
func TestAFrameWithoutASectorIsTorn(t *testing.T) {
	genesis := []byte("any")
	head := appendLogHeader(nil, genesis)
	for shift := range sector {
		before := appendFrame(bytes.Clone(head), bytes.Repeat([]byte{7}, 600+shift))
		for _, n := range []int{200, 900} {
			whole := appendFrame(bytes.Clone(before), bytes.Repeat([]byte{9}, n))
			for at := len(before); at < len(whole); at += sector - at%sector {
				c := bytes.Clone(whole)
				clear(c[at:min(at+sector-at%sector, len(whole))])
				if bytes.Equal(c, whole) {
					continue // it held zeros
				}
				if err := lastError(t, c); !errors.Is(err, errTorn) {
					t.Fatalf("a frame at %d (%d in its sector), without its sector at %d: %v\n%s",
						len(before), len(before)%sector, at, err, hex.Dump(c[max(0, len(c)-40):]))
				}
			}
		}
	}
}

func lastError(t *testing.T, content []byte) error {
	t.Helper()
	log, _, err := newLogReader(bytes.NewReader(content), int64(len(content)))
	for err == nil {
		_, err = log.next()
	}
	return err
}
