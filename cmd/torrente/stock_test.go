package main

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"torrente/tracker/server"
)

// Stock clients, as Debian has them, are the other side of these tests. Each
// has an address of its own in 127.0.0.0/8: they keep one peer an address.

// patience bounds every wait for another program.
const patience = 60 * time.Second

// waitFor polls another program until done says so.
func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	end := time.After(patience)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-end:
			t.Fatalf("%s did not happen in %v", what, patience)
		case <-tick.C:
		}
	}
}

// program is a process that ends with its test.
type program struct {
	t    *testing.T
	cmd  *exec.Cmd
	done chan struct{}
	err  error

	mu  sync.Mutex // guards the following
	out bytes.Buffer
}

func (p *program) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.Write(b)
}

func (p *program) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

// start runs a program until the test ends; its output is shown if it fails.
func start(t *testing.T, env []string, name string, args ...string) *program {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Fatalf("%s is not installed: `make test` installs what the tests need", name)
	}
	p := &program{t: t, cmd: exec.Command(name, args...), done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = p, p
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.err = p.cmd.Wait(); close(p.done) }()
	t.Cleanup(func() {
		p.interrupt()
		if t.Failed() {
			t.Logf("%s said:\n%s", name, p.output())
		}
	})
	return p
}

// interrupt ends the program as Ctrl-C does, or else by force.
func (p *program) interrupt() {
	p.cmd.Process.Signal(os.Interrupt)
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		p.cmd.Process.Kill()
		<-p.done
	}
}

// says waits until the program has written text.
func (p *program) says(text string) {
	p.t.Helper()
	waitFor(p.t, fmt.Sprintf("%q", text), func() bool {
		select {
		case <-p.done:
			if !strings.Contains(p.output(), text) {
				p.t.Fatalf("ended without %q: %v\n%s", text, p.err, p.output())
			}
		default:
		}
		return strings.Contains(p.output(), text)
	})
}

// ends waits for the program's end and its success.
func (p *program) ends() {
	p.t.Helper()
	waitFor(p.t, "the end of the program", func() bool {
		select {
		case <-p.done:
			return true
		default:
			return false
		}
	})
	if p.err != nil {
		p.t.Fatalf("%v:\n%s", p.err, p.output())
	}
}

// ours runs our own command with a home of its own.
func ours(t *testing.T, args ...string) *program {
	t.Helper()
	return start(t, []string{"TORRENTE_HOME=" + filepath.Join(t.TempDir(), "home")}, "torrente", args...)
}

