package tracker

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// The announce of sample as BEP 15 lays it out, from the info-hash on.
const announcePacket = "123456789abcdef123456789abcdef202b262d7e" + // info-hash
	"2d5858303030312d303030303030303030303030" + // peer id
	"0000000000000002" + "0000000000000003" + "0000000000000001" + // downloaded, left, uploaded
	"00000002" + "00000000" + "00000abc" + "00000032" + "232b" // event, address, key, peers wanted, port

func TestAnnouncePacket(t *testing.T) {
	a := sample()
	if got := hex.EncodeToString(a.packet()); got != announcePacket {
		t.Errorf("%s, want\n%s", got, announcePacket)
	}
	a.NumWant, a.Left, a.Event = -7, -1, Stopped
	got := hex.EncodeToString(a.packet())
	if want := "0000000000004000"; got[96:112] != want {
		t.Errorf("left is %s, want %s", got[96:112], want)
	}
	if want := "00000003" + "00000000" + "00000abc" + "ffffffff" + "232b"; got[128:] != want {
		t.Errorf("%s, want %s", got[128:], want)
	}
}

// udpTracker answers packets as a tracker does, with the peers given.
func udpTracker(packet []byte, peers string) []byte {
	transaction := packet[12:16]
	head := func(action uint32) []byte {
		return append(binary.BigEndian.AppendUint32(nil, action), transaction...)
	}
	const connection = "connect!"
	switch action := binary.BigEndian.Uint32(packet[8:]); {
	case action == actionConnect && len(packet) == 16 && binary.BigEndian.Uint64(packet) == udpMagic:
		return append(head(actionConnect), connection...)
	case action == actionAnnounce && len(packet) == 98 && string(packet[:8]) == connection:
		return append(head(actionAnnounce), "\x00\x00\x07\x08\x00\x00\x00\x01\x00\x00\x00\x02"+peers...)
	}
	return append(head(actionError), "no such thing\x00\n"...)
}

// serveUDP answers on loopback until the test ends: each packet with some.
func serveUDP(t *testing.T, network, addr string, answer func(n int, packet []byte) [][]byte) string {
	t.Helper()
	conn, err := net.ListenPacket(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 2048)
		for n := 0; ; n++ {
			length, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			for _, b := range answer(n, slices.Clone(buf[:length])) {
				_, _ = conn.WriteTo(b, from)
			}
		}
	}()
	t.Cleanup(func() { conn.Close(); <-done })
	return "udp://" + conn.LocalAddr().String() + "/announce"
}

func TestAnnounceOverUDP(t *testing.T) {
	packets := make(chan []byte, 8)
	u := serveUDP(t, "udp4", "127.0.0.1:0", func(n int, p []byte) [][]byte {
		packets <- p
		good := udpTracker(p, "\xc0\x00\x02\x05\x23\x2b\x7f\x00\x00\x01\x00\x00\xc0\x00")
		stranger := slices.Clone(good)
		stranger[7] ^= 1
		return [][]byte{{}, good[:7], stranger, binary.BigEndian.AppendUint32(nil, 9), good}
	})
	a, err := NewClient(Config{}).Announce(t.Context(), u, sample())
	if err != nil || a.Interval != 30*time.Minute || a.Leechers != 1 || a.Seeders != 2 || !slices.Equal(a.Peers, addrs("192.0.2.5:9003")) {
		t.Errorf("%+v, %v", a, err)
	}
	connect, announce := <-packets, <-packets
	if hex.EncodeToString(announce[16:]) != announcePacket || string(connect[12:16]) == string(announce[12:16]) || len(packets) != 0 {
		t.Errorf("%x, %x", connect, announce)
	}
}

func TestUDPPeersHaveTheTrackersFamily(t *testing.T) {
	peer := "\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x01\x1a\xe1"
	u := serveUDP(t, "udp6", "[::1]:0", func(_ int, p []byte) [][]byte { return [][]byte{udpTracker(p, peer+peer[:17])} })
	a, err := NewClient(Config{}).Announce(t.Context(), u, sample())
	if err != nil || !slices.Equal(a.Peers, addrs("[2001:db8::1]:6881")) {
		t.Errorf("%+v, %v", a, err)
	}
}

