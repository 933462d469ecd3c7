package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"torrente/federation"
	"torrente/payment"
	"torrente/payment/contract"
)

// votesText is what the help of all of these commands says.
const votesText = "More than half of the federation's organizations must agree within 7 days. A federation of one\n" +
	"organization decides at once. The others agree with torrente federation approve ID."

// proposing makes a `propose` command.
func proposing(std stdio, use, short string, args cobra.PositionalArgs, ask func(args []string) (federation.ProposeRequest, error)) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Long: strings.ToUpper(short[:1]) + short[1:] + ".\n" + votesText, Args: args}
	return operatorCommand(std, c,
		func(ctx context.Context, op federation.Operator, args []string) (federation.Proposal, error) {
			r, err := ask(args)
			if err != nil {
				return federation.Proposal{}, err
			}
			return op.Propose(ctx, r)
		}, sayProposal)
}

// subject is a command that has `propose` below it and does nothing itself.
func subject(name, short string, propose *cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: name, Short: short, Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(propose)
	return c
}

func newPrice(std stdio) *cobra.Command {
	return subject("price", "propose another price of a unit", proposing(std, "propose COINS",
		"propose what a unit (16 KiB) costs from then on; coins that are frozen keep their price", exactArgs("COINS"),
		func(args []string) (federation.ProposeRequest, error) {
			price, err := strconv.ParseUint(args[0], 10, 64)
			if err != nil {
				return federation.ProposeRequest{}, usageError{fmt.Errorf("federation price: %q is not a number of coins: give a whole number", args[0])}
			}
			return federation.ProposeRequest{Kind: contract.DecidePrice, Price: payment.Amount(price)}, nil
		}))
}

func newMint(std stdio) *cobra.Command {
	return subject("mint", "propose to make coins", proposing(std, "propose ACCOUNT|NAME COINS",
		"propose to make coins and to give them to an account", exactArgs("ACCOUNT or NAME", "COINS"),
		func(args []string) (federation.ProposeRequest, error) {
			coins, err := parseCoins(args[1])
			if err != nil {
				return federation.ProposeRequest{}, usageError{fmt.Errorf("federation mint: %w", err)}
			}
			return federation.ProposeRequest{Kind: contract.DecideMint, Coins: coins, Who: federation.RevokeRequest{Who: args[0]}}, nil
		}))
}

// newRevokePropose is `federation revoke propose`, for members of other
// organisations.
func newRevokePropose(std stdio) *cobra.Command {
	var certificate string
	c := proposing(std, "propose NAME|ACCOUNT", "propose to refuse a member, of any organization, from then on",
		nameOrCertificate(&certificate),
		func(args []string) (r federation.ProposeRequest, err error) {
			r.Kind = contract.DecideRevoke
			r.Who, err = whom(args, certificate)
			return r, err
		})
	c.Flags().StringVar(&certificate, "certificate", "", "whoever has the certificate in this PEM file")
	return c
}

func newReinstate(std stdio) *cobra.Command {
	c := &cobra.Command{
		Use:   "reinstate NAME|ACCOUNT",
		Short: "let a member spend again whom this organization revoked",
		Args:  exactArgs("NAME or ACCOUNT"),
	}
	c.AddCommand(proposing(std, "propose NAME|ACCOUNT", "propose to let a member, of any organization, spend again",
		exactArgs("NAME or ACCOUNT"),
		func(args []string) (federation.ProposeRequest, error) {
			return federation.ProposeRequest{Kind: contract.DecideReinstate, Who: federation.RevokeRequest{Who: args[0]}}, nil
		}))
	return operatorCommand(std, c,
		func(ctx context.Context, op federation.Operator, args []string) (federation.Member, error) {
			return op.Reinstate(ctx, federation.RevokeRequest{Who: args[0]})
		},
		func(m federation.Member) string { return fmt.Sprintf("%s is reinstated\n", nameOr(m.Name, m.Account)) })
}

func newReassign(std stdio) *cobra.Command {
	var before, after string
	c := proposing(std, "propose [OLD] [NEW]",
		"propose to move the coins of an account whose key is lost or stolen to a new one of the same organization",
		func(c *cobra.Command, args []string) error {
			want := []string{}
			if before == "" {
				want = append(want, "OLD (NAME or ACCOUNT)")
			}
			if after == "" {
				want = append(want, "NEW (NAME or ACCOUNT)")
			}
			return exactArgs(want...)(c, args)
		},
		func(args []string) (r federation.ProposeRequest, err error) {
			r.Kind = contract.DecideReassign
			if r.Who, err = whom(args, before); err != nil {
				return r, err
			}
			if before == "" {
				args = args[1:]
			}
			r.Heir, err = whom(args, after)
			return r, err
		})
	c.Long += "\nRevoke the old account first, with torrente federation revoke: a thief could spend its coins meanwhile."
	c.Flags().StringVar(&before, "old-certificate", "", "in place of OLD: whoever has the certificate in this PEM file")
	c.Flags().StringVar(&after, "new-certificate", "", "in place of NEW: whoever has the certificate in this PEM file")
	return subject("reassign", "propose to move the coins of an account whose key is lost or stolen", c)
}

