package crashfs

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// made returns an open file of some content.
func made(t *testing.T, d *Disk, content []byte) *File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	fine(t, os.WriteFile(path, content, 0o600))
	f, err := d.Open(path)
	fine(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

func fine(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, f *File, b []byte, at int64) {
	t.Helper()
	if n, err := f.WriteAt(b, at); err != nil || n != len(b) {
		t.Fatal(n, err)
	}
}

// states are all contents that a loss may leave of the only file, once each.
func states(d *Disk) (all []string) {
	// choices counts through all sequences of choices, like an odometer.
	var choices, bounds []int
	for {
		at := 0
		bounds = bounds[:0]
		left := d.Lose(func(n int) int {
			if at == len(choices) {
				choices = append(choices, 0)
			}
			bounds = append(bounds, n)
			at++
			return choices[at-1]
		})
		for _, l := range left {
			if !slices.Contains(all, string(l.Data)) {
				all = append(all, string(l.Data))
			}
		}
		choices = choices[:at]
		for at--; at >= 0 && choices[at]+1 == bounds[at]; at-- {
		}
		if at < 0 {
			return all
		}
		choices[at]++
		choices = choices[:at+1]
	}
}

func sectors(letters string) string {
	var b []byte
	for _, c := range []byte(letters) {
		if c == '.' {
			c = 0
		}
		b = append(b, bytes.Repeat([]byte{c}, Sector)...)
	}
	return string(b)
}

func TestStates(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(t *testing.T, f *File)
		want []string // sectors by letter, '.' for zeros
	}{
		"nothing": {func(*testing.T, *File) {}, []string{"ab"}},
		"overwritten": {func(t *testing.T, f *File) {
			write(t, f, []byte(sectors("c")), 0)
		}, []string{"ab", "cb"}},
		"two sectors, in any order": {func(t *testing.T, f *File) {
			write(t, f, []byte(sectors("cd")), 0)
		}, []string{"ab", "cb", "ad", "cd"}},
		"appended: the length first": {func(t *testing.T, f *File) {
			write(t, f, []byte(sectors("c")), 2*Sector)
		}, []string{"ab", "ab.", "abc"}},
		"synced": {func(t *testing.T, f *File) {
			write(t, f, []byte(sectors("c")), 0)
			fine(t, f.Sync())
		}, []string{"cb"}},
		"written twice": {func(t *testing.T, f *File) {
			write(t, f, []byte(sectors("c")), 0)
			write(t, f, []byte(sectors("d")), 0)
		}, []string{"ab", "cb", "db"}},
		"cut: it may be back": {func(t *testing.T, f *File) {
			fine(t, f.Truncate(Sector))
		}, []string{"ab", "a"}},
		"cut and written: never the old behind the cut": {func(t *testing.T, f *File) {
			fine(t, f.Truncate(Sector))
			write(t, f, []byte(sectors("c")), Sector)
		}, []string{"ab", "a", "a.", "ac"}},
		"written and cut": {func(t *testing.T, f *File) {
			write(t, f, []byte(sectors("c")), Sector)
			fine(t, f.Truncate(Sector))
		}, []string{"ab", "ac", "a"}},
		"made longer": {func(t *testing.T, f *File) {
			fine(t, f.Truncate(3*Sector))
		}, []string{"ab", "ab."}},
	} {
		t.Run(name, func(t *testing.T) {
			var d Disk
			f := made(t, &d, []byte(sectors("ab")))
			c.do(t, f)
			got := states(&d)
			var want []string
			for _, w := range c.want {
				want = append(want, sectors(w))
			}
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("%d states, not %d", len(got), len(want))
			}
		})
	}
}

// Choosing 0 throughout loses all that can be lost.
func TestZeroLosesTheMost(t *testing.T) {
	var d Disk
	f := made(t, &d, []byte("durable"))
	write(t, f, []byte("lost"), 3)
	fine(t, f.Truncate(1))
	for _, l := range d.Lose(func(int) int { return 0 }) {
		if string(l.Data) != "durable" {
			t.Errorf("%q", l.Data)
		}
	}
}

func TestModifiedIsThatOfTheLength(t *testing.T) {
	var d Disk
	f := made(t, &d, []byte("x"))
	before, err := f.Stat()
	fine(t, err)
	write(t, f, []byte("y"), 0)
	after, err := f.Stat()
	fine(t, err)
	for pick, want := range []int64{before.ModTime().UnixNano(), after.ModTime().UnixNano()} {
		first := true
		for _, l := range d.Lose(func(int) int {
			if first {
				first = false
				return pick
			}
			return 0
		}) {
			if l.Modified != want {
				t.Errorf("choice %d: %d, not %d", pick, l.Modified, want)
			}
		}
	}
}

