package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command(os.Stdout).ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "natlab:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	path, torrente string
	mib            int
	verbose        bool
}

func command(out io.Writer) *cobra.Command {
	var o options
	c := &cobra.Command{
		Use: "natlab", Short: "a paid download between two homes behind their routers, on this machine",
		Args: cobra.NoArgs, SilenceErrors: true, SilenceUsage: true,
		RunE: func(c *cobra.Command, _ []string) error { return o.run(c.Context(), out) },
	}
	c.Flags().StringVar(&o.path, "path", "pcp", "how the seller is reached: "+names()+", or all, for a table")
	c.Flags().StringVar(&o.torrente, "torrente", "bin/torrente", "the program")
	c.Flags().IntVar(&o.mib, "mib", 64, "how many MiB are sold")
	c.Flags().BoolVar(&o.verbose, "verbose", false, "show what the seller and the buyer say")
	return c
}

func (o *options) run(ctx context.Context, out io.Writer) error {
	if o.path == "all" {
		return o.table(ctx, out)
	}
	p, err := pathOf(o.path)
	if err != nil {
		return err
	}
	r, err := o.play(ctx, p, &told{out: out})
	if err != nil {
		return interrupted(ctx, err)
	}
	return r.asExpected(p)
}

// table plays all paths, and prints a line for each.
func (o *options) table(ctx context.Context, out io.Writer) error {
	var failed error
	fmt.Fprintf(out, "%-10s  %-9s  %14s  %8s  %s\n", "path", "download", "first byte, s", "MiB/s", "what the seller's node says")
	for _, p := range paths {
		r, err := o.play(ctx, p, &told{out: io.Discard})
		if err != nil {
			return interrupted(ctx, fmt.Errorf("%s: %w", p.name, err))
		}
		fmt.Fprintln(out, r.line(p))
		failed = errors.Join(failed, r.asExpected(p))
	}
	return failed
}

// interrupted says no more than that, if that is why something failed.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errors.New("interrupted: what was made is removed")
	}
	return err
}
