package main

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

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
			checkPlain(t, []string{"free", "sold"}[i], c)
		}
	}
	for _, c := range taps[1].Heard() {
		if slices.Contains(c[1].IDs, peerwire.Piece) || slices.Contains(c[1].IDs, peerwire.Unchoke) {
			t.Errorf("the sold torrent was served to a client that cannot pay: %v", c[1].IDs)
		}
	}
	if err := filepath.WalkDir(dirs[1], func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
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

// checkPlain checks what we, the dialled side, said.
func checkPlain(t *testing.T, what string, c wiretap.Conversation) {
	t.Helper()
	us := c[1]
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
