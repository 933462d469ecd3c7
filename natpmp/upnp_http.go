package natpmp

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"

	"github.com/huin/goupnp"
)

const (
	// upnpBodyMost is how much of an answer is read; descriptions of real
	// gateways have 3 to 12 KiB.
	upnpBodyMost    = 64 << 10
	upnpHeaderMost  = 8 << 10
	upnpRequestMost = 3 * time.Second
)

var errElsewhere = errors.New("the gateway points elsewhere")

// onGateway refuses URLs that lead anywhere but to the gateway by HTTP. Names
// are refused with them: nothing has to resolve them.
func onGateway(u *url.URL, gateway netip.Addr) error {
	addr, err := netip.ParseAddr(u.Hostname())
	if err != nil || addr.Unmap() != gateway || u.Scheme != "http" || u.User != nil || u.Opaque != "" {
		return fmt.Errorf("%w: to %.80q", errElsewhere, u.String())
	}
	return nil
}

// newGatewayHTTP returns a client that talks to the gateway alone, from one
// address of ours: gateways compare it with the one in the request.
func newGatewayHTTP(gateway, local netip.Addr) *http.Client {
	dialer := net.Dialer{
		Timeout:   upnpRequestMost,
		LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(local, 0)),
		Control: func(_, address string, _ syscall.RawConn) error {
			if to, err := netip.ParseAddrPort(address); err != nil || to.Addr().Unmap() != gateway {
				return errElsewhere
			}
			return nil
		},
	}
	return &http.Client{
		Timeout:       upnpRequestMost,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &gatewayTransport{gateway: gateway, inner: &http.Transport{
			DialContext:            dialer.DialContext,
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: upnpHeaderMost,
		}},
	}
}

// gatewayTransport looks at every request's URL and bounds every answer.
type gatewayTransport struct {
	gateway netip.Addr
	inner   *http.Transport
}

// RoundTrip sends a request to the gateway.
func (t *gatewayTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := onGateway(r.URL, t.gateway); err != nil {
		return nil, err
	}
	answer, err := t.inner.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	answer.Body = &boundedBody{ReadCloser: answer.Body, left: upnpBodyMost}
	return answer, nil
}

// boundedBody fails after so many bytes, rather than looking like a short
// answer.
type boundedBody struct {
	io.ReadCloser
	left int
}

// Read reads on while there is something left of the bound.
func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("the gateway's answer has more than %d bytes", upnpBodyMost)
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// describe fetches a device's description. The library would do it by a client
// that is a global variable.
func describe(ctx context.Context, client *http.Client, at *url.URL) (*goupnp.RootDevice, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, err
	}
	answer, err := client.Do(r)
	if err != nil {
		return nil, unanswered(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the gateway's description was answered by %d", answer.StatusCode)
	}
	return parseDescription(answer.Body, at)
}

// parseDescription reads a description that was found at a URL, to which the
// URLs in it are relative.
func parseDescription(r io.Reader, at *url.URL) (*goupnp.RootDevice, error) {
	root := new(goupnp.RootDevice)
	d := xml.NewDecoder(r)
	d.DefaultSpace = goupnp.DeviceXMLNamespace
	// Descriptions in other charsets than UTF-8 have names of vendors in them,
	// which nobody reads.
	d.CharsetReader = func(_ string, in io.Reader) (io.Reader, error) { return in, nil }
	d.Strict = false
	if err := d.Decode(root); err != nil {
		return nil, fmt.Errorf("read the gateway's description: %w", err)
	}
	base := at
	if root.URLBaseStr != "" {
		u, err := url.Parse(root.URLBaseStr)
		if err != nil {
			return nil, fmt.Errorf("read the description's base: %w", err)
		}
		base = u
	}
	root.SetURLBase(base)
	return root, nil
}
