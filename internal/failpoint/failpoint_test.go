//go:build failpoint

package failpoint

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// childVariable turns the test program into a process that reaches points.
const childVariable = "TORRENTE_FAILPOINT_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) == "" {
		os.Exit(m.Run())
	}
	for i := range 5 {
		Hit("a")
		HitIf(true, "b")
		HitIf(i > 5, "c")
	}
	os.Exit(0)
}

func TestParse(t *testing.T) {
	for text, want := range map[string]plan{
		"wallet.links.written@3": {"wallet.links.written", 3},
		"a@1":                    {"a", 1},
		"7:1":                    {"", 1},
		"18446744073709551615:1": {"", 1},
	} {
		if got, err := parse(text); err != nil || got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"a", "@1", "a@", "a@0", "a@-1", "a@x", "7", "7:", "7:0", ":7", "x:7", "-1:7", "7:-7", "a@1@1"} {
		if _, err := parse(text); !errors.Is(err, errPlan) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// A seed always means the same hit, and seeds together mean all of them.
func TestSeedsMeanHits(t *testing.T) {
	seen := map[int]bool{}
	for seed := range 200 {
		text := strconv.Itoa(seed) + ":10"
		p, err := parse(text)
		again, _ := parse(text)
		if err != nil || p != again || p.at < 1 || p.at > 10 {
			t.Fatalf("%s: %+v, %+v, %v", text, p, again, err)
		}
		seen[p.at] = true
	}
	if len(seen) != 10 {
		t.Errorf("200 seeds meant %d of 10 hits", len(seen))
	}
}

// run runs a child and returns how it ended and what it noted.
func run(t *testing.T, kill string) (syscall.WaitStatus, string) {
	t.Helper()
	log := filepath.Join(t.TempDir(), "log")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"=1", killVariable+"="+kill, logVariable+"="+log)
	_ = cmd.Run() // how it ended is in ProcessState
	noted, _ := os.ReadFile(log)
	return cmd.ProcessState.Sys().(syscall.WaitStatus), string(noted)
}

func TestKill(t *testing.T) {
	for _, c := range []struct{ kill, noted string }{
		{"a@1", "hit a\nkill a 1\n"},
		{"b@3", "hit a\nhit b\nkill b 3\n"},
		{"1:1", "hit a\nkill a 1\n"},
	} {
		status, noted := run(t, c.kill)
		if !status.Signaled() || status.Signal() != syscall.SIGKILL || noted != c.noted {
			t.Errorf("%s: %v, %q", c.kill, status, noted)
		}
	}
	for _, kill := range []string{"", "a@6", "c@1"} {
		if status, noted := run(t, kill); status.ExitStatus() != 0 || noted != "hit a\nhit b\n" {
			t.Errorf("%q: %v, %q", kill, status, noted)
		}
	}
	if status, noted := run(t, "nonsense"); status.ExitStatus() != 2 || noted != "" {
		t.Errorf("nonsense: %v, %q", status, noted)
	}
}

// Every process of a run may write to one log.
func TestLogIsShared(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	for range 2 {
		c, err := newCounter("", log)
		if err != nil {
			t.Fatal(err)
		}
		c.hit("a")
		c.hit("a")
		c.log.Close()
	}
	if noted, _ := os.ReadFile(log); strings.Count(string(noted), "hit a\n") != 2 {
		t.Errorf("%q", noted)
	}
	if _, err := newCounter("", filepath.Join(log, "x")); err == nil {
		t.Error("a log that cannot be made is no error")
	}
}