func newAdmit(std stdio) *cobra.Command {
	c := proposing(std, "propose FOUNDER", "propose to admit an organization, by its founder's file", exactArgs("a founder's file"),
		func(args []string) (federation.ProposeRequest, error) {
			raw, err := readSmall(args[0])
			if err != nil {
				return federation.ProposeRequest{}, err
			}
			founder, err := federation.ParseFounder(raw)
			if err != nil {
				return federation.ProposeRequest{}, fmt.Errorf("%s: %w", args[0], err)
			}
			return federation.ProposeRequest{Kind: contract.DecideAdmit, Founder: founder}, nil
		})
	c.Long += "\nIt certifies members, and votes, from then on. It makes the file by torrente federation keys, tells the others\n" +
		"its administrator and its root by another way, and goes on by torrente federation join."
	return subject("admit", "propose to admit an organization to the federation", c)
}

// nameOrCertificate wants a name unless a certificate is given.
func nameOrCertificate(certificate *string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if *certificate != "" {
			return noArgs(c, args)
		}
		return exactArgs("NAME or ACCOUNT")(c, args)
	}
}

// whom names somebody by the first argument, or by a certificate's file.
func whom(args []string, certificate string) (r federation.RevokeRequest, err error) {
	if certificate == "" {
		return federation.RevokeRequest{Who: args[0]}, nil
	}
	r.Certificate, err = os.ReadFile(certificate)
	return r, err
}

func newApprove(std stdio) *cobra.Command {
	c := &cobra.Command{
		Use:   "approve ID",
		Short: "agree to a proposal: it is done when more than half of the organizations do",
		Args:  exactArgs("ID"),
	}
	return operatorCommand(std, c,
		func(ctx context.Context, op federation.Operator, args []string) (federation.Proposal, error) {
			return op.Approve(ctx, federation.ApproveRequest{ID: args[0]})
		}, sayProposal)
}

func newProposals(std stdio) *cobra.Command {
	c := &cobra.Command{
		Use:   "proposals [ID]",
		Short: "list what was proposed, the newest first, and who agrees",
		Args:  atMostOne("an ID"),
	}
	return operatorCommand(std, c,
		func(ctx context.Context, op federation.Operator, args []string) ([]federation.Proposal, error) {
			var r federation.ProposalsRequest
			if len(args) > 0 {
				r.ID = args[0]
			}
			return op.Proposals(ctx, r)
		},
		func(list []federation.Proposal) string {
			var b strings.Builder
			for _, p := range list {
				b.WriteString(sayProposal(p))
			}
			return b.String()
		})
}

// sayProposal is one line: id, what, and how it stands.
func sayProposal(p federation.Proposal) string {
	date := func(s uint64) string { return time.Unix(int64(s), 0).UTC().Format(time.DateTime) }
	state := "lapsed " + date(p.Lapses)
	switch p.State {
	case federation.ProposalPassed:
		state = "passed " + date(p.Passed)
	case federation.ProposalOpen:
		state = fmt.Sprintf("needs %d more of %d organizations until %s", p.Needed-len(p.Approved), p.Organisations, date(p.Lapses))
	}
	return fmt.Sprintf("%s  %s  %s, approved by %s\n", p.ID, sayDecision(&p.Decision), state, strings.Join(p.Approved, ", "))
}

func sayDecision(d *contract.DecisionInfo) string {
	switch d.Kind {
	case contract.DecidePrice:
		return "price " + coins(d.Price)
	case contract.DecideMint:
		return fmt.Sprintf("mint %s to %s", coins(d.Coins), d.Account)
	case contract.DecideRevoke:
		return fmt.Sprintf("revoke %s of %s", d.Account, d.MSP)
	case contract.DecideReinstate:
		return fmt.Sprintf("reinstate %s", d.Account)
	case contract.DecideReassign:
		return fmt.Sprintf("reassign %s of %s to %s", d.Account, d.MSP, d.To)
	case contract.DecideAdmit:
		return fmt.Sprintf("admit %s, administrator %s, root %s", d.MSP, d.Account, strings.Join(d.Roots, " "))
	}
	return "something this version does not know"
}
