package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"torrente/federation"
	"torrente/payment"
)

func newInvite(std stdio) *cobra.Command {
	var expires time.Duration
	c := &cobra.Command{
		Use:   "invite [NAME]",
		Short: "make an invite, with which one member can enroll once",
		Args:  atMostOne("a name"),
	}
	c.Flags().DurationVar(&expires, "expires", 7*24*time.Hour, "how long the invite is good")
	return operatorCommand(std, c,
		func(ctx context.Context, op federation.Operator, args []string) (federation.Invitation, error) {
			if expires <= 0 {
				return federation.Invitation{}, usageError{errors.New("federation invite --expires: an invite lives for a while, as 24h")}
			}
			r := federation.InviteRequest{Lifetime: expires}
			if len(args) > 0 {
				r.Name = args[0]
			}
			return op.Invite(ctx, r)
		},
		func(i federation.Invitation) string { return i.Code + "\n" })
}

func newFund(std stdio) *cobra.Command {
	c := &cobra.Command{
		Use:   "fund ACCOUNT|NAME COINS",
		Short: "transfer coins from the treasury",
		Args:  exactArgs("ACCOUNT or NAME", "COINS"),
	}
	return operatorCommand(std, c,
		func(ctx context.Context, op federation.Operator, args []string) (federation.Funding, error) {
			coins, err := parseCoins(args[1])
			if err != nil {
				return federation.Funding{}, usageError{fmt.Errorf("federation fund: %w", err)}
			}
			return op.Fund(ctx, federation.FundRequest{To: args[0], Coins: coins})
		},
		func(f federation.Funding) string {
			return fmt.Sprintf("%s coins to %s, in block %d\n", f.Coins, nameOr(f.Name, f.Account), f.Height)
		})
}

// parseCoins reads an amount of the smallest coin.
func parseCoins(s string) (payment.Amount, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%q is not a number of coins: give a whole number above 0", s)
	}
	return payment.Amount(n), nil
}

func nameOr(name string, account payment.Account) string {
	if name != "" {
		return printable(name)
	}
	return account.String()
}

func newRevoke(std stdio) *cobra.Command {
	var certificate string
	c := &cobra.Command{
		Use:   "revoke NAME|ACCOUNT",
		Short: "refuse a member from now on: what it earned stays its own",
		Args:  nameOrCertificate(&certificate),
	}
	c.Flags().StringVar(&certificate, "certificate", "", "revoke whoever has the certificate in this PEM file")
	c.AddCommand(newRevokePropose(std))
	return operatorCommand(std, c,
		func(ctx context.Context, op federation.Operator, args []string) (federation.Member, error) {
			r, err := whom(args, certificate)
			if err != nil {
				return federation.Member{}, err
			}
			return op.Revoke(ctx, r)
		},
		func(m federation.Member) string { return fmt.Sprintf("%s is revoked\n", nameOr(m.Name, m.Account)) })
}

func newMembers(std stdio) *cobra.Command {
	c := &cobra.Command{Use: "members", Short: "list the members", Args: noArgs}
	return operatorCommand(std, c,
		func(ctx context.Context, op federation.Operator, _ []string) ([]federation.Member, error) {
			return op.Members(ctx, struct{}{})
		},
		func(list []federation.Member) string {
			var b strings.Builder
			for _, m := range list {
				state := "until " + m.Expires.UTC().Format(time.DateOnly)
				if m.Revoked {
					state = "revoked"
				}
				fmt.Fprintf(&b, "%s  %s  %s\n", m.Account, state, printable(m.Name))
			}
			return b.String()
		})
}

// newFederationRoot is `federation root`; newRoot makes the whole command.
func newFederationRoot(std stdio) *cobra.Command {
	c := &cobra.Command{
		Use:   "root",
		Short: "list, add and remove the roots whose members are trusted",
		Args:  noArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newRootList(std), newRootAdd(std), newRootRemove(std))
	return c
}

func newRootList(std stdio) *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "list the roots", Args: noArgs}
	return operatorCommand(std, c,
		func(ctx context.Context, op federation.Operator, _ []string) ([]federation.Root, error) {
			return op.Roots(ctx, struct{}{})
		},
		func(list []federation.Root) string {
			var b strings.Builder
			for _, r := range list {
				b.WriteString(sayRoot(r))
			}
			return b.String()
		})
}

func newRootAdd(std stdio) *cobra.Command {
	var msp string
	c := &cobra.Command{
		Use:   "add [FILE.pem]",
		Short: "trust another root; without a file, make one and issue certificates by it from now on",
		Args:  atMostOne("a file"),
	}
	c.Flags().StringVar(&msp, "msp", "", "the organization whose members it certifies (default: the federation's own)")
	return operatorCommand(std, c,
		func(ctx context.Context, op federation.Operator, args []string) (federation.Root, error) {
			r := federation.AddRootRequest{MSP: msp}
			if len(args) > 0 {
				var err error
				if r.Certificate, err = os.ReadFile(args[0]); err != nil {
					return federation.Root{}, err
				}
			}
			return op.AddRoot(ctx, r)
		}, sayRoot)
}

func newRootRemove(std stdio) *cobra.Command {
	c := &cobra.Command{
		Use:   "remove FINGERPRINT",
		Short: "trust a root no more: its members are refused, and told why",
		Args:  exactArgs("FINGERPRINT"),
	}
	return operatorCommand(std, c,
		func(ctx context.Context, op federation.Operator, args []string) (federation.Root, error) {
			return op.RemoveRoot(ctx, federation.RemoveRootRequest{Fingerprint: args[0]})
		}, sayRoot)
}

func sayRoot(r federation.Root) string {
	state := "trusted until " + r.Expires.UTC().Format(time.DateOnly)
	if !r.Trusted {
		state = "removed"
	}
	if r.Own {
		state += ", the portal's own"
	}
	return fmt.Sprintf("%s  %s  %s\n", r.Fingerprint, r.MSP, state)
}

// atMostOne lets an argument be left out.
func atMostOne(what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) > 1 {
			return usageError{fmt.Errorf("%s takes %s at most: %q is too many", c.CommandPath(), what, args[1])}
		}
		return nil
	}
}
