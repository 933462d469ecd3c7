package main

import (
	"context"
	"crypto/tls"
	"net/netip"
	"net/url"
	"strings"

	"torrente/payment/ledger/remote"
	"torrente/tracker"
)

// announcers announces as a member at the tracker of the own federation, and at
// every other as nobody in particular: a certificate is shown to no stranger.
type announcers struct {
	usual tracker.Announcer
	own   tracker.Announcer // nil: no member
	url   string            // of the federation's tracker, as torrents carry it
	at    string            // where it is reached from here
}

// newAnnouncers makes the trackers' clients. d and secure are nil without a
// member.
func newAnnouncers(local netip.Addr, d *remote.Directory, secure *tls.Config) *announcers {
	cfg := tracker.Config{Local: local, UserAgent: "Torrente/" + version}
	a := &announcers{usual: tracker.NewClient(cfg)}
	if d == nil {
		return a
	}
	if a.url, a.at = memberTracker(d); a.url != "" {
		cfg.TLS = secure
		a.own = tracker.NewClient(cfg)
	}
	return a
}

// Announce tells a tracker about us.
func (a *announcers) Announce(ctx context.Context, url string, what tracker.Announce) (tracker.Answer, error) {
	if a.own != nil && url == a.url {
		return a.own.Announce(ctx, a.at, what)
	}
	return a.usual.Announce(ctx, url, what)
}

// memberTracker is the announce URL for what is sold in a federation, and the
// one at which this member reaches it. It is the portal's own, or none.
func memberTracker(d *remote.Directory) (public, reached string) {
	portal, err := url.Parse(d.URL)
	if err != nil {
		return "", ""
	}
	t, err := url.Parse(d.MemberTracker)
	if err != nil || t.Scheme != "https" || t.Host != portal.Host {
		return "", ""
	}
	if d.Portal == "" {
		return d.MemberTracker, d.MemberTracker
	}
	return d.MemberTracker, strings.TrimSuffix(d.Portal, "/") + strings.TrimPrefix(t.EscapedPath(), strings.TrimSuffix(portal.EscapedPath(), "/"))
}
