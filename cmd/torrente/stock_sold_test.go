package main

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"torrente/internal/wiretap"
	"torrente/peerwire"
)

// enrolled makes a federation and a member of it, and returns the member's
// environment.
func enrolled(t *testing.T) []string {
	t.Helper()
	dir := t.TempDir()
	env := []string{"TORRENTE_PASSWORD=one", "TORRENTE_HOME=" + filepath.Join(dir, "home")}
	fed := filepath.Join(dir, "fed")
	run := func(args ...string) string {
		t.Helper()
		p := start(t, env, "torrente", args...)
		p.ends()
		return strings.TrimSpace(p.output())
	}
	run("federation", "init", "--dir", fed, "--name", "Club", "--treasury", "1000", "--cost", "1,16")
	serve := start(t, env, "torrente", "federation", "serve", "--dir", fed, "--listen", "127.0.0.1:0", "--tracker", "127.0.0.1:0")
	serve.says("federation Club: ")
	_, url, _ := strings.Cut(serve.output(), "federation Club: ")
	url, _, _ = strings.Cut(url, " ")
	run("enroll", "--federation", url, "--name", "seller", "--cost", "1,16", "--invite", run("federation", "invite", "--dir", fed, "seller"))
	return env
}

// A stock client and a seller of both a free and a sold torrent: it has the
// free one, and nothing of the sold one. Between them go no ids but those of
// the field's specifications, and we do not set our bit when we are dialled by
// one that does not.
func TestStockClientsAndASeller(t *testing.T) {
	ip := func(n int) string { return "127.0.36." + string(rune('0'+n)) }
	env := enrolled(t)
	g := makeGoods(t, "--hybrid")
	sold := filepath.Join(t.TempDir(), "sold.torrent")
	start(t, env, "torrente", "create", filepath.Join(g.dir, g.name), "-o", sold, "--paid", "--piece-length", "64KiB").ends()
	port := freePort(t, ip(1))
	start(t, env, "torrente", "seed", g.torrent, sold, "--dir", g.dir, "--bind", ip(1), "--port", port).says("seeding on port")
	seller := netip.MustParseAddrPort(net.JoinHostPort(ip(1), port))

	free, paid := startQBittorrent(t, ip(2)), startQBittorrent(t, ip(3))
	taps := []*wiretap.Tap{wiretap.Start(t, ip(4), seller), wiretap.Start(t, ip(5), seller)}
	dirs := []string{t.TempDir(), t.TempDir()}
	for i, q := range []client{free, paid} {
		q.give(t, []string{g.torrent, sold}[i], dirs[i])
		q.peer(t, taps[i].Addr().String())
	}
	waitFor(t, "the download of the free torrent", func() bool { return free.complete(t) })
	g.sameIn(t, dirs[0])
	waitFor(t, "the client's interest in the sold torrent", func() bool {
		return slices.ContainsFunc(taps[1].Heard(), func(c wiretap.Conversation) bool {
			return slices.Contains(c[0].IDs, peerwire.Interested)
		})
	})
	for i, tap := range taps {
		for _, c := range tap.Heard() {
			checkPlain(t, []string{"free", "sold"}[i], c[1])
		}
	}
	for _, c := range taps[1].Heard() {
		checkNothingServed(t, c[1])
	}
	checkNoData(t, dirs[1])
}

