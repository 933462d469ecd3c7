package natpmp

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// What another machine has is left alone, and what was asked for without an answer is
// given back: UPnP deletes by the external port, whoever has it.
func TestReleaseIsOfOurOwn(t *testing.T) {
	t.Parallel()
	for _, lease := range []bool{true, false} {
		asked := make(chan struct{}, 16)
		f := newFakeGateway(t, func(f *fakeGateway) {
			f.igd, f.lease = 1, lease
			for _, key := range []string{"TCP 9003", "UDP 9003"} {
				f.taken[key], f.mapped[key] = true, "192.168.1.99:9003"
			}
			f.web = func(w http.ResponseWriter, r *http.Request) {
				b, _ := io.ReadAll(io.LimitReader(r.Body, 1<<16))
				r.Body = io.NopCloser(bytes.NewReader(b))
				answer := httptest.NewRecorder()
				f.answerWeb(answer, r)
				if strings.Contains(r.Header.Get("SOAPACTION"), "#AddPortMapping") && answer.Code == http.StatusOK {
					asked <- struct{}{}
					<-r.Context().Done() // until whoever asked has gone
					return
				}
				w.WriteHeader(answer.Code)
				w.Write(answer.Body.Bytes())
			}
		})
		theirs := f.list()
		r := run(t, f, UPnP)
		<-asked
		if got := f.list(); !strings.Contains(got, "127.0.0.1:9003") || !strings.Contains(got, "192.168.1.99:9003") {
			t.Errorf("lease %v: mapped is %s", lease, got)
		}
		r.end()
		if got := f.list(); got != theirs {
			t.Errorf("lease %v: left is %s, want %s", lease, got, theirs)
		}
	}
}

// A request of the library that was left alone is not sent again after the release.
func TestNATPMPIsReleasedLast(t *testing.T) {
	t.Parallel()
	mapping, first := make(chan struct{}, 16), make(chan struct{})
	f := newFakeGateway(t, func(f *fakeGateway) {
		f.port5351 = func(b []byte) []byte {
			if len(b) == 12 && b[0] == 0 && b[1] != 0 && !bytes.Equal(b[8:12], make([]byte, 4)) {
				if mapping <- struct{}{}; len(mapping) == 1 {
					close(first)
					<-time.After(400 * time.Millisecond) // the library sends it again meanwhile
				}
			}
			return f.answer5351(b)
		}
	})
	r := run(t, f, NATPMP)
	<-first
	r.end()
	f.handledAll()
	if got := f.list(); got != "map[]" {
		t.Errorf("left is %s", got)
	}
}

// handledAll waits until the gateway has handled all packets that were sent to it before.
func (f *fakeGateway) handledAll() {
	f.t.Helper()
	conn, err := net.Dial("udp", netip.AddrPortFrom(f.addr, pcpPort).String())
	if err != nil {
		f.t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte{0, 0}); err != nil { // the external address, by NAT-PMP
		f.t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 16)); err != nil {
		f.t.Fatal(err)
	}
}

// A mapping without an end that its router has lost ends all the same, and the router
// is asked again in the pauses of any other.
func TestMappingWithoutEnd(t *testing.T) {
	l := newLink(New(Config{Port: 9003}), false)
	l.held = []Mapping{{Protocol: UPnP, Transport: TCP, ExternalPort: 9003, Granted: time.Now()}}
	l.bound()
	l.expire(time.Now().Add(lifetimeWanted - time.Second))
	if len(l.held) != 1 {
		t.Error("it ended at once")
	}
	l.expire(time.Now().Add(lifetimeWanted + time.Second))
	if len(l.held) != 0 {
		t.Errorf("it is held: %+v", l.held)
	}
}
