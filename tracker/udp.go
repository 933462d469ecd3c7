package tracker

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"net/url"
	"os"
	"time"
)

// The UDP tracker protocol (BEP 15). All numbers are big-endian.
//
//	connect   8 magic  4 action 0  4 transaction                  -> 4 action 0  4 transaction  8 connection
//	announce  8 connection  4 action 1  4 transaction  ... 98     -> 4 action 1  4 transaction  4 interval
//	                                                                 4 leechers  4 seeders  6 or 18 a peer
//	error                                                         -> 4 action 3  4 transaction  text
const (
	udpMagic = 0x41727101980

	actionConnect  = 0
	actionAnnounce = 1
	actionError    = 3

	connectReply  = 16 // bytes
	announceReply = 20 // bytes, without peers

	// A packet is sent again after 15 s, then 30, and so on. The specification
	// goes on for more than an hour; here the next tracker's turn comes after
	// two packets, and this one's again when its Session tries anew. Both are
	// sent well within the minute for which a connection id holds.
	udpWait  = 15 * time.Second
	udpTries = 2

	maxReply = 20 + MaxPeers*compact6
)

// announceUDP makes one announce over a socket of its own: replies from other
// addresses never get in.
func (c *Client) announceUDP(ctx context.Context, u *url.URL, a *Announce) (Answer, *hop, error) {
	h := newHop(u, loopback)
	conn, err := c.dial(context.WithValue(ctx, hopKey{}, h), "udp", u.Host)
	if err != nil {
		return Answer{}, nil, fmt.Errorf("cannot be reached: %w", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	reply, err := exchange(ctx, conn, udpMagic, actionConnect, nil, connectReply)
	if err != nil {
		return Answer{}, nil, err
	}
	connection := binary.BigEndian.Uint64(reply[8:])
	reply, err = exchange(ctx, conn, connection, actionAnnounce, a.packet(), announceReply)
	if err != nil {
		return Answer{}, nil, err
	}
	return parseUDPAnswer(reply, addressLength(conn)), h, nil
}

// exchange sends a request until its reply comes: of the same transaction and
// action, and at least shortest bytes long.
func exchange(ctx context.Context, conn net.Conn, connection uint64, action uint32, body []byte, shortest int) ([]byte, error) {
	p := binary.BigEndian.AppendUint64(nil, connection)
	p = binary.BigEndian.AppendUint32(p, action)
	var transaction [4]byte
	_, _ = rand.Read(transaction[:]) // never fails
	p = append(p, transaction[:]...)
	p = append(p, body...)
	buf := make([]byte, maxReply)
	for n := range udpTries {
		if err := conn.SetDeadline(time.Now().Add(udpWait << n)); err != nil {
			return nil, err
		}
		if err := ctx.Err(); err != nil { // the deadline that its end set may be gone again
			return nil, err
		}
		reply, err := ask(conn, p, buf, action, shortest)
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			return reply, err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	return nil, errLate{udpWait<<udpTries - udpWait}
}

// ask sends a packet and reads until its reply comes or the deadline.
func ask(conn net.Conn, p, buf []byte, action uint32, shortest int) ([]byte, error) {
	if _, err := conn.Write(p); err != nil {
		return nil, fmt.Errorf("cannot be reached: %w", err)
	}
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return nil, fmt.Errorf("cannot be reached: %w", err)
		}
		reply := buf[:n]
		if n < 8 || string(reply[4:8]) != string(p[12:16]) {
			continue // a stranger's, or one that comes late
		}
		switch got := binary.BigEndian.Uint32(reply); {
		case got == actionError:
			return nil, udpRefusal(reply[8:])
		case got == action && n >= shortest:
			return reply, nil
		case got == action:
			return nil, fmt.Errorf("sent a malformed answer: %d bytes where %d are the least", n, shortest)
		}
	}
}

func udpRefusal(text []byte) *Refused {
	r := &Refused{Reason: printable(string(text))}
	if r.Reason == "" {
		r.Reason = "it gives no reason"
	}
	return r
}

// packet is an announce from its info-hash on.
func (a *Announce) packet() []byte {
	b := append([]byte(nil), a.InfoHash[:]...)
	b = append(b, a.PeerID[:]...)
	for _, n := range []int64{a.Downloaded, a.left(), a.Uploaded} {
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	b = binary.BigEndian.AppendUint32(b, uint32(a.Event))
	b = binary.BigEndian.AppendUint32(b, 0) // our address: the packet's own
	b = binary.BigEndian.AppendUint32(b, a.Key)
	b = binary.BigEndian.AppendUint32(b, uint32(int32(max(-1, min(a.NumWant, math.MaxInt32)))))
	return binary.BigEndian.AppendUint16(b, a.Port)
}

// addressLength is the length of a peer in the replies: the tracker's address
// decides, not ours.
func addressLength(conn net.Conn) int {
	ap, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err == nil && !ap.Addr().Unmap().Is4() {
		return compact6
	}
	return compact4
}

// parseUDPAnswer reads a reply of at least announceReply bytes.
func parseUDPAnswer(b []byte, size int) Answer {
	number := func(at int) int64 { return max(0, int64(int32(binary.BigEndian.Uint32(b[at:])))) }
	var ps peers
	ps.compact(b[announceReply:], size)
	return Answer{
		Interval: duration(number(8), time.Second),
		Leechers: int(number(12)), Seeders: int(number(16)), Peers: ps.list,
	}
}