// Transmission and aria2, as Debian has them, know v1 alone and find peers by
// trackers. Whoever dials: a free torrent is had, a sold one is not.
func TestV1ClientsAndASeller(t *testing.T) {
	for i, who := range []string{"transmission", "aria2"} {
		for j, kind := range []string{"free", "sold"} {
			ip := func(n int) string { return fmt.Sprintf("127.0.%d.%d", 40+2*i+j, n) }
			t.Run(who+" "+kind, func(t *testing.T) {
				t.Parallel()
				env := enrolled(t)
				sellerAt := net.JoinHostPort(ip(1), freePort(t, ip(1)))
				var m *transmission
				clientAt := net.JoinHostPort(ip(2), freePort(t, ip(2)))
				if who == "transmission" {
					m = startTransmission(t, ip(2)).(*transmission)
					clientAt = m.listens()
				}
				byUs := wiretap.Start(t, ip(3), netip.MustParseAddrPort(clientAt))
				byThem := wiretap.Start(t, ip(4), netip.MustParseAddrPort(sellerAt))
				tracker := matchmaker(t, ip(5), map[string]netip.AddrPort{ip(1): byUs.Addr(), ip(2): byThem.Addr()})

				g := makeGoods(t, "--v1", "--tracker", tracker)
				if kind == "sold" {
					g.torrent = filepath.Join(t.TempDir(), "sold.torrent")
					start(t, env, "torrente", "create", filepath.Join(g.dir, g.name), "-o", g.torrent, "--paid", "--v1",
						"--piece-length", "64KiB", "--tracker", tracker).ends()
				}
				dir := t.TempDir()
				var aria *program
				if m != nil {
					m.give(t, g.torrent, dir)
				} else {
					_, port, _ := net.SplitHostPort(clientAt)
					aria = start(t, nil, "aria2c", "--no-conf", "--dir="+dir, "--seed-time=0", "--enable-dht=false", "--enable-dht6=false",
						"--bt-enable-lpd=false", "--listen-port="+port, "--interface="+ip(2), "--disable-ipv6=true",
						"--file-allocation=none", g.torrent)
				}
				_, port, _ := net.SplitHostPort(sellerAt)
				start(t, env, "torrente", "seed", g.torrent, "--dir", g.dir, "--bind", ip(1), "--port", port).says("seeding on port")

				if kind == "free" {
					if m != nil {
						waitFor(t, "transmission's download", func() bool { return m.complete(t) })
					} else {
						aria.ends()
					}
					g.sameIn(t, dir)
				} else {
					waitFor(t, "interest in the sold torrent", func() bool {
						said := func(us int, tap *wiretap.Tap) bool {
							return slices.ContainsFunc(tap.Heard(), func(c wiretap.Conversation) bool {
								return slices.Contains(c[1-us].IDs, peerwire.Interested)
							})
						}
						return said(0, byUs) || said(1, byThem)
					})
					since := time.Now()
					waitFor(t, "two rounds of choking", func() bool { return time.Since(since) > 2*time.Second })
					checkNoData(t, dir)
				}
				for _, c := range byThem.Heard() {
					checkPlain(t, kind, c[1])
				}
				for _, c := range byUs.Heard() {
					if kind == "sold" {
						checkNothingServed(t, c[0])
						c[0].Handshake.Reserved[4] &^= 1 // who dials may offer
					}
					checkPlain(t, kind, c[0])
				}
			})
		}
	}
}

// matchmaker is a tracker that knows one peer for each address that asks.
func matchmaker(t *testing.T, ip string, peers map[string]netip.AddrPort) (announce string) {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from, _, _ := net.SplitHostPort(r.RemoteAddr)
		var compact []byte
		if p, ok := peers[from]; ok {
			four := p.Addr().As4()
			compact = binary.BigEndian.AppendUint16(four[:], p.Port())
		}
		fmt.Fprintf(w, "d8:intervali1800e5:peers%d:%se", len(compact), compact)
	})}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return "http://" + l.Addr().String() + "/announce"
}

func checkNothingServed(t *testing.T, us wiretap.Speech) {
	t.Helper()
	if slices.Contains(us.IDs, peerwire.Piece) || slices.Contains(us.IDs, peerwire.Unchoke) {
		t.Errorf("the sold torrent was served to a client that cannot pay: %v", us.IDs)
	}
}

// checkNoData checks that no file below a folder has a byte of content.
func checkNoData(t *testing.T, dir string) {
	t.Helper()
	if err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, ".aria2") { // its own notes
			return err
		}
		b, err := os.ReadFile(path)
		if strings.Trim(string(b), "\x00") != "" {
			t.Errorf("%s has data", path)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}

// checkPlain checks what we said.
func checkPlain(t *testing.T, what string, us wiretap.Speech) {
	t.Helper()
	for _, bit := range []peerwire.Feature{peerwire.PayOffer, peerwire.PayAnswer} {
		if us.Handshake.Has(bit) {
			t.Errorf("%s: we set a payment bit for a client that did not", what)
		}
	}
	for _, id := range us.IDs {
		ok := id <= 9 || id >= 13 && id <= 17 || id >= 20 && id <= 23 || id == peerwire.KeepAlive
		if !ok {
			t.Errorf("%s: we said %v", what, id)
		}
	}
}
