package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"torrente/federation"
)

// serveFlags are the choices of `federation serve`.
type serveFlags struct{ listen, tracker, ledger, profile string }

func newFederationServe(std stdio) *cobra.Command {
	var f serveFlags
	c := &cobra.Command{
		Use:   "serve",
		Short: "run the federation until it is interrupted",
		Args:  noArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return federationServe(c, std, &f) },
	}
	passwordFlag(c)
	c.Flags().StringVar(&f.listen, "listen", "127.0.0.1:9443", "the address of the portal and the ledger (TLS)")
	c.Flags().StringVar(&f.profile, "profile", "", "where the connection profile of the ledger on Fabric is now (default: as init was told)")
	c.Flags().StringVar(&f.ledger, "ledger", "", "the ledger that it must have, embedded or fabric (default: the one that init was told)")
	c.Flags().StringVar(&f.tracker, "tracker", "127.0.0.1:9080", "the address of the tracker of free torrents (plain HTTP)")
	return c
}

func federationServe(c *cobra.Command, std stdio, flags *serveFlags) (err error) {
	cfg, err := federationConfig(c, std)
	if err != nil {
		return err
	}
	if flags.profile != "" {
		if cfg.Profile, err = filepath.Abs(flags.profile); err != nil {
			return err
		}
	}
	f, err := federation.Open(c.Context(), cfg)
	if err != nil {
		return interrupted(c.Context(), err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if is := f.Ledger(); flags.ledger != "" && flags.ledger != is {
		return fmt.Errorf("the ledger of this federation is %s, not %s, which federation init alone decides: serve it without --ledger", is, flags.ledger)
	}
	portal, err := listenAt(flags.listen, "--listen")
	if err != nil {
		return err
	}
	plain, err := listenAt(flags.tracker, "--tracker")
	if err != nil {
		return errors.Join(err, portal.Close())
	}
	err = f.Serve(c.Context(), portal, plain, func(a federation.Addresses) {
		fmt.Fprintf(std.out, "federation %s: %s tracker %s\n", a.Name, a.Portal, a.Tracker)
	})
	if err == nil && c.Context().Err() != nil {
		return context.Canceled
	}
	return interrupted(c.Context(), err)
}

// listenAt opens an address that was given with a flag.
func listenAt(address, flag string) (net.Listener, error) {
	if _, _, err := net.SplitHostPort(address); err != nil {
		return nil, usageError{fmt.Errorf("%s %s is not HOST:PORT", flag, address)}
	}
	l, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s is taken by another program: give another address with %s", address, flag)
	}
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", flag, address, err)
	}
	return l, nil
}
