package server

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// program runs a Debian program until the test ends or it does.
func program(ctx context.Context, t *testing.T, dir, name string, args ...string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is missing: make test installs it", name)
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = dir
	out := &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = out, out
	return cmd, out
}

func aria2(ctx context.Context, t *testing.T, addr, dir, torrent string, more ...string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	l, err := net.Listen("tcp4", addr+":0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close() // no other client of this test uses the address
	args := append([]string{
		"--no-conf", "--dir=" + dir, "--enable-dht=false", "--enable-dht6=false", "--bt-enable-lpd=false",
		fmt.Sprintf("--listen-port=%d", port), "--interface=" + addr, "--disable-ipv6=true", "--file-allocation=none",
		"--summary-interval=0",
	}, more...)
	cmd, out := program(ctx, t, dir, "aria2c", append(args, torrent)...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, out
}

// Two aria2 find each other through the tracker alone, and say all their
// events: real sockets, on loopback.
func TestAria2DownloadsFromAria2(t *testing.T) {
	s := New(Config{})
	events := make(chan string, 100)
	hs := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.ServeHTTP(w, r)
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		events <- host + " " + r.URL.Query().Get("event")
	}))
	defer hs.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()

	from, to := t.TempDir(), t.TempDir()
	content := make([]byte, 3<<20+123)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(content)
	if err := os.WriteFile(filepath.Join(from, "content"), content, 0o600); err != nil {
		t.Fatal(err)
	}
	torrent := filepath.Join(t.TempDir(), "x.torrent")
	mk, out := program(ctx, t, from, "mktorrent", "-a", hs.URL+"/announce", "-l", "16", "-o", torrent, "content")
	if err := mk.Run(); err != nil {
		t.Fatalf("mktorrent: %v\n%s", err, out)
	}

	seed, seedOut := aria2(ctx, t, "127.0.0.11", from, torrent, "--check-integrity=true", "--seed-ratio=0")
	await(ctx, t, events, "127.0.0.11 started")
	leech, leechOut := aria2(ctx, t, "127.0.0.12", to, torrent, "--seed-time=0")
	if err := leech.Wait(); err != nil {
		t.Fatalf("aria2c: %v\n%s\nthe seed:\n%s", err, leechOut, seedOut)
	}
	got, err := os.ReadFile(filepath.Join(to, "content"))
	if err != nil || !bytes.Equal(got, content) {
		t.Fatalf("the file is not the same: %v", err)
	}
	await(ctx, t, events, "127.0.0.12 stopped")
	if m := s.Metrics(); m.Seeds != 1 || m.Leechers != 0 || m.Refused != 0 {
		t.Errorf("%+v", m)
	}
	if err := seed.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = seed.Wait() // its status says that it was interrupted
	await(ctx, t, events, "127.0.0.11 stopped")
	if m := s.Metrics(); m.Torrents != 0 {
		t.Errorf("%+v", m)
	}
}

// await takes events until the one that is wanted.
func await(ctx context.Context, t *testing.T, events <-chan string, want string) {
	t.Helper()
	for {
		select {
		case e := <-events:
			if e == want {
				return
			}
		case <-ctx.Done():
			t.Fatalf("%q did not come", want)
		}
	}
}
