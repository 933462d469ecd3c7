package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"torrente/federation"
	"torrente/payment/ledger"
)

func newLedger(std stdio) *cobra.Command {
	c := &cobra.Command{
		Use:   "ledger",
		Short: "look at a federation's ledger",
		Args:  noArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.PersistentFlags().String("dir", "", "the federation's folder (default: federation in HOME)")
	c.AddCommand(newLedgerVerify(std))
	return c
}

func newLedgerVerify(std stdio) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "verify",
		Short: "check every block, every signature and all coins",
		Long: "Check the ledger from its block log alone: the chain of hashes, every certificate and signature, every\n" +
			"transaction executed anew, and that every coin is somewhere, once. The federation may be running meanwhile.\n" +
			"Of a ledger on Fabric all blocks of the channel are read, and what the endorsers wrote is compared.",
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			dir, err := federationDir(c)
			if err != nil {
				return err
			}
			r, err := federation.VerifyLedger(c.Context(), dir)
			if err != nil {
				return interrupted(c.Context(), fmt.Errorf("ledger verify: %w", err))
			}
			if asJSON {
				return printJSON(std.out, r)
			}
			return printReport(std, &r)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return c
}

func printReport(std stdio, r *ledger.Report) error {
	_, err := fmt.Fprintf(std.out,
		"ledger        %s of %s\nblocks        %d, all linked, with %d transactions, all signed\nminted        %s\navailable     %s\nfrozen        %s\nconserved     %s\n",
		r.Ledger, printable(r.Name), r.Height, r.Transactions, r.Minted, r.Available, r.Frozen, yesNo(r.Conserved))
	return err
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
