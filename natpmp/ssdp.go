package natpmp

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"golang.org/x/net/ipv4"
)

// The library's search takes answers of everybody, any number of them, and
// hides who sent them; so the search is ours.
const (
	ssdpPort = 1900
	ssdpMost = 2048 // bytes of an answer
	// ssdpAnswers is how many datagrams of the gateway are read, one for each
	// device and service that fits; ssdpStrays how many of others.
	ssdpAnswers = 32
	ssdpStrays  = 1024
	// ssdpAgain is when a search that nobody answered is sent once more, and
	// ssdpSends how often it is in all.
	ssdpAgain = time.Second
	ssdpSends = 5
)

var (
	ssdpGroup   = netip.AddrFrom4([4]byte{239, 255, 255, 250})
	ssdpTargets = []string{
		"urn:schemas-upnp-org:device:InternetGatewayDevice:2",
		"urn:schemas-upnp-org:device:InternetGatewayDevice:1",
	}
)

// search asks by SSDP, in the whole link and the gateway alone, where the
// gateway's description is. It returns the first answer of the gateway itself
// that says so.
func search(ctx context.Context, g Gateway) (*url.URL, error) {
	local := g.Local[0]
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(local, 0)))
	if err != nil {
		return nil, fmt.Errorf("search by SSDP: %w", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })()
	if link, err := linkOf(local); err == nil {
		// Without it the multicast might leave by another link; the gateway is
		// asked in any case.
		_ = ipv4.NewPacketConn(conn).SetMulticastInterface(link)
	}
	budget := ssdpBudget{answers: ssdpAnswers, strays: ssdpStrays}
	for range ssdpSends {
		if err := sendSearch(conn, g.Addr); err != nil {
			return nil, err
		}
		conn.SetReadDeadline(time.Now().Add(ssdpAgain))
		if ctx.Err() != nil {
			break
		}
		if u, err := awaitLocation(conn, g.Addr, &budget); err != errSilent {
			return u, err
		}
	}
	if budget.wrong != nil {
		return nil, budget.wrong
	}
	return nil, errSilent
}

// sendSearch sends one M-SEARCH for each target. Multicast may be forbidden
// where unicast works, so only the latter's error counts.
func sendSearch(conn *net.UDPConn, gateway netip.Addr) error {
	for _, target := range ssdpTargets {
		packet := []byte("M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n" +
			"MAN: \"ssdp:discover\"\r\nMX: 1\r\nST: " + target + "\r\n\r\n")
		_, _ = conn.WriteToUDPAddrPort(packet, netip.AddrPortFrom(ssdpGroup, ssdpPort))
		if _, err := conn.WriteToUDPAddrPort(packet, netip.AddrPortFrom(gateway, ssdpPort)); err != nil {
			return unanswered(err)
		}
	}
	return nil
}

// ssdpBudget is how many datagrams are still read, and what was wrong with
// the gateway's last one.
type ssdpBudget struct {
	answers, strays int
	wrong           error
}

// awaitLocation reads until the gateway says where its description is.
func awaitLocation(conn *net.UDPConn, gateway netip.Addr, budget *ssdpBudget) (*url.URL, error) {
	b := make([]byte, ssdpMost)
	for budget.answers > 0 && budget.strays > 0 {
		n, from, err := conn.ReadFromUDPAddrPort(b)
		if err != nil {
			return nil, unanswered(err)
		}
		if from.Addr().Unmap() != gateway {
			budget.strays--
			continue
		}
		budget.answers--
		u, err := parseSearchAnswer(b[:n], gateway)
		if err == nil {
			return u, nil
		}
		budget.wrong = err
	}
	return nil, errors.New("the answers to the search lead nowhere")
}

// parseSearchAnswer reads where a gateway says that its description is, which
// has to be on the gateway itself.
func parseSearchAnswer(b []byte, gateway netip.Addr) (*url.URL, error) {
	r, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(b)), nil)
	if err != nil {
		return nil, fmt.Errorf("read an SSDP answer: %w", err)
	}
	r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the search was answered by %d", r.StatusCode)
	}
	if !slices.Contains(ssdpTargets, r.Header.Get("St")) {
		return nil, errors.New("an answer to another search")
	}
	u, err := url.Parse(r.Header.Get("Location"))
	if err != nil {
		return nil, fmt.Errorf("read an SSDP answer's location: %w", err)
	}
	return u, onGateway(u, gateway)
}
