package wallet

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"torrente/payment"
)

// written returns the folder of a wallet that was killed after three links and
// three units.
func written(t *testing.T) (dir string, in, out *payment.Commitment) {
	t.Helper()
	dir = t.TempDir()
	w := opened(t, dir, testConfig())
	in, out = commitment(0, false), commitment(1, true)
	ok(t, w.SaveClaim(in, payment.Signature{}))
	ok(t, w.Reserve(Reservation{Openings: []Opening{openingOf(out, 9)}}))
	for n := range uint32(3) {
		ok(t, w.Link(in.ID(), linkOf(in, n+1)))
		must[bool](t)(w.Owed(out.ID(), n+1))
	}
	return crashed(t, dir), in, out
}

// with replaces a file of a copy of a wallet.
func with(t *testing.T, dir, name string, data []byte) string {
	t.Helper()
	to := crashed(t, dir)
	ok(t, os.WriteFile(filepath.Join(to, name), data, 0o600))
	return to
}

func TestEveryFlippedByteOfALogIsDetected(t *testing.T) {
	t.Parallel()
	dir, _, _ := written(t)
	for _, name := range []string{linksName, owedName} {
		data := must[[]byte](t)(os.ReadFile(filepath.Join(dir, name)))
		damaged := crashed(t, dir)
		for at := range data {
			for _, bits := range []byte{1, 0x80, 0xFF} {
				data[at] ^= bits
				ok(t, os.WriteFile(filepath.Join(damaged, name), data, 0o600))
				w, err := open(damaged, testConfig().withDefaults())
				if err == nil {
					ok(t, w.closeFiles())
					t.Fatalf("%s: byte %d was changed by %#x, unnoticed", name, at, bits)
				}
				if !errors.Is(err, ErrDamaged) {
					t.Fatalf("%s: byte %d: %v", name, at, err)
				}
				data[at] ^= bits
			}
		}
	}
}

func TestTornTailIsCut(t *testing.T) {
	t.Parallel()
	dir, in, out := written(t)
	for _, name := range []string{linksName, owedName} {
		data := must[[]byte](t)(os.ReadFile(filepath.Join(dir, name)))
		record := map[string]int{linksName: linkBytes, owedName: owedBytes}[name]
		for size := range len(data) {
			torn := with(t, dir, name, data[:size])
			w, err := open(torn, testConfig().withDefaults())
			if size < headerBytes {
				if !errors.Is(err, ErrDamaged) {
					t.Fatalf("%s of %d bytes: %v", name, size, err)
				}
				continue
			}
			ok(t, err)
			n, cut := (size-headerBytes)/record, (size-headerBytes)%record
			c, _ := w.Claim(in.ID())
			o, _ := w.Opening(out.ID())
			got, replay := int(c.Best.Index), w.Recovered().Links
			if name == owedName {
				got, replay = int(o.Owed), w.Recovered().Owed
			}
			if want := (Replay{Records: n, Cut: cut}); got != n || replay != want || replay.Lost() != (cut > 0) {
				t.Errorf("%s of %d bytes: %d records kept, %+v", name, size, got, replay)
			}
			if w.sold.log.end != headerBytes || w.bought.log.end != headerBytes {
				t.Errorf("%s of %d bytes was not folded", name, size)
			}
			ok(t, w.closeFiles())
		}
	}
}

// A loss of power may keep a later sector and not an earlier one, which then
// reads as zeros.
func TestBlankRecordsAreLeftOut(t *testing.T) {
	dir, in, out := written(t)
	for at := range 3 {
		links := must[[]byte](t)(os.ReadFile(filepath.Join(dir, linksName)))
		owed := must[[]byte](t)(os.ReadFile(filepath.Join(dir, owedName)))
		clear(links[headerBytes+at*linkBytes:][:linkBytes])
		clear(owed[headerBytes+at*owedBytes:][:owedBytes])
		w := opened(t, with(t, with(t, dir, linksName, links), owedName, owed), testConfig())
		want := Replay{Records: 2, Blank: 1}
		if r := w.Recovered(); r.Links != want || r.Owed != want {
			t.Errorf("record %d: %+v", at, r)
		}
		c, _ := w.Claim(in.ID())
		o, _ := w.Opening(out.ID())
		if best := map[int]uint32{0: 3, 1: 3, 2: 2}[at]; c.Best != linkOf(in, best) || o.Owed != 2 {
			t.Errorf("record %d: %+v, %d owed", at, c.Best, o.Owed)
		}
	}
}

