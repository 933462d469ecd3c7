package ledger

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"torrente/payment/contract"
)

// threeBlocks returns a log of three blocks, and where each begins.
func threeBlocks(t testing.TB) (whole []byte, starts []int64) {
	t.Helper()
	dir := created(t)
	e := must[*Embedded](t)(Open(dir, Config{Now: fixed(today)}))
	for i := range 3 {
		starts = append(starts, e.log.end)
		s := sign(t, crowd().alice, e.ID(), today, transfer(crowd().bob, 1))
		if i == 1 {
			s = sign(t, crowd().bob, e.ID(), today, transfer(crowd().alice, 5))
		}
		submit(t, e, s)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	return must[[]byte](t)(os.ReadFile(filepath.Join(dir, LogFile))), starts
}

// withLog returns a folder that holds this log alone.
func withLog(t testing.TB, content []byte) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, LogFile), content, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// A crash may leave any beginning of the last block: it is cut off, reported
// by Verify, and the ledger goes on.
func TestEveryTruncationOfTheLastBlock(t *testing.T) {
	whole, starts := threeBlocks(t)
	for size := starts[2]; size < int64(len(whole)); size++ {
		// Opening each would take a second of syncs; one in 16, and the ends.
		dir := withLog(t, whole[:size])
		r, err := Verify(dir)
		if err != nil || r.Height != 2 || r.Unfinished != size-starts[2] || !r.Conserved {
			t.Fatalf("%d bytes: %+v %v", size, r, err)
		}
		if size%16 != 0 && size > starts[2]+20 && size < int64(len(whole))-4 {
			continue
		}
		e := must[*Embedded](t)(Open(dir, Config{Now: fixed(today)}))
		_, receipt := pay(t, e, 3)
		if err := e.Close(); err != nil || receipt.Height != 3 {
			t.Fatalf("%d bytes: %+v %v", size, receipt, err)
		}
		if r := must[Report](t)(Verify(dir)); r.Height != 3 || r.Unfinished != 0 {
			t.Fatalf("%d bytes, gone on: %+v", size, r)
		}
	}
}

// Whatever bit of the log flips, in the last block too, Verify and Open say so
// and nothing is cut off.
func TestEveryFlippedBitIsFound(t *testing.T) {
	whole, _ := threeBlocks(t)
	for at := range whole {
		c := bytes.Clone(whole)
		c[at] ^= 1 << (at % 8)
		log, _, err := newLogReader(bytes.NewReader(c), int64(len(c)))
		for err == nil {
			_, err = log.next()
		}
		if !errors.Is(err, ErrDamaged) {
			t.Fatalf("byte %d: %v", at, err)
		}
	}
	for _, at := range []int{3, 40, len(whole) / 2, len(whole) - 200, len(whole) - 1} {
		c := bytes.Clone(whole)
		c[at] ^= 4
		dir := withLog(t, c)
		if _, err := Verify(dir); !errors.Is(err, ErrDamaged) {
			t.Errorf("verify with byte %d: %v", at, err)
		}
		if _, err := Open(dir, Config{}); !errors.Is(err, ErrDamaged) {
			t.Errorf("open with byte %d: %v", at, err)
		}
		if after := must[[]byte](t)(os.ReadFile(filepath.Join(dir, LogFile))); !bytes.Equal(after, c) {
			t.Errorf("byte %d: the log was changed", at)
		}
	}
}

// After a power loss a file may be as long as it should be, and some of its
// sectors never written.
func TestUnwrittenSectorsAreACrash(t *testing.T) {
	whole, starts := threeBlocks(t)
	for at := (starts[2] + sector - 1) / sector * sector; at < int64(len(whole)); at += sector {
		c := bytes.Clone(whole)
		end := min(at+sector, int64(len(c)))
		if end-at < 4 {
			continue
		}
		clear(c[at:end])
		if r, err := Verify(withLog(t, c)); err != nil || r.Height != 2 {
			t.Errorf("the sector at %d: %+v %v", at, r, err)
		}
	}
	c := append(bytes.Clone(whole), make([]byte, 700)...)
	if r, err := Verify(withLog(t, c)); err != nil || r.Height != 3 || r.Unfinished != 700 {
		t.Errorf("zeros: %+v %v", r, err)
	}
	clear(c[starts[1]+8 : starts[1]+600]) // of a block that others follow
	if _, err := Verify(withLog(t, c)); !errors.Is(err, ErrDamaged) {
		t.Errorf("in the middle: %v", err)
	}
}

