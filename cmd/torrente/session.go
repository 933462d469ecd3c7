package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"

	"github.com/spf13/cobra"

	"torrente/metainfo"
	"torrente/node"
	"torrente/tracker"
)

// session is a running node in its home folder.
type session struct {
	home    home
	node    *node.Node
	member  *member // nil: an ordinary client
	release func()
}

// openSession takes the home folder, opens the port and starts a node, with the
// folder's identity if asMember asks for it.
func openSession(c *cobra.Command, std stdio, at *address, anyFree, asMember bool) (s *session, err error) {
	h, err := homeOf(c)
	if err != nil {
		return nil, err
	}
	s = &session{home: h}
	if s.release, err = h.take(); err != nil {
		return nil, err
	}
	if asMember {
		s.member, err = h.openMember(c, std)
	}
	if err == nil {
		s.node, err = startNode(c, std, at, anyFree, s.member)
	}
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func startNode(c *cobra.Command, std stdio, at *address, anyFree bool, m *member) (*node.Node, error) {
	d, err := at.dialer()
	if err != nil {
		return nil, err
	}
	l, err := at.listen(c, anyFree)
	if err != nil {
		return nil, err
	}
	local, _ := netip.ParseAddr(at.bind) // checked by dialer
	cfg := node.Config{
		Trackers: tracker.NewClient(tracker.Config{Local: local, UserAgent: "Torrente/" + version}),
		Listener: l, Client: "Torrente " + version, Log: logger(c, std.err),
		Dial: func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
			return d.DialContext(ctx, "tcp", to.String())
		},
	}
	if m != nil {
		cfg.Member, cfg.Now = m.Membership, m.now
	}
	n := node.New(cfg)
	switch {
	case n.Port() == at.port || !anyFree:
	case at.port == 0:
		fmt.Fprintf(std.err, "listening on port %d\n", n.Port())
	default:
		fmt.Fprintf(std.err, "port %d is taken: listening on %d\n", at.port, n.Port())
	}
	return n, nil
}

// logger writes what the node notes to stderr, if --verbose asks for it.
func logger(c *cobra.Command, w io.Writer) *slog.Logger {
	if v, err := c.Flags().GetBool("verbose"); err != nil || !v {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// close saves all state and lets go of the home folder.
func (s *session) close() (err error) {
	defer s.release()
	if s.node != nil {
		err = s.node.Close()
	}
	if s.member != nil {
		err = errors.Join(err, s.member.close())
	}
	return err
}

// source is what a user names to be downloaded: a file or a link.
func source(arg string) (*metainfo.Torrent, *metainfo.Magnet, error) {
	if isMagnet(arg) {
		m, err := metainfo.ParseMagnet(arg)
		return nil, m, err
	}
	t, err := readTorrent(arg)
	return t, nil, err
}

// resolvePeers turns HOST:PORT words into addresses.
func resolvePeers(ctx context.Context, words []string) (out []netip.AddrPort, err error) {
	for _, w := range words {
		host, port, err := net.SplitHostPort(w)
		if err != nil {
			return nil, usageError{fmt.Errorf("--peer %s is not HOST:PORT", w)}
		}
		n, err := net.DefaultResolver.LookupPort(ctx, "tcp", port)
		if err != nil {
			return nil, usageError{fmt.Errorf("--peer %s: %s is not a port", w, port)}
		}
		ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		if err != nil {
			return nil, fmt.Errorf("--peer %s: the name cannot be resolved: %w", w, err)
		}
		for _, ip := range ips {
			out = append(out, netip.AddrPortFrom(ip.Unmap(), uint16(n)))
		}
	}
	return out, nil
}

// interrupted turns the end of the context into the interruption that it is.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil && (err == nil || errors.Is(err, ctx.Err())) {
		return context.Canceled
	}
	return err
}