func TestUDPErrors(t *testing.T) {
	for _, c := range []struct {
		name string
		n    int // the packet that is answered otherwise
		body string
		want string
	}{
		{"refused connection", 0, "\x00\x00\x00\x03....go away\x1b[0m\x00", "refused: go away[0m"},
		{"refused announce", 1, "\x00\x00\x00\x03....", "refused: it gives no reason"},
		{"short connect", 0, "\x00\x00\x00\x00....1234567", "malformed answer: 15 bytes where 16 are the least"},
		{"short announce", 1, "\x00\x00\x00\x01....00001111222", "malformed answer: 19 bytes where 20 are the least"},
	} {
		u := serveUDP(t, "udp4", "127.0.0.1:0", func(n int, p []byte) [][]byte {
			if n != c.n {
				return [][]byte{udpTracker(p, "")}
			}
			b := []byte(c.body)
			copy(b[4:], p[12:16])
			return [][]byte{b}
		})
		_, err := NewClient(Config{}).Announce(t.Context(), u, sample())
		if err == nil || !strings.HasPrefix(err.Error(), "tracker "+u+" ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		if _, ok := errors.AsType[*Refused](err); ok != strings.HasPrefix(c.name, "refused") {
			t.Errorf("%s: %T", c.name, err)
		}
	}
}

// lossy is a tracker at the other end of a connection in memory that loses some
// packets, and notes when each came.
type lossy struct {
	lost  map[int]bool
	begin time.Time
	came  []time.Duration
}

func (l *lossy) dial(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	go func() {
		defer theirs.Close()
		buf := make([]byte, 2048)
		for n := 0; ; n++ {
			length, err := theirs.Read(buf)
			if err != nil {
				return
			}
			l.came = append(l.came, time.Since(l.begin))
			if l.lost[n] {
				continue
			}
			if _, err := theirs.Write(udpTracker(buf[:length], "")); err != nil {
				return
			}
		}
	}()
	return ours, nil
}

func TestUDPRetransmission(t *testing.T) {
	const s = time.Second
	for _, c := range []struct {
		name string
		lost []int
		came []time.Duration
		took time.Duration
		want string
	}{
		{"nothing lost", nil, []time.Duration{0, 0}, 0, ""},
		{"connect lost", []int{0}, []time.Duration{0, 15 * s, 15 * s}, 15 * s, ""},
		{"announce lost", []int{1}, []time.Duration{0, 0, 15 * s}, 15 * s, ""},
		{"both lost once", []int{0, 2}, []time.Duration{0, 15 * s, 15 * s, 30 * s}, 30 * s, ""},
		{"silent", []int{0, 1}, []time.Duration{0, 15 * s}, 45 * s, "tracker udp://t.example:1 did not answer within 45s"},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := &lossy{lost: map[int]bool{}, begin: time.Now()}
			for _, n := range c.lost {
				l.lost[n] = true
			}
			_, err := NewClient(Config{Dial: l.dial}).Announce(t.Context(), "udp://t.example:1", sample())
			synctest.Wait()
			if c.want == "" && err != nil || c.want != "" && (err == nil || err.Error() != c.want) {
				t.Errorf("%s: %v, want %q", c.name, err, c.want)
			}
			if took := time.Since(l.begin); took != c.took || !slices.Equal(l.came, c.came) {
				t.Errorf("%s: packets at %v, done at %v", c.name, l.came, took)
			}
		})
	}
}

func TestUDPEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &lossy{lost: map[int]bool{0: true}, begin: time.Now()}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		_, err := NewClient(Config{Dial: l.dial}).Announce(ctx, "udp://t.example:1", sample())
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(l.begin) != 3*time.Second {
			t.Errorf("%v after %v", err, time.Since(l.begin))
		}
		synctest.Wait()
	})
}

func TestUDPPolicy(t *testing.T) {
	for u, want := range map[string]string{
		"udp://169.254.169.254:80":  "no address of a tracker",
		"udp://0.0.0.0:80/announce": "no address of a tracker",
		"udp://224.0.0.1:80":        "no address of a tracker",
	} {
		_, err := NewClient(Config{}).Announce(t.Context(), u, sample())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", u, err)
		}
	}
}
