package main

import (
	"crypto/rand"
	"encoding/json"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// bulk is one large file and its hybrid torrent, and a seed of it.
type bulk struct {
	path, torrent, at string
	size              int64
}

func seedBulk(t *testing.T, ip string, size int64) *bulk {
	t.Helper()
	b := &bulk{path: filepath.Join(t.TempDir(), "bulk"), torrent: filepath.Join(t.TempDir(), "bulk.torrent"), size: size}
	data := make([]byte, size)
	rand.Read(data)
	if err := os.WriteFile(b.path, data, 0o666); err != nil {
		t.Fatal(err)
	}
	ours(t, "create", b.path, "-o", b.torrent).ends()
	port := freePort(t, ip)
	b.at = net.JoinHostPort(ip, port)
	ours(t, "seed", b.torrent, "--dir", filepath.Dir(b.path), "--bind", ip, "--port", port).says("seeding on port")
	return b
}

// written is how much of a folder's files is on disk.
func written(dir string) (sum int64) {
	filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			sum += info.Sys().(*syscall.Stat_t).Blocks * 512
		}
		return nil
	})
	return sum
}

// fetch is the command line of a download of b into dir, with the state in home.
func (b *bulk) fetch(ip, dir, home string, more ...string) []string {
	return append([]string{"get", b.torrent, "--dir", dir, "--home", home, "--bind", ip, "--peer", b.at, "--json"}, more...)
}

func facts(t *testing.T, p *program) (f getFacts) {
	t.Helper()
	out := p.output()
	if err := json.Unmarshal([]byte(out[strings.Index(out, "{"):]), &f); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	return f
}

// A download that is killed, again and again, goes on where it was: what was
// verified is not fetched again, but for the pieces that were being fetched.
func TestKilledDownloadGoesOn(t *testing.T) {
	t.Parallel()
	b := seedBulk(t, "127.0.40.1", 128<<20)
	dir, home := t.TempDir(), t.TempDir()
	for _, part := range []int64{20, 45, 70} {
		p := start(t, nil, "torrente", b.fetch("127.0.40.2", dir, home)...)
		waitFor(t, "progress", func() bool {
			select {
			case <-p.done:
				return true
			default:
				return written(dir) >= b.size*part/100
			}
		})
		p.cmd.Process.Kill()
		<-p.done
	}
	left := b.size - written(dir)
	p := start(t, nil, "torrente", b.fetch("127.0.40.2", dir, home)...)
	p.ends()
	if f := facts(t, p); f.Downloaded > left+32<<20 {
		t.Errorf("%d bytes were missing, %d were downloaded", left, f.Downloaded)
	}
	if out, err := exec.Command("cmp", b.path, filepath.Join(dir, "bulk")).CombinedOutput(); err != nil {
		t.Errorf("%v %s", err, out)
	}
}

// An interrupt saves the state and exits 130; a complete download is complete
// at once the next time, without a byte from anybody.
func TestInterruptedDownloadGoesOn(t *testing.T) {
	t.Parallel()
	b := seedBulk(t, "127.0.41.1", 128<<20)
	dir, home := t.TempDir(), t.TempDir()
	p := start(t, nil, "torrente", b.fetch("127.0.41.2", dir, home)...)
	waitFor(t, "progress", func() bool { return written(dir) >= b.size/10 })
	p.interrupt()
	if code := p.cmd.ProcessState.ExitCode(); code != exitInterrupted {
		t.Fatalf("exit %d, want %d:\n%s", code, exitInterrupted, p.output())
	}
	p = start(t, nil, "torrente", b.fetch("127.0.41.2", dir, home)...)
	p.ends()
	if f := facts(t, p); f.Downloaded >= b.size || f.Downloaded == 0 {
		t.Errorf("%d of %d bytes downloaded after an interrupt", f.Downloaded, b.size)
	}
	p = start(t, nil, "torrente", b.fetch("127.0.41.2", dir, home)...)
	p.ends()
	if f := facts(t, p); f.Downloaded != 0 {
		t.Errorf("%d bytes of a complete torrent downloaded", f.Downloaded)
	}
}

// Files that changed on disk while we were away are noticed and mended.
func TestDamageIsMended(t *testing.T) {
	t.Parallel()
	b := seedBulk(t, "127.0.42.1", 32<<20)
	dir, home := t.TempDir(), t.TempDir()
	start(t, nil, "torrente", b.fetch("127.0.42.2", dir, home)...).ends()
	f, err := os.OpenFile(filepath.Join(dir, "bulk"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteAt([]byte("damage"), 20<<20)
	f.Close()
	p := start(t, nil, "torrente", b.fetch("127.0.42.2", dir, home)...)
	p.ends()
	if got := facts(t, p).Downloaded; got == 0 || got > 1<<20 {
		t.Errorf("%d bytes downloaded to mend one piece", got)
	}
	if out, err := exec.Command("cmp", b.path, filepath.Join(dir, "bulk")).CombinedOutput(); err != nil {
		t.Errorf("%v %s", err, out)
	}
}

// One sentence each, exit 1, nothing lost.
func TestTrouble(t *testing.T) {
	t.Parallel()
	b := seedBulk(t, "127.0.43.1", 24<<20)
	fails := func(name, want string, args ...string) {
		t.Helper()
		p := start(t, nil, "torrente", args...)
		waitFor(t, "the end of "+name, func() bool {
			select {
			case <-p.done:
				return true
			default:
				return false
			}
		})
		out := strings.TrimSpace(p.output())
		last := out[strings.LastIndex(out, "\n")+1:]
		if code := p.cmd.ProcessState.ExitCode(); code != exitFailed || !strings.Contains(last, want) || !strings.HasPrefix(last, "torrente: ") {
			t.Errorf("%s: exit %d: %s\nwant a last line with %q", name, code, out, want)
		}
	}
	_, port, _ := net.SplitHostPort(b.at)
	fails("a port that is taken", "port "+port+" is taken", b.fetch("127.0.43.1", t.TempDir(), t.TempDir(), "--port", port)...)
	fails("a seed without the data", "pieces in", "seed", b.torrent, "--dir", t.TempDir(), "--bind", "127.0.43.3", "--home", t.TempDir())

	home := t.TempDir()
	p := start(t, nil, "torrente", "get", b.torrent, "--dir", t.TempDir(), "--home", home, "--bind", "127.0.43.4")
	waitFor(t, "the first node", func() bool { _, err := os.Stat(filepath.Join(home, "pid")); return err == nil })
	fails("a second node in a home", "in use by a running torrente (process", b.fetch("127.0.43.5", t.TempDir(), home)...)
	p.interrupt()

	small := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", small).CombinedOutput(); err != nil {
		t.Fatalf("a small disk for this test needs root: %v %s", err, out)
	}
	defer exec.Command("umount", small).Run()
	diskHome := t.TempDir()
	fails("a full disk", "the disk is full: free some space in", b.fetch("127.0.43.6", small, diskHome)...)
	full := filepath.Join(small, "home")
	fails("a full disk below the state folder", "no space left on device: free some space there and start again", b.fetch("127.0.43.7", t.TempDir(), full)...)
	if out, err := exec.Command("mount", "-o", "remount,size=64m", small).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	p = start(t, nil, "torrente", b.fetch("127.0.43.6", small, diskHome)...)
	p.ends()
	if got := facts(t, p).Downloaded; got >= b.size {
		t.Errorf("after the disk was full, all %d bytes were downloaded again", got)
	}
}
