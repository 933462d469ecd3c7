package natpmp

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// unhex reads hex that is grouped by blanks.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(strings.ReplaceAll(s, " ", ""), "\n", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var comparable = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

var testNonce = nonce{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}

// RFC 6887 7.1, 11.1.
func TestPCPRequests(t *testing.T) {
	for _, c := range []struct {
		name string
		got  []byte
		want string
	}{
		{
			"announce", appendRequest(nil, opAnnounce, 0, netip.MustParseAddr("192.168.1.34")),
			"02 00 0000 00000000 00000000000000000000ffffc0a80122",
		},
		{
			"map", mapData{nonce: testNonce, transport: TCP, internalPort: 9003, externalPort: 9003, external: netip.IPv4Unspecified()}.
				append(appendRequest(nil, opMap, 3600, netip.MustParseAddr("192.168.1.34"))),
			"02 01 0000 00000e10 00000000000000000000ffffc0a80122 0102030405060708090a0b0c 06 000000 232b 232b 00000000000000000000ffff00000000",
		},
		{
			"pinhole", mapData{nonce: testNonce, transport: UDP, internalPort: 9003, externalPort: 9003, external: netip.IPv6Unspecified()}.
				append(appendRequest(nil, opMap, 3600, netip.MustParseAddr("2a00:2::22"))),
			"02 01 0000 00000e10 2a000002000000000000000000000022 0102030405060708090a0b0c 11 000000 232b 232b 00000000000000000000000000000000",
		},
	} {
		if want := unhex(t, c.want); !bytes.Equal(c.got, want) {
			t.Errorf("%s: got  %x\nwant %x", c.name, c.got, want)
		}
	}
}

var pcpAnswers = []struct {
	name string
	hex  string
	want pcpAnswer
}{
	{"announce", "02 80 00 00 00000000 00000105 000000000000000000000000", pcpAnswer{epoch: 261}},
	{
		"map", "02 81 00 00 00000e10 00000105 000000000000000000000000 0102030405060708090a0b0c 06 000000 232b a10f 00000000000000000000ffff0b000007",
		pcpAnswer{opcode: opMap, lifetime: 3600, epoch: 261, mapped: mapData{
			nonce: testNonce, transport: TCP, internalPort: 9003, externalPort: 41231, external: netip.MustParseAddr("11.0.0.7"),
		}},
	},
	{
		"map with an option", "02 81 00 00 00000e10 00000105 000000000000000000000000 0102030405060708090a0b0c 06 000000 232b a10f 00000000000000000000ffff0b000007 80000004 00000000",
		pcpAnswer{opcode: opMap, lifetime: 3600, epoch: 261, mapped: mapData{
			nonce: testNonce, transport: TCP, internalPort: 9003, externalPort: 41231, external: netip.MustParseAddr("11.0.0.7"),
		}},
	},
	{
		"refused", "02 81 00 02 00000708 00000001 000000000000000000000000 0102030405060708090a0b0c 11 000000 232b 0000 00000000000000000000000000000000",
		pcpAnswer{opcode: opMap, code: pcpNotAuthorized, lifetime: 1800, epoch: 1, mapped: mapData{
			nonce: testNonce, transport: UDP, internalPort: 9003, external: netip.IPv6Unspecified(),
		}},
	},
}

// RFC 6887 7.2, 11.1.
func TestPCPAnswers(t *testing.T) {
	for _, c := range pcpAnswers {
		got, err := parsePCP(unhex(t, c.hex))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if d := cmp.Diff(c.want, got, comparable, cmp.AllowUnexported(pcpAnswer{}, mapData{})); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
	}
}

func TestPCPTruncated(t *testing.T) {
	for _, c := range pcpAnswers {
		whole := unhex(t, c.hex)
		if c.name == "map with an option" {
			continue // options are not read, so that it is a whole one without
		}
		for n := range whole {
			if _, err := parsePCP(whole[:n]); err == nil {
				t.Errorf("%s: %d of %d bytes are taken", c.name, n, len(whole))
			}
		}
	}
}

func TestPCPRefusedPackets(t *testing.T) {
	good := unhex(t, pcpAnswers[1].hex)
	long := append(bytes.Clone(good), make([]byte, pcpMost)...)
	for _, c := range []struct {
		name    string
		b       []byte
		version bool
	}{
		{"a request", append([]byte{2, 1}, good[2:]...), false},
		{"not a multiple of four", append(bytes.Clone(good), 0), false},
		{"over 1100 bytes", long[:pcpMost+4], false},
		{"NAT-PMP, version not supported", []byte{0, 0x80, 0, 1, 0, 0, 0, 9}, true},
		{"version 1", append([]byte{1}, good[1:]...), true},
		{"UNSUPP_VERSION", append([]byte{2, 0x81, 0, 1}, good[4:]...), true},
	} {
		_, err := parsePCP(c.b)
		if err == nil || errors.Is(err, errVersion) != c.version {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func FuzzPCP(f *testing.F) {
	for _, c := range pcpAnswers {
		f.Add(unhex(f, c.hex))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := parsePCP(b)
		if err != nil {
			return
		}
		again, err := parsePCP(a.append(nil))
		if d := cmp.Diff(a, again, comparable, cmp.AllowUnexported(pcpAnswer{}, mapData{})); err != nil || d != "" {
			t.Errorf("%v %s", err, d)
		}
	})
}

// RFC 6887 7.4: errors are believed for as long as they say, within bounds.
func TestPCPRefusals(t *testing.T) {
	for code := byte(1); code < 20; code++ {
		var refused *refusal
		err := pcpAnswer{code: code, lifetime: 1800}.refused()
		if !errors.As(err, &refused) || refused.code != int(code) || refused.retry != 30*time.Minute {
			t.Errorf("code %d: %v", code, err)
		}
	}
	if err := (pcpAnswer{}).refused(); err != nil {
		t.Error(err)
	}
}

// RFC 6887 8.1.1.
func TestRetransmitAfter(t *testing.T) {
	for _, c := range []struct {
		prev   time.Duration
		random float64
		want   time.Duration
	}{
		{0, 0, 3 * time.Second},
		{0, -0.1, 2700 * time.Millisecond},
		{0, 0.1, 3300 * time.Millisecond},
		{3 * time.Second, 0, 6 * time.Second},
		{6 * time.Second, 0.1, 13200 * time.Millisecond},
		{1000 * time.Second, 0, 1024 * time.Second},
		{1024 * time.Second, 0.1, 1126400 * time.Millisecond},
	} {
		if got := retransmitAfter(c.prev, c.random); got != c.want {
			t.Errorf("after %v with %v: %v, want %v", c.prev, c.random, got, c.want)
		}
	}
}

func TestNonceIsOfSecretAndMapping(t *testing.T) {
	g := Gateway{Addr: netip.MustParseAddr("192.168.1.1"), Local: []netip.Addr{netip.MustParseAddr("192.168.1.34")}}
	w := wanted{transport: TCP, local: g.Local[0], port: 9003, external: 9003}
	udp, elsewhere := w, w
	udp.transport, elsewhere.external = UDP, 41234
	first := newPCP(g, []byte("a")).nonce(w)
	if first != newPCP(g, []byte("a")).nonce(elsewhere) {
		t.Error("the nonce is another one for a renewal")
	}
	if first == newPCP(g, []byte("b")).nonce(w) || first == newPCP(g, []byte("a")).nonce(udp) {
		t.Error("the nonce is the same for another secret or transport")
	}
}
