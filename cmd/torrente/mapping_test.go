package main

import (
	"bytes"
	"net/netip"
	"os"
	"testing"

	"torrente/natpmp"
)

// Trackers hear of another port, and of another address than that of before. The first
// address they have seen themselves.
func TestWhereabouts(t *testing.T) {
	at := func(address string, port uint16) *natpmp.Status {
		s := &natpmp.Status{Port: 9003}
		if address != "" {
			a := netip.MustParseAddr(address)
			s.IPv4.External = a
			s.IPv4.Mappings = []natpmp.Mapping{{Transport: natpmp.TCP, External: a, ExternalPort: port}}
		}
		return s
	}
	w := whereabouts{port: 9003}
	for i, step := range []struct {
		status *natpmp.Status
		news   bool
	}{
		{at("", 0), false},
		{at("11.0.0.2", 9003), false},
		{at("11.0.0.2", 9003), false},
		{at("11.0.0.3", 9003), true},
		{at("11.0.0.3", 41234), true},
		{at("", 0), true}, // the mapping ended: 9003 may be forwarded by hand
		{at("11.0.0.3", 9003), false},
	} {
		if got := w.move(step.status); got != step.news {
			t.Errorf("step %d: %v", i, got)
		}
	}
}

// Who was killed shows routers the same secret at the next start.
func TestRouterSecret(t *testing.T) {
	h := home(t.TempDir())
	first, err := h.secret()
	if err != nil || len(first) != secretBytes {
		t.Fatalf("%x, %v", first, err)
	}
	again, err := h.secret()
	if err != nil || !bytes.Equal(first, again) {
		t.Errorf("%x became %x, %v", first, again, err)
	}
	info, err := os.Stat(h.path(secretFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if err := os.WriteFile(h.path(secretFile), []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if anew, err := h.secret(); err != nil || len(anew) != secretBytes {
		t.Errorf("%x, %v", anew, err)
	}
	if _, err := home(t.TempDir() + "/nowhere").secret(); err == nil {
		t.Error("a secret was kept in no folder")
	}
}

// Nobody is asked about a port that only this machine reaches.
func TestMapperOfAddress(t *testing.T) {
	h := home(t.TempDir())
	for _, c := range []struct {
		at    address
		asked bool
		bad   bool
	}{
		{address{portmap: "auto"}, true, false},
		{address{portmap: "upnp", bind: "192.0.2.7"}, true, false},
		{address{portmap: "off"}, false, false},
		{address{portmap: "auto", bind: "127.0.0.1"}, false, false},
		{address{portmap: "auto", bind: "::1"}, false, false},
		{address{portmap: "igd"}, false, true},
	} {
		m, err := c.at.mapper(h, 9003, nil)
		if (m != nil) != c.asked || (err != nil) != c.bad {
			t.Errorf("%+v: %v, %v", c.at, m, err)
		}
	}
}
