package federation

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"torrente/identity"
	"torrente/metainfo"
	"torrente/payment/contract"
	"torrente/payment/ledger"
	"torrente/piece/store"
)

// soldTorrent is a torrent that is sold on this ledger, hybrid or not.
func (p *place) soldTorrent(t *testing.T, v1, v2 bool) *metainfo.Info {
	t.Helper()
	path := t.TempDir() + "/goods"
	if err := os.WriteFile(path, make([]byte, 40_000), 0o600); err != nil {
		t.Fatal(err)
	}
	content := must[*store.Content](t)(store.List(path))
	pay := &metainfo.Pay{Ledger: p.books.ID().Short(), Federation: "https://f.example"}
	plan := must[*metainfo.Plan](t)(metainfo.NewPlan(content.Name, content.Files, metainfo.Options{V1: v1, V2: v2, Pay: pay}))
	hashes, err := content.Hash(context.Background(), plan, func(int64) {})
	if err != nil {
		t.Fatal(err)
	}
	return must[*metainfo.Info](t)(plan.Info(hashes))
}

// announce returns what the tracker at base answers about a torrent.
func announce(t *testing.T, web *http.Client, base string, hash []byte) string {
	t.Helper()
	u := base + "?port=6881&left=0&compact=1&peer_id=" + strings.Repeat("x", 20) + "&info_hash=" + url.QueryEscape(string(hash))
	answer := must[*http.Response](t)(web.Get(u))
	defer answer.Body.Close()
	return string(must[[]byte](t)(io.ReadAll(answer.Body)))
}

func TestSoldTorrentsAreForMembers(t *testing.T) {
	p := served(t, nil)
	bob := p.enrolled(t, "bob").Identity
	hybrid, v1, v2 := p.soldTorrent(t, true, true), p.soldTorrent(t, true, false), p.soldTorrent(t, false, true)
	c := p.client(t, bob)
	register := func(info *metainfo.Info) {
		r := must[ledger.Receipt](t)(c.Submit(t.Context(), p.signed(t, bob, &contract.RegisterTorrent{Info: info.Raw})))
		if r.Err() != nil {
			t.Fatal(r.Err())
		}
	}
	plain, member := &http.Client{}, p.web(t, tlsOf(bob))
	defer plain.CloseIdleConnections()
	if got := announce(t, plain, p.at.Tracker, make([]byte, 20)); !strings.Contains(got, "interval") {
		t.Errorf("a free torrent: %q", got)
	}
	check := func() {
		t.Helper()
		for _, info := range []*metainfo.Info{hybrid, v1, v2} {
			var hashes [][]byte
			if info.HasV1 {
				h := info.HashV1()
				hashes = append(hashes, h[:])
			}
			if info.HasV2 {
				id := info.ID()
				hashes = append(hashes, id[:20])
			}
			for _, h := range hashes {
				if got := announce(t, plain, p.at.Tracker, h); !strings.Contains(got, "this torrent is sold") {
					t.Errorf("on the plain tracker: %q", got)
				}
				if got := announce(t, member, p.at.MemberTracker, h); !strings.Contains(got, "interval") {
					t.Errorf("with a certificate: %q", got)
				}
			}
		}
	}
	for _, info := range []*metainfo.Info{hybrid, v1, v2} {
		register(info)
	}
	p.waitSold(t)
	check()
	// Both after a restart, and if what was noted on the way is lost.
	p.stop()
	p.open(t).serve(t)
	plain.CloseIdleConnections()
	member = p.web(t, tlsOf(bob))
	check()
	p.stop()
	if err := os.Remove(p.dir + "/" + registryFile); err != nil {
		t.Fatal(err)
	}
	p.open(t).serve(t)
	member = p.web(t, tlsOf(bob))
	check()
}

// Strangers and members who are none any more are refused on the members'
// tracker, in a tracker's words, and learn nothing of who is there.
func TestMemberTrackerRefuses(t *testing.T) {
	p := served(t, nil)
	bob, carol := p.enrolled(t, "bob").Identity, p.enrolled(t, "carol").Identity
	other := must[*identity.Authority](t)(identity.NewAuthority("Alpha", p.clock.now(), time.Hour))
	must[Member](t)(p.Revoke(t.Context(), RevokeRequest{Who: "carol"}))
	hash := make([]byte, 20)
	if got := announce(t, p.web(t, tlsOf(bob)), p.at.MemberTracker, hash); !strings.Contains(got, "interval") {
		t.Fatalf("a member: %q", got)
	}
	for name, x := range map[string]struct {
		shows *tls.Certificate
		says  error
	}{
		"no certificate":     {nil, errNoCertificate},
		"another federation": {tlsOf(certified(t, other, "bob", p.clock.now(), time.Hour)), identity.ErrOtherFederation},
		"revoked":            {tlsOf(carol), identity.ErrRevoked},
	} {
		web := p.web(t, x.shows)
		want := fmt.Sprintf("d14:failure reason%d:%se", len(x.says.Error()), x.says)
		if got := announce(t, web, p.at.MemberTracker, hash); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
		if got := announce(t, web, p.at.Portal+"/scrape", hash); got != want {
			t.Errorf("%s, who scrapes: %q", name, got)
		}
	}
}

// waitSold waits until the tracker has followed the ledger.
func (p *place) waitSold(t *testing.T) {
	t.Helper()
	end := time.After(10 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for p.sold.reached() < p.books.Status().Height {
		select {
		case <-tick.C:
		case <-end:
			t.Fatal("the tracker does not follow the ledger")
		}
	}
}
