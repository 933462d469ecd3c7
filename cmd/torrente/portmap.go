package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"torrente/internal/control"
	"torrente/natpmp"
)

// routerCommand is what a session answers with what it knows of the router.
const routerCommand = "router/status"

// routerStatus is what the router was asked, and what it said.
func (s *session) routerStatus(context.Context, struct{}) (natpmp.Status, error) {
	if s.mapping == nil {
		return natpmp.Status{}, fmt.Errorf("the node that runs in %s (process %d) asks no router: it was started with --portmap off, or listens on this machine alone", s.home, os.Getpid())
	}
	return s.mapping.mapper.Status(), nil
}

func newPortmap(std stdio) *cobra.Command {
	var at address
	var asJSON bool
	c := &cobra.Command{
		Use:   "portmap",
		Short: "ask the router to let others in, and tell what it said",
		Long: "Shows by which protocols the router was asked, what answered, what is mapped and until when. If a node runs in\n" +
			"this home it is asked; else the port is mapped and given back.",
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return portmap(c, std, &at, asJSON) },
	}
	at.flags(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON value")
	return c
}

func portmap(c *cobra.Command, std stdio, at *address, asJSON bool) error {
	h, err := homeOf(c)
	if err != nil {
		return err
	}
	s, running, err := h.askRouter(c, std, at)
	if err != nil {
		return interrupted(c.Context(), err)
	}
	if asJSON {
		err = printJSON(std.out, s)
	} else {
		showLink(std.out, "IPv4", &s.IPv4)
		showLink(std.out, "IPv6", &s.IPv6)
	}
	switch {
	case err != nil:
		return err
	case !s.Reachable():
		return errors.New(printable(s.Sentence()))
	case asJSON:
		return nil
	}
	fmt.Fprintln(std.out, printable(s.Sentence()))
	if !running {
		fmt.Fprintln(std.out, "no node runs here: it was given back")
	}
	return nil
}

// routerTime is how long the router may take: a round of asking, and a little.
const routerTime = 12 * time.Second

// askRouter asks the node that runs in the folder what it knows of the router, or asks
// the router, and gives back what it granted.
func (h home) askRouter(c *cobra.Command, std stdio, at *address) (s natpmp.Status, running bool, err error) {
	if _, _, err := at.protocols(); err != nil {
		return s, false, err
	}
	release, node, err := h.takeOrReach(c.Context(), offersRouter)
	if err != nil {
		return s, false, err
	}
	if node != nil {
		s, err = control.Call[natpmp.Status](c.Context(), node, routerCommand, struct{}{})
		return s, true, err
	}
	defer release()
	if at.port == 0 {
		return s, false, usageError{errors.New("any port cannot be asked for: give one with --port")}
	}
	// Who has the port may have it mapped, too, and would lose that with ours.
	l, err := net.Listen("tcp", net.JoinHostPort(at.bind, strconv.Itoa(int(at.port))))
	if errors.Is(err, syscall.EADDRINUSE) {
		return s, false, fmt.Errorf("port %d is taken by another program of this machine, which may have it opened: end that, or give another with --port", at.port)
	}
	if err != nil {
		return s, false, fmt.Errorf("listen on port %d: %w", at.port, err)
	}
	defer l.Close()
	m, err := at.mapper(h, at.port, logger(c, std.err))
	if err != nil {
		return s, false, err
	}
	if m == nil {
		return s, false, usageError{errors.New("with --portmap off, or --bind to this machine alone, there is no router to ask: leave it out")}
	}
	ctx, end := context.WithTimeout(c.Context(), routerTime)
	defer end()
	done := make(chan struct{})
	run, stop := context.WithCancel(c.Context())
	go func() { defer close(done); m.Run(run) }()
	for s = m.Status(); reachability(s) == "" && ctx.Err() == nil; s = m.Status() {
		select {
		case <-m.Changed():
		case <-ctx.Done():
		}
	}
	stop()
	<-done
	return s, false, c.Context().Err()
}

// showLink tells how one family of addresses was asked for.
func showLink(out io.Writer, family string, l *natpmp.LinkStatus) {
	if l.State == natpmp.NoGateway {
		fmt.Fprintf(out, "%s  no router\n", family)
		return
	}
	fmt.Fprintf(out, "%s  router %s, this machine %s\n", family, l.Gateway, join(l.Local))
	for _, a := range l.Tried {
		fmt.Fprintf(out, "      %-8s %-9s %5d ms", a.Protocol, a.Outcome, a.Milliseconds)
		if a.Problem != "" {
			fmt.Fprintf(out, "  %s", printable(a.Problem))
		}
		fmt.Fprintln(out)
	}
	for _, m := range l.Mappings {
		until := "until it is removed"
		if !m.Until.IsZero() {
			until = "until " + m.Until.Local().Format(time.TimeOnly)
		}
		fmt.Fprintf(out, "      %s %s to %s, %s\n", m.Transport, shownEnd(m.External, m.ExternalPort), shownEnd(m.Internal, m.InternalPort), until)
	}
}

// shownEnd is an end of a mapping; the router need not know its own address.
func shownEnd(a netip.Addr, port uint16) string {
	if !a.IsValid() {
		return fmt.Sprintf("port %d", port)
	}
	return netip.AddrPortFrom(a, port).String()
}

func join(all []netip.Addr) string {
	var some []string
	for _, a := range all {
		some = append(some, a.String())
	}
	return strings.Join(some, ", ")
}