// A log that lost blocks which its state knew was not cut by a crash.
func TestALostBlockIsNotATornOne(t *testing.T) {
	dir := created(t)
	e := must[*Embedded](t)(Open(dir, Config{Now: fixed(today)}))
	pay(t, e, 1)
	middle := e.log.end
	pay(t, e, 1)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, LogFile)
	for _, size := range []int64{middle, middle + 5} {
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir, Config{}); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "block 2") {
			t.Errorf("cut to %d: %v", size, err)
		}
	}
}

// Blocks that pass every checksum and were never made by a ledger.
func TestVerifyFindsForgedBlocks(t *testing.T) {
	whole, starts := threeBlocks(t)
	log, _, err := newLogReader(bytes.NewReader(whole), int64(len(whole)))
	if err != nil {
		t.Fatal(err)
	}
	first := must[*block](t)(parseBlock(must[[]byte](t)(log.next())))
	ledger := contract.GenesisID(crowd().genesis)
	for what, change := range map[string]func(b *block){
		"height":    func(b *block) { b.height++ },
		"previous":  func(b *block) { b.previous[0]++ },
		"time":      func(b *block) { b.time += 301 },
		"results":   func(b *block) { b.results[0]++ },
		"signature": func(b *block) { b.txs[0].Signature[9] ^= 1 },
		"body":      func(b *block) { b.txs[0].Body[70] ^= 1 },
		"twice":     func(b *block) { b.txs = append(b.txs, b.txs[0]) },
		"stranger": func(b *block) {
			b.txs[0].Chain = [][]byte{append([]byte{}, crowd().authority.Root().Raw...)}
		},
		"refused": func(b *block) {
			b.txs = append(b.txs, sign(t, crowd().bob, ledger, today, transfer(crowd().alice, 1_000_000)))
		},
		"another ledger": func(b *block) { b.txs[0] = sign(t, crowd().alice, [32]byte{1}, today, transfer(crowd().bob, 1)) },
	} {
		b := must[*block](t)(parseBlock(bytes.Clone(first.append(nil))))
		change(b)
		forged := appendFrame(bytes.Clone(whole[:starts[0]]), b.append(nil))
		if r, err := Verify(withLog(t, forged)); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %+v %v", what, r, err)
		}
	}
	good := appendFrame(bytes.Clone(whole[:starts[0]]), first.append(nil))
	if r, err := Verify(withLog(t, good)); err != nil || r.Height != 1 {
		t.Errorf("the true one: %+v %v", r, err)
	}
}

// shaky is a disk that fails on demand.
type shaky struct {
	file
	write, sync, truncate error
	short                 bool
}

func (s *shaky) WriteAt(b []byte, at int64) (int, error) {
	if s.short {
		n, _ := s.file.WriteAt(b[:len(b)/2], at)
		return n, s.write
	}
	if s.write != nil {
		return 0, s.write
	}
	return s.file.WriteAt(b, at)
}

func (s *shaky) Sync() error {
	if s.sync != nil {
		return s.sync
	}
	return s.file.Sync()
}

func (s *shaky) Truncate(size int64) error {
	if s.truncate != nil {
		return s.truncate
	}
	return s.file.Truncate(size)
}

func openShaky(t *testing.T, dir string) (*Embedded, *shaky) {
	t.Helper()
	disk := &shaky{}
	e := must[*Embedded](t)(Open(dir, Config{Now: fixed(today), open: func(path string) (f file, n int64, err error) {
		disk.file, n, err = openFile(path)
		return disk, n, err
	}}))
	return e, disk
}

// A full disk refuses a block and no more: with room again the ledger goes on.
func TestFullDisk(t *testing.T) {
	dir := created(t)
	e, disk := openShaky(t, dir)
	pay(t, e, 1)
	s := sign(t, crowd().alice, e.ID(), today, transfer(crowd().bob, 2))
	disk.write, disk.short = syscall.ENOSPC, true
	if r, err := e.Submit(context.Background(), s); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("%+v %v", r, err)
	}
	if a := account(t, e, crowd().bob); a.Unswept != 1 {
		t.Errorf("what was not written is seen: %+v", a)
	}
	disk.write, disk.short = nil, false
	if r := submit(t, e, s); r.Code != contract.OK || r.Height != 2 {
		t.Errorf("%+v", r)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if r := must[Report](t)(Verify(dir)); r.Height != 2 || r.Unfinished != 0 {
		t.Errorf("%+v", r)
	}
}