func TestSkipDamaged(t *testing.T) {
	dir, in, _ := written(t)
	data := must[[]byte](t)(os.ReadFile(filepath.Join(dir, linksName)))
	data[headerBytes+2*linkBytes+40]++
	config := testConfig()
	config.SkipDamaged = true
	w := opened(t, with(t, dir, linksName, data), config)
	if r, want := w.Recovered().Links, (Replay{Records: 2, Damaged: 1}); r != want || !r.Lost() {
		t.Errorf("%+v", r)
	}
	if c, _ := w.Claim(in.ID()); c.Best != linkOf(in, 2) {
		t.Errorf("%+v", c.Best)
	}
}

// Records that wallet.db cannot explain mean that it is older than they are.
func TestFilesThatDoNotBelongTogether(t *testing.T) {
	fresh := t.TempDir()
	ok(t, opened(t, fresh, testConfig()).Close())
	dir, in, _ := written(t)
	database := func(dir string) []byte { return must[[]byte](t)(os.ReadFile(filepath.Join(dir, dbName))) }
	if _, err := Open(with(t, dir, dbName, database(fresh)), testConfig()); !errors.Is(err, ErrDamaged) {
		t.Errorf("an old wallet.db: %v", err)
	}
	for _, name := range []string{dbName, linksName, owedName} {
		gone := crashed(t, dir)
		ok(t, os.Remove(filepath.Join(gone, name)))
		if _, err := Open(gone, testConfig()); !errors.Is(err, ErrDamaged) {
			t.Errorf("without %s: %v", name, err)
		}
	}
	var l appendLog
	id := in.ID()
	l.addLink((*[32]byte)(&id), testLinks+1, new([32]byte))
	data := append(must[[]byte](t)(os.ReadFile(filepath.Join(dir, linksName))), l.buf...)
	if _, err := Open(with(t, dir, linksName, data), testConfig()); !errors.Is(err, ErrDamaged) {
		t.Errorf("a link beyond its chain: %v", err)
	}
}

// A crash while the wallet is made leaves what is made again.
func TestCreationInterrupted(t *testing.T) {
	header := logHeader(linksName, &Config{})
	for name, files := range map[string]map[string][]byte{
		"empty log":     {linksName: nil},
		"torn header":   {linksName: header[:20]},
		"logs":          {linksName: header, owedName: header},
		"torn database": {linksName: header, owedName: header, newDBName: []byte("bolt, half of it")},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for name, data := range files {
				ok(t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
			}
			ok(t, opened(t, dir, testConfig()).SetLimit(1))
			if _, err := os.Stat(filepath.Join(dir, newDBName)); !os.IsNotExist(err) {
				t.Errorf("%s is left: %v", newDBName, err)
			}
		})
	}
}

// Every byte of a row of wallet.db is under its checksum.
func TestEveryFlippedByteOfARowIsDetected(t *testing.T) {
	t.Parallel()
	dir, in, out := written(t)
	w := opened(t, dir, testConfig())
	c, _ := w.Claim(in.ID())
	o, _ := w.Opening(out.ID())
	ok(t, w.Close())
	rows := map[string][]byte{"claim": c.append(nil), "opening": o.append(nil)}
	data := must[[]byte](t)(os.ReadFile(filepath.Join(dir, dbName)))
	damaged := crashed(t, dir)
	for name, row := range rows {
		at := bytes.LastIndex(data, row)
		if at < 0 {
			t.Fatalf("no %s in wallet.db", name)
		}
		// The page of an earlier change may hold the same row: all go.
		for i := range len(row) + sumBytes {
			bad := bytes.Clone(data)
			for from := 0; ; from++ {
				next := bytes.Index(data[from:], row)
				if next < 0 {
					break
				}
				from += next
				bad[from+i] ^= 0x41
			}
			ok(t, os.WriteFile(filepath.Join(damaged, dbName), bad, 0o600))
			w, err := open(damaged, testConfig().withDefaults())
			if err == nil {
				ok(t, w.closeFiles())
			}
			if !errors.Is(err, ErrDamaged) {
				t.Fatalf("%s: byte %d was changed: %v", name, i, err)
			}
		}
	}
}
