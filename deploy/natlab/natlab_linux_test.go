package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

var programDir string // once it is built

// program builds the node once.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "natlab-test-")
	if err != nil {
		return "", err
	}
	programDir = dir
	path := filepath.Join(dir, "torrente")
	if out, err := exec.Command("go", "build", "-o", path, "torrente/cmd/torrente").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w: %s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if programDir != "" {
		os.RemoveAll(programDir)
	}
	os.Exit(code)
}

// TestLabPaths plays every way by which two homes meet, and none, at once, and prints the
// table.
func TestLabPaths(t *testing.T) {
	torrente := inLab(t)
	var table bytes.Buffer
	var mu sync.Mutex
	t.Run("", func(t *testing.T) {
		for _, p := range paths {
			t.Run(p.name, func(t *testing.T) {
				t.Parallel()
				o := &options{torrente: torrente, mib: 16, verbose: true}
				r, err := o.play(t.Context(), p, &told{out: t.Output()})
				if err != nil {
					t.Fatal(err)
				}
				if err := r.asExpected(p); err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				fmt.Fprintln(&table, r.line(p))
			})
		}
	})
	t.Logf("path, download, seconds to the first byte, MiB/s, the seller's node\n%s", &table)
}

// An interrupt ends what runs, and removes the namespaces and the folder.
func TestLabInterrupted(t *testing.T) {
	torrente := inLab(t)
	self := filepath.Join(t.TempDir(), "natlab")
	if out, err := exec.Command("go", "build", "-o", self, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v: %s", err, out)
	}
	c := exec.Command(self, "--torrente", torrente, "--path", "none")
	c.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var errs bytes.Buffer
	c.Stderr = &errs
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	prefix := fmt.Sprintf("torrente-%d-", c.Process.Pid)
	text, buf := "", make([]byte, 4096)
	for !strings.Contains(text, "enrolled") {
		n, err := out.Read(buf)
		if err != nil {
			t.Fatalf("it said %q: %v, %s", text, err, &errs)
		}
		text += string(buf[:n])
	}
	if got := namespaces(t, prefix); got != 5 {
		t.Errorf("it runs in %d namespaces", got)
	}
	began := time.Now()
	if err := c.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err == nil || !strings.Contains(errs.String(), "interrupted: what was made is removed") {
		t.Errorf("%v, %s", err, &errs)
	}
	if got := namespaces(t, prefix); got != 0 {
		t.Errorf("%d namespaces are left", got)
	}
	left, err := filepath.Glob(filepath.Join(strings.TrimPrefix(c.Env[len(c.Env)-1], "TMPDIR="), "torrente-natlab-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("%v, %v are left", err, left)
	}
	t.Logf("all was removed in %s", time.Since(began).Round(time.Millisecond))
}

// inLab builds the node.
func inLab(t *testing.T) (torrente string) {
	t.Helper()
	torrente, err := program()
	if err != nil {
		t.Fatal(err)
	}
	return torrente
}

func namespaces(t *testing.T, prefix string) (n int) {
	t.Helper()
	out, err := exec.Command("ip", "netns", "list").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, prefix) {
			n++
		}
	}
	return n
}
