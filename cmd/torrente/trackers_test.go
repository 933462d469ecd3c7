package main

import (
	"context"
	"testing"

	"torrente/payment/ledger/remote"
	"torrente/tracker"
)

// recorder remembers where it was to announce.
type recorder []string

func (r *recorder) Announce(_ context.Context, url string, _ tracker.Announce) (tracker.Answer, error) {
	*r = append(*r, url)
	return tracker.Answer{}, nil
}

// The certificate is shown at the federation's own announce URL and at no other,
// be it of the same host.
func TestAnnouncers(t *testing.T) {
	const ours = "https://f.example:9443/announce"
	for name, tt := range map[string]struct {
		directory remote.Directory
		url       string
		own       string // where the member announces; empty: nobody in particular does
	}{
		"the federation's":     {remote.Directory{URL: "https://f.example:9443", MemberTracker: ours}, ours, ours},
		"another host":         {remote.Directory{URL: "https://f.example:9443", MemberTracker: ours}, "https://g.example:9443/announce", ""},
		"another port":         {remote.Directory{URL: "https://f.example:9443", MemberTracker: ours}, "https://f.example/announce", ""},
		"another path":         {remote.Directory{URL: "https://f.example:9443", MemberTracker: ours}, "https://f.example:9443/v1/events?announce", ""},
		"in clear":             {remote.Directory{URL: "https://f.example:9443", MemberTracker: ours}, "http://f.example:9443/announce", ""},
		"reached elsewhere":    {remote.Directory{URL: "https://f.example:9443", MemberTracker: ours, Portal: "https://10.0.0.1:1/"}, ours, "https://10.0.0.1:1/announce"},
		"below a path":         {remote.Directory{URL: "https://f.example/p/", MemberTracker: "https://f.example/p/announce", Portal: "https://10.0.0.1/q"}, "https://f.example/p/announce", "https://10.0.0.1/q/announce"},
		"not at the portal":    {remote.Directory{URL: "https://f.example:9443", MemberTracker: "https://g.example/announce"}, "https://g.example/announce", ""},
		"not secure":           {remote.Directory{URL: "https://f.example", MemberTracker: "http://f.example/announce"}, "http://f.example/announce", ""},
		"an old directory":     {remote.Directory{URL: "https://f.example"}, "", ""},
		"no URL that is there": {remote.Directory{URL: "https://f.example", MemberTracker: "%"}, "%", ""},
	} {
		var own, usual recorder
		a := &announcers{usual: &usual}
		if a.url, a.at = memberTracker(&tt.directory); a.url != "" {
			a.own = &own
		}
		if _, err := a.Announce(t.Context(), tt.url, tracker.Announce{}); err != nil {
			t.Fatal(err)
		}
		switch {
		case tt.own == "" && (len(own) != 0 || len(usual) != 1 || usual[0] != tt.url):
			t.Errorf("%s: a member announces at %q, and nobody at %q", name, own, usual)
		case tt.own != "" && (len(usual) != 0 || len(own) != 1 || own[0] != tt.own):
			t.Errorf("%s: nobody announces at %q, and a member at %q", name, usual, own)
		}
	}
}
