package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"

	"github.com/spf13/cobra"

	"torrente/internal/control"
	"torrente/metainfo"
	"torrente/node"
	"torrente/payment"
)

// session is a running node in its home folder.
type session struct {
	home    home
	node    *node.Node
	member  *member  // nil: an ordinary client
	mapping *mapping // nil: the router is not asked
	release func()
	answers sync.WaitGroup     // the answers to commands
	deaf    context.CancelFunc // ends them; nil: nobody answers
}

// wanted is what a session is opened for.
type wanted struct {
	anyFree     bool           // port will do, if none was asked for
	member      bool           // the folder's identity is needed
	redeemAbove payment.Amount // see node.Membership
}

// openSession takes the home folder, opens the port and starts a node.
func openSession(c *cobra.Command, std stdio, at *address, want wanted) (s *session, err error) {
	h, err := homeOf(c)
	if err != nil {
		return nil, err
	}
	s = &session{home: h}
	if s.release, err = h.takeSoon(c.Context()); err != nil {
		return nil, err
	}
	if want.member {
		s.member, err = h.openMember(c, std, opening{trust: true})
	}
	if s.member != nil {
		s.member.RedeemAbove = want.redeemAbove
	}
	if err == nil {
		err = s.start(c, std, at, want.anyFree)
	}
	if err == nil {
		err = s.answerCommands(c, std)
	}
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// start makes the node, and has the router asked for its port.
func (s *session) start(c *cobra.Command, std stdio, at *address, anyFree bool) error {
	d, err := at.dialer()
	if err != nil {
		return err
	}
	l, err := at.listen(c, anyFree)
	if err != nil {
		return err
	}
	port := uint16(l.Addr().(*net.TCPAddr).Port)
	router, err := at.mapper(s.home, port, logger(c, std.err))
	if err != nil {
		return errors.Join(err, l.Close())
	}
	local, _ := netip.ParseAddr(at.bind) // checked by dialer
	cfg := node.Config{
		Trackers: newAnnouncers(local, nil, nil),
		Listener: l, Client: "Torrente " + version, Log: logger(c, std.err),
		Say: func(sentence string) { fmt.Fprintln(std.err, sentence) },
		Dial: func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
			return d.DialContext(ctx, "tcp", to.String())
		},
	}
	if m := s.member; m != nil {
		cfg.Member, cfg.Now = m.Membership, m.now
		cfg.Trackers = newAnnouncers(local, m.at, m.client.TLS())
	}
	if router != nil {
		cfg.Seen = router.Seen
	}
	s.node = node.New(cfg)
	switch {
	case port == at.port || !anyFree:
	case at.port == 0:
		fmt.Fprintf(std.err, "listening on port %d\n", port)
	default:
		fmt.Fprintf(std.err, "port %d is taken: listening on %d\n", at.port, port)
	}
	if router != nil {
		s.mapping = startMapping(router, s.node, std.err)
	}
	return nil
}

// logger writes what the node notes to stderr, if --verbose asks for it.
func logger(c *cobra.Command, w io.Writer) *slog.Logger {
	if v, err := c.Flags().GetBool("verbose"); err != nil || !v {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// The groups of commands that a session answers.
const (
	offersWallet = "wallet"
	offersRouter = "router"
)

// answerCommands lets commands reach this process, which has the port and, if it is a
// member's, the wallet.
func (s *session) answerCommands(c *cobra.Command, std stdio) error {
	mux, offers := http.NewServeMux(), []string{offersRouter}
	control.Handle(mux, routerCommand, s.routerStatus)
	if s.member != nil {
		walletCommands(mux, &ownAccount{s.member, s.node})
		offers = append(offers, offersWallet)
	}
	srv, err := control.Listen(mux, logger(c, std.err), offers...)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(c.Context()))
	s.deaf = cancel
	s.answers.Go(func() {
		if err := srv.Serve(ctx); err != nil {
			fmt.Fprintf(std.err, "%v: the commands wallet and portmap do not work until this process is started again\n", err)
		}
	})
	return s.home.writeJSON(control.File, srv.At())
}

// close saves all state and lets go of the home folder.
func (s *session) close() (err error) {
	defer s.release()
	if s.deaf != nil {
		s.deaf()
		s.answers.Wait()
	}
	if s.mapping != nil {
		s.mapping.close() // before the port is closed that it leads to
	}
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