// After a failed sync nothing is promised any more; the next start sorts it
// out.
func TestFailedSyncEndsTheLedger(t *testing.T) {
	for _, breakIt := range []func(s *shaky){
		func(s *shaky) { s.sync = syscall.EIO },
		func(s *shaky) { s.write, s.truncate = syscall.ENOSPC, syscall.EIO },
	} {
		dir := created(t)
		e, disk := openShaky(t, dir)
		pay(t, e, 1)
		breakIt(disk)
		s := sign(t, crowd().alice, e.ID(), today, transfer(crowd().bob, 2))
		for range 2 {
			if r, err := e.Submit(context.Background(), s); !errors.Is(err, ErrBroken) {
				t.Errorf("%+v %v", r, err)
			}
			*disk = shaky{file: disk.file} // a disk that recovers does not help
		}
		_ = e.Close()
		again := must[*Embedded](t)(Open(dir, Config{Now: fixed(today)}))
		if r := submit(t, again, s); r.Code != contract.OK || r.Height != 2 {
			t.Errorf("sent again: %+v", r)
		}
		if a := account(t, again, crowd().bob); a.Unswept != 3 {
			t.Errorf("%+v", a)
		}
		again.Close()
	}
}

func FuzzLog(f *testing.F) {
	whole, starts := threeBlocks(f)
	f.Add(whole[starts[2]:])
	f.Add(make([]byte, 20))
	f.Fuzz(func(t *testing.T, tail []byte) {
		content := append(bytes.Clone(whole[:starts[2]]), tail...)
		log, _, err := newLogReader(bytes.NewReader(content), int64(len(content)))
		for n := 0; err == nil; n++ {
			var payload []byte
			if payload, err = log.next(); err == nil {
				_, _ = parseBlock(payload)
			}
			if n == 1 && err != nil {
				t.Fatalf("the second block is gone: %v", err)
			}
		}
		if !errors.Is(err, io.EOF) && !errors.Is(err, errTorn) && !errors.Is(err, ErrDamaged) {
			t.Fatal(err)
		}
	})
}

func FuzzParseBlock(f *testing.F) {
	whole, starts := threeBlocks(f)
	f.Add(whole[starts[2]+headBytes : len(whole)-tailBytes])
	f.Fuzz(func(t *testing.T, payload []byte) {
		b, err := parseBlock(payload)
		if err == nil && !bytes.Equal(b.append(nil), payload) {
			t.Fatalf("%x became %x", payload, b.append(nil))
		}
	})
}

// Keys of the layers in any order and overlap read as one sorted map.
func TestRowsAgreeWithAMap(t *testing.T) {
	r := must[*rows](t)(openRows(filepath.Join(t.TempDir(), stateFile)))
	defer r.close()
	random := rand.New(rand.NewPCG(1, 2))
	model := map[string][]byte{}
	for step := range 400 {
		changed := map[string][]byte{}
		for range random.IntN(8) {
			k := rowContract + string(rune('a'+random.IntN(3))) + string(rune('a'+random.IntN(26)))
			if random.IntN(3) == 0 {
				changed[k] = nil
				delete(model, k)
			} else {
				changed[k] = []byte{byte(step), 1}
				model[k] = changed[k]
			}
		}
		r.apply(changed)
		if random.IntN(10) == 0 {
			if err := r.flush(); err != nil {
				t.Fatal(err)
			}
		}
		prefix := string(rune('a' + random.IntN(4)))
		compareRange(t, r, model, prefix, prefix+string(rune('a'+random.IntN(26))), random.IntN(30)+1)
		compareRange(t, r, model, prefix, "", 100)
	}
}

func compareRange(t *testing.T, r *rows, model map[string][]byte, prefix, after string, limit int) {
	t.Helper()
	var want []contract.Row
	for c := 'a'; c <= 'z' && len(want) < limit; c++ {
		k := prefix + string(c)
		if v, ok := model[rowContract+k]; ok && k > after {
			want = append(want, contract.Row{Key: k, Value: v})
		}
	}
	err := r.read(func(v *snapshot) error {
		got, err := contractReader{v}.Range(prefix, after, limit)
		if err != nil {
			return err
		}
		if len(got) != len(want) {
			t.Fatalf("%s after %s: %d rows, want %d", prefix, after, len(got), len(want))
		}
		for i := range got {
			one, err := contractReader{v}.Get(got[i].Key)
			if got[i].Key != want[i].Key || !bytes.Equal(got[i].Value, want[i].Value) || !bytes.Equal(one, want[i].Value) || err != nil {
				t.Fatalf("%+v, want %+v", got[i], want[i])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
