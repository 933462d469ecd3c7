package store

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pgregory.net/rapid"

	"torrente/internal/crashfs"
	"torrente/piece"
)

// machine is a store on a disk that loses power.
type machine struct {
	t       *testing.T
	f       *fixture
	d       *crashfs.Disk
	have    *piece.Bitfield // verified
	durable *piece.Bitfield // of those, what was there at the last clean record
	records [][]byte        // as they were written, the newest last
	path    string          // of the record
	idle    bool            // nothing was written since the newest record, which is clean
}

func newMachine(t *testing.T, o int) *machine {
	m := &machine{t: t, f: newFixture(t, shapes[o].o), d: new(crashfs.Disk), path: filepath.Join(t.TempDir(), "resume")}
	m.have, m.durable = piece.NewBitfield(m.f.layout.Pieces()), piece.NewBitfield(m.f.layout.Pieces())
	m.f.store.Close()
	m.f.dir = t.TempDir() // whose files have been through no other disk
	m.f.open(t)
	m.f.store.files.through = func(f *os.File) (file, error) { return m.d.Wrap(f) }
	return m
}

// write stores some blocks of a piece; the piece is verified if it was all.
func (m *machine) write(index, blocks int) error {
	m.idle = false
	for k := range blocks {
		b := m.f.layout.Block(index, k)
		if err := m.f.store.Write(b, m.f.data(b)); err != nil {
			return err
		}
	}
	if blocks == m.f.layout.Blocks(index) {
		m.have.Set(index)
	}
	return nil
}

func (m *machine) save(clean bool) error {
	if err := m.f.store.SaveResume(m.path, m.have, clean); err != nil {
		return err
	}
	record, err := os.ReadFile(m.path)
	m.records = append(m.records, record)
	if m.idle = clean; clean {
		m.durable, _ = piece.ParseBitfield(m.have.Wire(), m.have.Len())
	}
	return err
}

// play does what a download does until the power goes.
func (m *machine) play(r *rapid.T) error {
	for range rapid.IntRange(1, 12).Draw(r, "steps") {
		var err error
		switch index := rapid.IntRange(0, m.f.layout.Pieces()-1).Draw(r, "piece"); rapid.IntRange(0, 5).Draw(r, "what") {
		case 0:
			err = m.save(true)
		case 1:
			err = m.save(false)
		case 2:
			err = m.write(index, rapid.IntRange(0, m.f.layout.Blocks(index)).Draw(r, "blocks"))
		default:
			err = m.write(index, m.f.layout.Blocks(index))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// leave writes what a loss of power leaves into a folder of its own. Files that
// nothing was written to were made long ago.
func (m *machine) leave(choose func(n int) int) (dir string) {
	m.t.Helper()
	dir = m.t.TempDir()
	for i, f := range m.f.torrent.Info.Files {
		if st, err := os.Stat(filepath.Join(m.f.dir, m.f.store.files.name(i))); err == nil && f.Length == 0 {
			m.put(filepath.Join(dir, m.f.store.files.name(i)), crashfs.Left{Modified: st.ModTime().UnixNano()})
		}
	}
	for path, left := range m.d.Lose(choose) {
		rel, err := filepath.Rel(m.f.dir, path)
		if err != nil {
			m.t.Fatal(err)
		}
		m.put(filepath.Join(dir, rel), left)
	}
	return dir
}

func (m *machine) put(path string, left crashfs.Left) {
	m.t.Helper()
	at := time.Unix(0, left.Modified)
	err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, left.Data, 0o600), os.Chtimes(path, at, at))
	if err != nil {
		m.t.Fatal(err)
	}
}

// reopen opens what is left, in another run of the machine, with one of the
// records: its new name may be lost, then it is an older one, or none.
func (m *machine) reopen(dir string, record int) (have *piece.Bitfield, clean bool, err error) {
	m.t.Helper()
	m.f.dir = dir
	m.f.open(m.t)
	m.f.store.boot[0]++
	path := filepath.Join(m.t.TempDir(), "resume")
	if record >= 0 {
		if err := os.WriteFile(path, m.records[record], 0o600); err != nil {
			m.t.Fatal(err)
		}
	}
	return m.f.store.LoadResume(path)
}

// check wants every piece to be right that is believed to be, or was durable.
func (m *machine) check(believed *piece.Bitfield) {
	m.t.Helper()
	for i := range m.f.layout.Pieces() {
		claimed := believed != nil && believed.Has(i)
		if !claimed && !m.durable.Has(i) {
			continue
		}
		if good, err := m.f.store.Check(i); !good || err != nil {
			m.t.Fatalf("piece %d (believed: %v, synced: %v) is not there: %v", i, claimed, m.durable.Has(i), err)
		}
	}
}

// Whatever is lost, a record is believed only if all is there that it claims,
// and what was synced for one is there.
func TestPowerLossAtAnyOperation(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		m := newMachine(t, rapid.IntRange(0, len(shapes)-1).Draw(r, "shape"))
		choose := func(n int) int { return rapid.IntRange(0, n-1).Draw(r, "kept") }
		last, count, dir := rapid.IntRange(1, 60).Draw(r, "operations"), 0, ""
		m.d.After = func(crashfs.Op) error {
			if count++; count == last {
				dir = m.leave(choose)
				m.d.PowerOff()
				return crashfs.ErrPower
			}
			return nil
		}
		err := m.play(r)
		m.d.After = nil
		if err != nil && !errors.Is(err, crashfs.ErrPower) {
			t.Fatal(err)
		}
		if dir == "" {
			dir = m.leave(choose)
		}
		m.f.store.Close()
		record := rapid.IntRange(-1, len(m.records)-1).Draw(r, "record")
		have, clean, err := m.reopen(dir, record)
		if err != nil && !errors.Is(err, ErrNoResume) || err == nil && !clean {
			t.Fatalf("clean %v: %v", clean, err)
		}
		if err != nil && m.idle && record == len(m.records)-1 {
			t.Fatalf("the record of a clean end is not believed: %v", err)
		}
		m.check(have)
		m.f.store.Close()
	})
}
