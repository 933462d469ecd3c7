package natpmp

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
)

// announcePort is where gateways announce that they were started anew
// (RFC 6887 14.1.3, RFC 6886 3.2.1).
const announcePort = 5350

// announcements gives the epochs that the gateway announces in PCP or NAT-PMP
// on conn until ctx ends, and closes conn. Of others nothing is read; when
// nobody takes an epoch it is dropped, since the next tells the same.
func announcements(ctx context.Context, conn *net.UDPConn, gateway netip.Addr, heard chan<- uint32) {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	b := make([]byte, pcpMost+1)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(b)
		if err != nil {
			return
		}
		if from.Addr().Unmap() != gateway {
			continue
		}
		seconds, ok := announced(b[:n])
		if !ok {
			continue
		}
		select {
		case heard <- seconds:
		default:
		}
	}
}

// announced reads the epoch of a PCP ANNOUNCE response, or of NAT-PMP's answer
// to who asks for the external address: version 0, opcode 128, result 0, epoch,
// address.
func announced(b []byte) (seconds uint32, ok bool) {
	if len(b) == 12 && b[0] == 0 && b[1] == pcpResponse && b[2] == 0 && b[3] == 0 {
		return binary.BigEndian.Uint32(b[4:]), true
	}
	a, err := parsePCP(b)
	return a.epoch, err == nil && a.opcode == opAnnounce && a.code == pcpSuccess
}

// listenAnnouncements joins the group of all hosts on the gateway's link. The
// port is shared with other clients of this machine.
func listenAnnouncements(g Gateway) (*net.UDPConn, error) {
	link, err := linkOf(g.Local[0])
	if err != nil {
		return nil, err
	}
	if g.Addr.Is4() {
		return net.ListenMulticastUDP("udp4", link, &net.UDPAddr{IP: net.IPv4(224, 0, 0, 1), Port: announcePort})
	}
	return net.ListenMulticastUDP("udp6", link, &net.UDPAddr{IP: net.ParseIP("ff02::1"), Port: announcePort, Zone: link.Name})
}
