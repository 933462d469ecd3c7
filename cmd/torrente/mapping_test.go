package main

import (
	"bytes"
	"net/netip"
	"os"
	"testing"
	"time"

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

// A router that changes its mind all the time makes nobody hammer trackers: they, and
// the user, hear once a minute, and the last of it.
func TestTeller(t *testing.T) {
	now := time.Unix(1e9, 0)
	x := teller{place: whereabouts{port: 9003}}
	moves, news := 0, 0
	for second := range 600 {
		a := netip.AddrFrom4([4]byte{11, 0, 0, byte(second % 7)})
		s := &natpmp.Status{Port: 9003, IPv6: natpmp.LinkStatus{State: natpmp.NoGateway}, IPv4: natpmp.LinkStatus{
			State: natpmp.Open, External: a, Mappings: []natpmp.Mapping{{Transport: natpmp.TCP, External: a, ExternalPort: uint16(40000 + second)}},
		}}
		moved, new, wait := x.tell(now.Add(time.Duration(second)*time.Second), s)
		if moved {
			moves++
		}
		if new {
			news++
		}
		if wait != tellPause || x.place.port != uint16(40000+second) {
			t.Fatalf("second %d: %+v, %s", second, x, wait)
		}
	}
	if moves != 10 || news != 10 {
		t.Errorf("in ten minutes trackers heard %d times, the user %d times", moves, news)
	}
	// The last change is told when nothing happens any more.
	s := &natpmp.Status{Port: 9003}
	if moved, _, _ := x.tell(now.Add(700*time.Second), s); !moved || x.place.port != 9003 {
		t.Errorf("%+v", x)
	}
	if moved, _, _ := x.tell(now.Add(800*time.Second), s); moved {
		t.Error("it was told twice")
	}
}
