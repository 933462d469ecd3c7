package tracker

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"syscall"
	"time"
)

// Config is how a Client reaches trackers. The zero Config is usable.
type Config struct {
	Timeout   time.Duration // of an announce over HTTP, redirects included; default 30 s
	UserAgent string        // default "torrente"
	Local     netip.Addr    // to announce from; invalid: the system chooses
	// TLS has the roots for https trackers; nil: the system's. A certificate in it
	// is shown to every tracker that asks for one and names no issuers: to be
	// known to one tracker alone, use a Client for it alone.
	TLS *tls.Config
	// Control, if given, can refuse an address after the package's own policy
	// allowed it; see net.Dialer.
	Control func(network, address string, c syscall.RawConn) error
	// Dial, if given, replaces the dialler, and the judgement of the addresses
	// that names resolve to with it: a proxy, or connections in memory. Networks
	// are tcp and udp; a udp connection keeps datagrams apart.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Client announces to trackers. It may be used by several goroutines.
type Client struct {
	cfg  Config
	http *http.Transport
}

// maxRedirects is how many redirects an announce follows.
const maxRedirects = 3

// NewClient makes a Client.
func NewClient(cfg Config) *Client {
	cfg.Timeout = cmp.Or(cfg.Timeout, 30*time.Second)
	cfg.UserAgent = cmp.Or(cfg.UserAgent, "torrente")
	c := &Client{cfg: cfg}
	c.http = &http.Transport{
		DialContext:     c.dial,
		TLSClientConfig: cfg.TLS.Clone(),
		// Announces are half an hour apart, and a kept connection would be one
		// that no policy judged for the request that uses it next.
		DisableKeepAlives:      true,
		MaxResponseHeaderBytes: 64 << 10,
	}
	return c
}

// Announce tells a tracker about us and returns its answer. The error is a
// sentence for people; it is, or wraps, a *Refused if the tracker declined, and
// ctx's error if ctx ended.
func (c *Client) Announce(ctx context.Context, trackerURL string, a Announce) (Answer, error) {
	u, err := parseURL(trackerURL)
	if err != nil {
		return Answer{}, err
	}
	if a.Port == 0 {
		return Answer{}, fmt.Errorf("announce to tracker %s: a port is needed on which peers can reach us", shown(u))
	}
	var ans Answer
	var by *hop
	if u.Scheme == "udp" {
		ans, by, err = c.announceUDP(ctx, u, &a)
	} else {
		ans, by, err = c.announceHTTP(ctx, u, &a)
	}
	if err != nil {
		return Answer{}, explain(ctx, u, err)
	}
	ans.From = by.at()
	ans.Peers = slices.DeleteFunc(ans.Peers, func(p netip.AddrPort) bool {
		return scopeOf(p.Addr()) == loopback && by.scope() > loopback
	})
	return ans, nil
}

func (c *Client) announceHTTP(ctx context.Context, u *url.URL, a *Announce) (Answer, *hop, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.cfg.Timeout, errLate{c.cfg.Timeout})
	defer cancel()
	ans, by, err := c.follow(ctx, a.withQuery(u))
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx) // whatever was being done meanwhile
	}
	return ans, by, err
}

// follow requests u, and what it redirects to.
func (c *Client) follow(ctx context.Context, u *url.URL) (Answer, *hop, error) {
	floor := loopback
	for range maxRedirects + 1 {
		h := newHop(u, floor)
		resp, err := c.get(context.WithValue(ctx, hopKey{}, h), u)
		if err != nil {
			return Answer{}, nil, err
		}
		next, err := redirect(resp)
		if err == nil && next == nil {
			ans, err := read(resp)
			return ans, h, err
		}
		resp.Body.Close()
		if err != nil {
			return Answer{}, nil, err
		}
		u, floor = next, max(floor, h.scope())
	}
	return Answer{}, nil, fmt.Errorf("redirects more than %d times", maxRedirects)
}

// get makes one request, without following redirects.
func (c *Client) get(ctx context.Context, u *url.URL) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", c.cfg.UserAgent)
	if u.User != nil {
		password, _ := u.User.Password()
		req.SetBasicAuth(u.User.Username(), password)
	}
	resp, err := c.http.RoundTrip(req)
	if err != nil {
		return nil, transportError(err)
	}
	return resp, nil
}

// transportError says at which stage a request ended.
func transportError(err error) error {
	if d, ok := errors.AsType[dialError](err); ok {
		return fmt.Errorf("cannot be reached: %w", d.error)
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fmt.Errorf("cannot prove who it is: %w", err)
	}
	return fmt.Errorf("does not answer as an HTTP server does: %w", err)
}

// redirect is where an answer leads, or nil if it is one to be read.
func redirect(resp *http.Response) (*url.URL, error) {
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return nil, nil
	}
	u, err := resp.Location()
	switch {
	case err != nil:
		return nil, fmt.Errorf("redirects to nowhere: %s", printable(err.Error()))
	case u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "":
		return nil, fmt.Errorf("redirects to %s, which is not http or https", shown(u))
	}
	return u, nil
}

// read takes the answer and closes its body. Go's transport unzips it; the
// limit is on what comes out.
func read(resp *http.Response) (Answer, error) {
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, int64(limits.Size)+1))
	if err != nil {
		return Answer{}, fmt.Errorf("sent an answer that breaks off: %w", err)
	}
	ans, err := parseAnswer(body)
	if resp.StatusCode == http.StatusOK {
		if _, refused := errors.AsType[*Refused](err); err != nil && !refused {
			err = fmt.Errorf("sent a malformed answer: %w", err)
		}
		return ans, err
	}
	// Some trackers give a failure reason with the status it stands for.
	if r, ok := errors.AsType[*Refused](err); ok {
		return Answer{}, r
	}
	return Answer{}, fmt.Errorf("answered with status %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
}

// errLate is why an announce's context ended when the tracker took too long.
type errLate struct{ after time.Duration }

func (e errLate) Error() string { return fmt.Sprintf("did not answer within %s", e.after) }

// explain makes an announce's error a sentence.
func explain(ctx context.Context, u *url.URL, err error) error {
	if r, ok := errors.AsType[*Refused](err); ok {
		r.Tracker = shown(u)
		return r
	}
	if ctx.Err() != nil {
		return fmt.Errorf("announce to tracker %s: %w", shown(u), context.Cause(ctx))
	}
	return fmt.Errorf("tracker %s %w", shown(u), err)
}