func TestPowerOff(t *testing.T) {
	var d Disk
	f := made(t, &d, []byte("x"))
	d.PowerOff()
	_, err1 := f.WriteAt([]byte("y"), 0)
	_, err2 := f.ReadAt(make([]byte, 1), 0)
	for _, err := range []error{err1, err2, f.Truncate(0), f.Sync()} {
		if !errors.Is(err, ErrPower) {
			t.Error(err)
		}
	}
	if b, _ := os.ReadFile(f.Name()); string(b) != "x" {
		t.Errorf("%q", b)
	}
}

func TestHooks(t *testing.T) {
	var d Disk
	f := made(t, &d, nil)
	var told []Kind
	no := errors.New("no")
	d.Before = func(op Op) error {
		if told = append(told, op.Kind); op.Kind == Truncate {
			return no
		}
		return nil
	}
	d.After = func(op Op) error {
		if told = append(told, "after"); op.Kind == Sync {
			return no
		}
		return nil
	}
	write(t, f, []byte("abc"), 0)
	if err := f.Truncate(0); !errors.Is(err, no) {
		t.Error(err)
	}
	if err := f.Sync(); !errors.Is(err, no) || d.Syncs() != 1 {
		t.Error(err, d.Syncs())
	}
	if want := []Kind{Write, "after", Truncate, Sync, "after"}; !slices.Equal(told, want) {
		t.Error(told)
	}
	if info, _ := f.Stat(); info.Size() != 3 {
		t.Error("the cut happened")
	}
	d.Before = func(Op) error { d.PowerOff(); return nil }
	if _, err := f.WriteAt([]byte("x"), 0); !errors.Is(err, ErrPower) {
		t.Error(err)
	}
}

func TestWaysThatAreNotFollowed(t *testing.T) {
	var d Disk
	f := made(t, &d, nil)
	_, err1 := f.Write([]byte("x"))
	_, err2 := f.WriteString("x")
	_, err3 := f.ReadFrom(bytes.NewReader([]byte("x")))
	for _, err := range []error{err1, err2, err3} {
		if !errors.Is(err, errNotFollowed) {
			t.Error(err)
		}
	}
	if _, err := d.Open(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// Two files of one path share what happened.
func TestOneHistoryAPath(t *testing.T) {
	var d Disk
	f := made(t, &d, []byte("a"))
	g, err := d.Open(f.Name())
	fine(t, err)
	defer g.Close()
	write(t, f, []byte("b"), 0)
	fine(t, g.Sync())
	if got := states(&d); !slices.Equal(got, []string{"b"}) {
		t.Errorf("%q", got)
	}
}

// Whatever is done: the newest state can be left, a sync leaves nothing to lose,
// and no byte is left that was never there.
func TestLossesAreOfWhatWas(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		var d Disk
		f := made(t, &d, bytes.Repeat([]byte{1}, rapid.IntRange(0, 3*Sector).Draw(r, "size")))
		fill := byte(1)
		r.Repeat(map[string]func(*rapid.T){
			"write": func(r *rapid.T) {
				fill++
				n := rapid.IntRange(1, 2*Sector).Draw(r, "bytes")
				write(t, f, bytes.Repeat([]byte{fill}, n), int64(rapid.IntRange(0, 3*Sector).Draw(r, "at")))
			},
			"truncate": func(r *rapid.T) { fine(t, f.Truncate(int64(rapid.IntRange(0, 4*Sector).Draw(r, "size")))) },
			"sync":     func(*rapid.T) { fine(t, f.Sync()) },
			"": func(r *rapid.T) {
				now, err := os.ReadFile(f.Name())
				fine(t, err)
				newest := d.Lose(func(n int) int { return n - 1 })[f.Name()]
				if !bytes.Equal(newest.Data, now) {
					t.Fatal("the newest choices are not what the file holds")
				}
				left := d.Lose(func(n int) int { return rapid.IntRange(0, n-1).Draw(r, "choice") })[f.Name()]
				for i, c := range left.Data {
					if c > fill {
						t.Fatalf("byte %d is %d", i, c)
					}
				}
			},
		})
		fine(t, f.Sync())
		now, _ := os.ReadFile(f.Name())
		if left := d.Lose(func(int) int { return 0 })[f.Name()]; !bytes.Equal(left.Data, now) {
			t.Fatal("what was synced is lost")
		}
		f.Close()
	})
}
