package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"

	"github.com/spf13/cobra"

	"torrente/federation"
)

func newFederationServe(std stdio) *cobra.Command {
	var listen, tracker string
	c := &cobra.Command{
		Use:   "serve",
		Short: "run the federation until it is interrupted",
		Args:  noArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return federationServe(c, std, listen, tracker) },
	}
	passwordFlag(c)
	c.Flags().StringVar(&listen, "listen", "127.0.0.1:9443", "the address of the portal and the ledger (TLS)")
	c.Flags().StringVar(&tracker, "tracker", "127.0.0.1:9080", "the address of the tracker of free torrents (plain HTTP)")
	return c
}

func federationServe(c *cobra.Command, std stdio, listen, tracker string) (err error) {
	cfg, err := federationConfig(c, std)
	if err != nil {
		return err
	}
	f, err := federation.Open(cfg)
	if err != nil {
		return interrupted(c.Context(), err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	portal, err := listenAt(listen, "--listen")
	if err != nil {
		return err
	}
	plain, err := listenAt(tracker, "--tracker")
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
