package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"torrente/piece/store"
)

// Exit codes of the command.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130
)

// stdio is what a command reads from and writes to. Facts go to out, progress
// and errors to err.
type stdio struct {
	in       io.Reader
	out, err io.Writer
}

// usageError marks an error of the command line itself: exit code 2.
type usageError struct{ error }

// run executes one command line and returns its exit code. An error is printed
// once, as one sentence. An interrupt cancels the command's context, and the
// command saves its state before it returns.
func run(args []string, std stdio) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := newRoot(std)
	root.SetArgs(args)
	return exitCode(ctx, std, root.ExecuteContext(ctx))
}

func exitCode(ctx context.Context, std stdio, err error) int {
	switch {
	case err == nil:
		return exitDone
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return exitInterrupted
	}
	fmt.Fprintf(std.err, "torrente: %s\n", sentence(err))
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	return exitFailed
}

// sentence is an error as a user reads it: one line, also if several parts of us
// failed, which says what to do about a full disk.
func sentence(err error) string {
	s := strings.ReplaceAll(err.Error(), "\n", "; ")
	if errors.Is(err, syscall.ENOSPC) && !errors.Is(err, store.ErrNoSpace) {
		s += ": free some space there and start again"
	}
	return s
}

func newRoot(std stdio) *cobra.Command {
	root := &cobra.Command{
		Use:           "torrente",
		Short:         "a BitTorrent node in which peers are paid",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetIn(std.in)
	root.SetOut(std.out)
	root.SetErr(std.err)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{flagError(err)} })
	root.PersistentFlags().String("home", "", "the folder of keys, wallet and state (default: TORRENTE_HOME)")
	root.PersistentFlags().Bool("verbose", false, "write what happens to stderr")
	root.AddCommand(newVersion(std), newCreate(std), newShow(std), newSeed(std), newGet(std),
		newEnroll(std), newFederation(std), newLedger(std), newWallet(std), newPortmap(std), newDoctor(std), newDemo(std))
	return root
}

// flagError leaves out which function of Go's did not understand a flag's value.
func flagError(err error) error {
	if before, after, found := strings.Cut(err.Error(), "strconv."); found {
		_, why, _ := strings.Cut(after, ": ") // parsing "99999"
		if _, last, more := strings.Cut(why, ": "); more {
			why = last
		}
		return errors.New(before + why)
	}
	return err
}

// noArgs, exactArgs and atLeastOne check the arguments of a command; what is
// wrong is a usage error.
func noArgs(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if c.HasParent() {
		return usageError{fmt.Errorf("%s takes no argument, and was given %q", c.CommandPath(), args[0])}
	}
	return usageError{fmt.Errorf("unknown command %q: torrente --help lists the commands", args[0])}
}

// exactArgs wants one argument for each name.
func exactArgs(names ...string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return usageError{fmt.Errorf("%s: %s is missing", c.CommandPath(), names[len(args)])}
		case len(args) > len(names):
			return usageError{fmt.Errorf("%s: %q is one argument too many", c.CommandPath(), args[len(names)])}
		}
		return nil
	}
}

func atLeastOne(what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usageError{fmt.Errorf("%s takes %s at least: see %s --help", c.CommandPath(), what, c.CommandPath())}
		}
		return nil
	}
}