// freePort is a port that is free on an address now.
func freePort(t *testing.T, ip string) string {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// goods is content and its torrent file, made by us.
type goods struct {
	dir, name, torrent string
	facts              torrentFacts
}

// makeGoods makes a folder of files and a torrent of the given kind.
func makeGoods(t *testing.T, flags ...string) *goods {
	t.Helper()
	g := &goods{dir: t.TempDir(), name: "goods"}
	for name, n := range map[string]int64{"big": 5<<20 + 12345, "sub/small": 77, "sub/even": 65536, "sub/deep/x": 300_000} {
		path := filepath.Join(g.dir, g.name, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		data := make([]byte, n)
		rand.Read(data)
		if err := os.WriteFile(path, data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	g.torrent = filepath.Join(t.TempDir(), "goods.torrent")
	args := append([]string{"create", filepath.Join(g.dir, g.name), "-o", g.torrent, "--piece-length", "64KiB", "--json"}, flags...)
	p := ours(t, args...)
	p.ends()
	if err := json.Unmarshal([]byte(p.output()), &g.facts); err != nil {
		t.Fatalf("%v in %s", err, p.output())
	}
	return g
}

// sameIn compares a download with the goods, file by file.
func (g *goods) sameIn(t *testing.T, dir string) {
	t.Helper()
	out, err := exec.Command("diff", "-r", filepath.Join(g.dir, g.name), filepath.Join(dir, g.name)).CombinedOutput()
	if err != nil {
		t.Errorf("the download differs: %v\n%s", err, out)
	}
}

// client is a stock client that is running.
type client interface {
	// give adds a torrent, by file or link, with its data or an empty folder.
	give(t *testing.T, torrent, dir string)
	// complete reports whether it has everything.
	complete(t *testing.T) bool
	// peer tells it of a peer.
	peer(t *testing.T, addr string)
	// listens is where it awaits peers.
	listens() string
}

// qbittorrent is qbittorrent-nox, which is libtorrent.
type qbittorrent struct{ api, addr string }

func startQBittorrent(t *testing.T, ip string) client {
	t.Helper()
	q := &qbittorrent{api: "http://" + net.JoinHostPort(ip, freePort(t, ip)), addr: net.JoinHostPort(ip, freePort(t, ip))}
	_, web, _ := strings.Cut(strings.TrimPrefix(q.api, "http://"), ":")
	_, port, _ := net.SplitHostPort(q.addr)
	profile := t.TempDir()
	conf := filepath.Join(profile, "qBittorrent", "config", "qBittorrent.conf")
	os.MkdirAll(filepath.Dir(conf), 0o777)
	os.WriteFile(conf, fmt.Appendf(nil, `[LegalNotice]
Accepted=true
[BitTorrent]
Session\InterfaceAddress=%[1]s
Session\Interface=
Session\MultiConnectionsPerIp=true
Session\Port=%[2]s
Session\DHTEnabled=false
Session\LSDEnabled=false
Session\PeXEnabled=false
Session\QueueingSystemEnabled=false
[Preferences]
WebUI\Address=%[1]s
WebUI\Port=%[3]s
WebUI\LocalHostAuth=false
`, ip, port, web), 0o666)
	p := start(t, nil, "qbittorrent-nox", "--profile="+profile)
	waitFor(t, "qbittorrent's start", func() bool {
		select {
		case <-p.done:
			t.Fatalf("qbittorrent-nox ended: %v", p.err)
		default:
		}
		r, err := http.Get(q.api + "/api/v2/app/version")
		if err == nil {
			r.Body.Close()
		}
		return err == nil && r.StatusCode == http.StatusOK
	})
	return q
}

func (q *qbittorrent) listens() string { return q.addr }

func (q *qbittorrent) call(t *testing.T, path, contentType string, body io.Reader) string {
	t.Helper()
	r, err := http.Post(q.api+path, contentType, body)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, _ := io.ReadAll(r.Body)
	if r.StatusCode != http.StatusOK {
		t.Fatalf("qbittorrent %s: %s %s", path, r.Status, b)
	}
	return string(b)
}

func (q *qbittorrent) give(t *testing.T, torrent, dir string) {
	t.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	if isMagnet(torrent) {
		form.WriteField("urls", torrent)
	} else {
		raw, err := os.ReadFile(torrent)
		if err != nil {
			t.Fatal(err)
		}
		part, _ := form.CreateFormFile("torrents", "x.torrent")
		part.Write(raw)
	}
	form.WriteField("savepath", dir)
	form.WriteField("root_folder", "true")
	form.Close()
	q.call(t, "/api/v2/torrents/add", form.FormDataContentType(), &body)
	waitFor(t, "qbittorrent's taking the torrent", func() bool { return len(q.list(t)) == 1 })
}

func (q *qbittorrent) list(t *testing.T) (list []struct {
	Hash       string  `json:"hash"`
	InfohashV1 string  `json:"infohash_v1"`
	Progress   float64 `json:"progress"`
	State      string  `json:"state"`
},
) {
	t.Helper()
	raw := q.call(t, "/api/v2/torrents/info", "application/x-www-form-urlencoded", nil)
	if err := json.Unmarshal([]byte(raw), &list); err != nil {
		t.Fatal(err)
	}
	return list
}

func (q *qbittorrent) complete(t *testing.T) bool {
	l := q.list(t)
	return len(l) == 1 && l[0].Progress == 1 && strings.HasSuffix(l[0].State, "UP")
}

func (q *qbittorrent) peer(t *testing.T, addr string) {
	t.Helper()
	form := url.Values{"hashes": {q.list(t)[0].Hash}, "peers": {addr}}
	q.call(t, "/api/v2/torrents/addPeers", "application/x-www-form-urlencoded", strings.NewReader(form.Encode()))
}

// transmission is transmission-daemon. Its release in Debian knows v1 only, and
// refuses torrents with a v2 part.
type transmission struct{ rpc, addr string }

func startTransmission(t *testing.T, ip string) client {
	t.Helper()
	m := &transmission{rpc: net.JoinHostPort(ip, freePort(t, ip)), addr: net.JoinHostPort(ip, freePort(t, ip))}
	_, rpc, _ := net.SplitHostPort(m.rpc)
	_, port, _ := net.SplitHostPort(m.addr)
	dir := t.TempDir()
	conf := fmt.Sprintf(`{"bind-address-ipv4": %q, "peer-port": %s, "rpc-port": %s, "rpc-bind-address": %q, "rpc-whitelist-enabled": false,
		"dht-enabled": false, "lpd-enabled": false, "pex-enabled": false, "port-forwarding-enabled": false, "utp-enabled": false}`, ip, port, rpc, ip)
	if err := os.WriteFile(filepath.Join(dir, "settings.json"), []byte(conf), 0o666); err != nil {
		t.Fatal(err)
	}
	p := start(t, nil, "transmission-daemon", "-f", "-g", dir)
	waitFor(t, "transmission's start", func() bool {
		select {
		case <-p.done:
			t.Fatalf("transmission-daemon ended: %v", p.err)
		default:
		}
		return exec.Command("transmission-remote", m.rpc, "-si").Run() == nil
	})
	return m
}

func (m *transmission) listens() string { return m.addr }

func (m *transmission) remote(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("transmission-remote", append([]string{m.rpc}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("transmission-remote %v: %v %s", args, err, out)
	}
	return string(out)
}

func (m *transmission) give(t *testing.T, torrent, dir string) {
	t.Helper()
	m.remote(t, "-w", dir, "-a", torrent)
	m.remote(t, "-t", "all", "-v")
}

func (m *transmission) complete(t *testing.T) bool {
	return strings.Contains(m.remote(t, "-t", "all", "-i"), "Percent Done: 100%")
}

func (m *transmission) peer(*testing.T, string) {} // it learns of peers by the tracker alone

// localTracker is our tracker, on an address of its own.
type localTracker struct {
	announce string // its URL
	seen     sync.Map
}

func startTracker(t *testing.T, ip string) *localTracker {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
	if err != nil {
		t.Fatal(err)
	}
	tr := &localTracker{announce: "http://" + l.Addr().String() + "/announce"}
	s := &http.Server{Handler: server.New(server.Config{Allow: func(r *http.Request, _ [20]byte) error {
		from, _, err := net.SplitHostPort(r.RemoteAddr)
		tr.seen.Store(from, true)
		return err
	}})}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return tr
}

// hears waits until a peer has announced itself.
func (tr *localTracker) hears(t *testing.T, ip string) {
	t.Helper()
	waitFor(t, "an announce of "+ip, func() bool { _, ok := tr.seen.Load(ip); return ok })
}

func TestTransmission(t *testing.T) {
	for i, by := range []string{"file", "magnet"} {
		ip := func(n int) string { return fmt.Sprintf("127.0.%d.%d", 30+i, n) }
		t.Run("get from it by "+by, func(t *testing.T) {
			t.Parallel()
			g := makeGoods(t, "--v1")
			m := startTransmission(t, ip(1))
			m.give(t, g.torrent, g.dir)
			waitFor(t, "transmission's check of the data", func() bool { return m.complete(t) })
			dir := t.TempDir()
			ours(t, "get", g.by(by), "--plain", "--dir", dir, "--bind", ip(2), "--peer", m.listens()).ends()
			g.sameIn(t, dir)
		})
		t.Run("seed to it by "+by, func(t *testing.T) {
			t.Parallel()
			tr := startTracker(t, ip(5))
			g := makeGoods(t, "--v1", "--tracker", tr.announce)
			port := freePort(t, ip(3))
			m, dir := startTransmission(t, ip(4)), t.TempDir()
			m.give(t, g.by(by), dir)
			tr.hears(t, ip(4))
			ours(t, "seed", g.torrent, "--dir", g.dir, "--bind", ip(3), "--port", port).says("seeding on port")
			waitFor(t, "transmission's download", func() bool { return m.complete(t) })
			g.sameIn(t, dir)
		})
	}
}

// aria2c is one process a download.
func TestAria2(t *testing.T) {
	ip := func(n int) string { return fmt.Sprintf("127.0.34.%d", n) }
	g := makeGoods(t, "--v1", "--tracker", startTracker(t, ip(5)).announce)
	ours(t, "seed", g.torrent, "--dir", g.dir, "--bind", ip(3), "--port", freePort(t, ip(3))).says("seeding on port")
	dir := t.TempDir()
	start(t, nil, "aria2c", "--no-conf", "--dir="+dir, "--seed-time=0", "--enable-dht=false", "--enable-dht6=false",
		"--bt-enable-lpd=false", "--listen-port="+freePort(t, ip(4)), "--interface="+ip(4), "--disable-ipv6=true",
		"--file-allocation=none", g.torrent).ends()
	g.sameIn(t, dir)
}

func TestQBittorrent(t *testing.T) {
	for i, kind := range []string{"--v1", "--hybrid", "--v2"} {
		for j, by := range []string{"file", "magnet"} {
			ip := func(n int) string { return fmt.Sprintf("127.0.%d.%d", 20+2*i+j, n) }
			t.Run("get from it"+kind+" by "+by, func(t *testing.T) {
				t.Parallel()
				g := makeGoods(t, kind)
				q := startQBittorrent(t, ip(1))
				q.give(t, g.torrent, g.dir)
				waitFor(t, "qbittorrent's check of the data", func() bool { return q.complete(t) })
				dir := t.TempDir()
				ours(t, "get", g.by(by), "--plain", "--dir", dir, "--bind", ip(2), "--peer", q.listens()).ends()
				g.sameIn(t, dir)
			})
			t.Run("seed to it"+kind+" by "+by, func(t *testing.T) {
				t.Parallel()
				g := makeGoods(t, kind)
				port := freePort(t, ip(3))
				ours(t, "seed", g.torrent, "--dir", g.dir, "--bind", ip(3), "--port", port).says("seeding on port")
				q, dir := startQBittorrent(t, ip(4)), t.TempDir()
				q.give(t, g.by(by), dir)
				q.peer(t, net.JoinHostPort(ip(3), port))
				waitFor(t, "qbittorrent's download", func() bool { return q.complete(t) })
				g.sameIn(t, dir)
			})
		}
	}
}

// by is how a torrent is named: its file or its magnet link.
func (g *goods) by(what string) string {
	if what == "magnet" {
		return g.facts.Link
	}
	return g.torrent
}
