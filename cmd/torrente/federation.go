package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"torrente/federation"
)

// newFederation is the operator's side: the commands that make and run a
// federation.
func newFederation(std stdio) *cobra.Command {
	c := &cobra.Command{
		Use:   "federation",
		Short: "run a federation: its ledger, its portal and its tracker",
		Long: "Run a federation: the ledger on which peers pay each other, the portal that enrolls members, and a tracker.\n" +
			"All commands but init, keys, genesis, join and serve reach the running federation, or open its folder if it is not running.",
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.PersistentFlags().String("dir", "", "the federation's folder (default: federation in HOME)")
	c.AddCommand(newFederationKeys(std), newFederationGenesis(std), newFederationJoin(std))
	c.AddCommand(newFederationInit(std), newFederationServe(std), newInvite(std), newFund(std), newMembers(std), newFederationRoot(std))
	c.AddCommand(newRevoke(std), newReinstate(std), newReassign(std), newAdmit(std), newPrice(std), newMint(std), newApprove(std), newProposals(std))
	return c
}

// federationDir is the folder that --dir names, else federation in HOME.
func federationDir(c *cobra.Command) (string, error) {
	if dir, err := c.Flags().GetString("dir"); err == nil && dir != "" {
		return dir, nil
	}
	h, err := homeOf(c)
	if err != nil {
		return "", err
	}
	return h.path("federation"), nil
}

// federationConfig is how the federation of --dir is opened.
func federationConfig(c *cobra.Command, std stdio) (federation.Config, error) {
	dir, err := federationDir(c)
	if err != nil {
		return federation.Config{}, err
	}
	now, err := clock()
	return federation.Config{
		Dir: dir, Now: now, Log: operatorLog(c, std),
		Password: func() ([]byte, error) { return passwordOf(c, std, "the federation in "+dir) },
	}, err
}

// operatorLog writes warnings to stderr, and all that happens with --verbose: a
// federation's operator has no other place to learn of them.
func operatorLog(c *cobra.Command, std stdio) *slog.Logger {
	if v, err := c.Flags().GetBool("verbose"); err == nil && v {
		return logger(c, std.err)
	}
	return slog.New(slog.NewTextHandler(std.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// operate runs an operator's command in the process that serves the
// federation, or on its folder if there is none.
func operate(c *cobra.Command, std stdio, do func(context.Context, federation.Operator) error) (err error) {
	cfg, err := federationConfig(c, std)
	if err != nil {
		return err
	}
	op, err := federation.Operate(c.Context(), cfg)
	if err != nil {
		return interrupted(c.Context(), err)
	}
	defer func() { err = errors.Join(err, op.Close()) }()
	return interrupted(c.Context(), do(c.Context(), op))
}

// operatorCommand makes a command that asks the operator's question and prints
// the answer: as a sentence, or as one JSON object with --json.
func operatorCommand[Out any](std stdio, c *cobra.Command, ask func(context.Context, federation.Operator, []string) (Out, error), say func(Out) string) *cobra.Command {
	var asJSON bool
	passwordFlag(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON value")
	c.RunE = func(c *cobra.Command, args []string) error {
		return operate(c, std, func(ctx context.Context, op federation.Operator) error {
			out, err := ask(ctx, op, args)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(std.out, out)
			}
			_, err = fmt.Fprint(std.out, say(out))
			return err
		})
	}
	return c
}
