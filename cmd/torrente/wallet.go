package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"torrente/payment"
)

func newWallet(std stdio) *cobra.Command {
	c := &cobra.Command{
		Use:   "wallet",
		Short: "see and redeem what you earned, and limit what you spend",
		Long: "See and redeem what you earned, and limit what you spend. If a node runs in this home the commands reach it,\n" +
			"without a password; else they open its files.",
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	passwordPersistent(c)
	c.AddCommand(newBalance(std), newRedeem(std), newReclaim(std), newInherit(std), newLimit(std), newHistory(std), newRecover(std))
	return c
}

func passwordPersistent(c *cobra.Command) {
	c.PersistentFlags().String("password-file", "", "a file whose first line is the password (default: TORRENTE_PASSWORD, else a prompt)")
}

// withAccount runs a command on the identity of the home folder: in the process
// that runs there, or here.
func withAccount(c *cobra.Command, std stdio, how opening, do func(context.Context, walletAccount) error) (err error) {
	h, err := homeOf(c)
	if err != nil {
		return err
	}
	release, running, err := h.takeOrReach(c.Context(), offersWallet)
	if err != nil {
		return err
	}
	if running != nil {
		return interrupted(c.Context(), do(c.Context(), &runningAccount{running}))
	}
	defer release()
	m, err := h.openMember(c, std, how)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.close()) }()
	return interrupted(c.Context(), do(c.Context(), &ownAccount{m: m}))
}

// walletCommand makes a command that asks the account a question and prints the
// answer: in words, or as one JSON value with --json.
func walletCommand[In, Out any](std stdio, c *cobra.Command, how opening,
	question func([]string) (In, error), ask func(walletAccount, context.Context, In) (Out, error), say func(io.Writer, Out) error,
) *cobra.Command {
	var asJSON bool
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON value")
	c.RunE = func(c *cobra.Command, args []string) error {
		in, err := question(args)
		if err != nil {
			return err
		}
		return withAccount(c, std, how, func(ctx context.Context, a walletAccount) error {
			out, err := ask(a, ctx, in)
			if err != nil {
				return err
			}
			if asJSON {
				err = printJSON(std.out, out)
			} else {
				err = say(std.out, out)
			}
			return errors.Join(err, troubleOf(std, out))
		})
	}
	return c
}

// troubleOf tells what else there is to say of an answer: a warning, or why it
// is only a part.
func troubleOf(std stdio, out any) error {
	switch f := out.(type) {
	case balanceFacts:
		if f.Trouble != "" {
			_, err := fmt.Fprintf(std.err, "torrente: the ledger could not be asked, so this is what the files say: %s\n", f.Trouble)
			return err
		}
	case redeemFacts:
		if f.Trouble != "" {
			return errors.New(f.Trouble)
		}
	}
	return nil
}

func nothing([]string) (struct{}, error) { return struct{}{}, nil }

func newBalance(std stdio) *cobra.Command {
	c := &cobra.Command{Use: "balance", Short: "print what the account has, and can redeem", Args: noArgs}
	return walletCommand(std, c, opening{}, nothing, walletAccount.Balance, sayBalance)
}

func sayBalance(w io.Writer, f balanceFacts) error {
	available, frozen := "unknown", "unknown"
	if f.LedgerFacts != nil {
		available, frozen = coins(f.Available), coins(f.Frozen)
	}
	_, err := fmt.Fprintf(w, "account       %s\navailable     %s\nfrozen        %s\nredeemable    %s, for %s\n",
		f.Account, available, frozen, coins(f.Redeemable), count(int(f.Units), "unit"))
	return err
}

func newRedeem(std stdio) *cobra.Command {
	c := &cobra.Command{
		Use:   "redeem",
		Short: "turn the links that buyers gave you into coins",
		Long: "Turn the links that buyers gave you into coins. A node does it by itself when it ends, when a buyer has been\n" +
			"silent for five minutes, before links expire, and when many have gathered (seed --redeem-above).",
		Args: noArgs,
	}
	return walletCommand(std, c, opening{}, nothing, walletAccount.Redeem, func(w io.Writer, f redeemFacts) error {
		_, err := fmt.Fprintf(w, "redeemed %s for %s\n", coins(f.Coins), count(int(f.Units), "unit"))
		return err
	})
}

func newReclaim(std stdio) *cobra.Command {
	c := &cobra.Command{
		Use:   "reclaim",
		Short: "take back what downloads froze and did not spend",
		Long: "Take back what downloads froze and did not spend: at once what no seller was promised; what sellers did not\n" +
			"redeem, when their commitments have expired, a day and half an hour after they were made (a node that runs\n" +
			"does that by itself). Coins of a download that is running stay frozen.",
		Args: noArgs,
	}
	return walletCommand(std, c, opening{}, nothing, walletAccount.Reclaim, func(w io.Writer, f reclaimFacts) error {
		_, err := fmt.Fprintf(w, "reclaimed %s\n", coins(f.Coins))
		return err
	})
}

func newInherit(std stdio) *cobra.Command {
	c := &cobra.Command{
		Use:   "inherit ACCOUNT",
		Short: "take the coins of an old account of yours that was reassigned to this one",
		Long: "Take the coins of an old account of yours, whose key is lost or stolen, that the organizations of the\n" +
			"federation reassigned to this one: what it has, what it earned since, and what its downloads froze. What\n" +
			"sellers were promised comes back when their commitments have expired, a day and half an hour after they were\n" +
			"made: run it once more then.",
		Args: exactArgs("ACCOUNT"),
	}
	question := func(args []string) (r inheritRequest, err error) {
		if r.From.UnmarshalText([]byte(args[0])) != nil {
			return r, usageError{fmt.Errorf("wallet inherit: %q is no account: give its 64 hexadecimal digits", args[0])}
		}
		return r, nil
	}
	return walletCommand(std, c, opening{}, question, walletAccount.Inherit, func(w io.Writer, f inheritFacts) error {
		_, err := fmt.Fprintf(w, "inherited %s\n", coins(f.Coins))
		return err
	})
}

func newLimit(std stdio) *cobra.Command {
	c := &cobra.Command{
		Use:   "limit [COINS]",
		Short: "print or set how many coins a torrent may cost without asking",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usageError{fmt.Errorf("%s: %q is one argument too many", c.CommandPath(), args[1])}
			}
			return nil
		},
	}
	question := func(args []string) (r limitRequest, err error) {
		if len(args) == 0 {
			return r, nil
		}
		n, err := strconv.ParseUint(args[0], 10, 64)
		if err != nil {
			return r, usageError{fmt.Errorf("wallet limit: %q is no number of coins", args[0])}
		}
		r.Coins = (*payment.Amount)(&n)
		return r, nil
	}
	return walletCommand(std, c, opening{}, question, walletAccount.Limit, func(w io.Writer, f limitFacts) error {
		_, err := fmt.Fprintf(w, "%s\n", coins(f.Limit))
		return err
	})
}

func newRecover(std stdio) *cobra.Command {
	c := &cobra.Command{
		Use:   "recover",
		Short: "bring the wallet in line with the ledger, after it was damaged or restored",
		Long: "Bring the wallet in line with the ledger, after it was damaged or restored from a copy, or after the same key\n" +
			"was used in another folder: downloads that the wallet does not know are closed, and payments that it does not\n" +
			"know are given up, the rest of which comes back after they expire. Stop the other process first, if there is one.",
		Args: noArgs,
	}
	return walletCommand(std, c, opening{repair: true}, nothing, walletAccount.Recover, sayRecovered)
}

func sayRecovered(w io.Writer, f recoverFacts) error {
	if f.Aside != "" {
		fmt.Fprintf(w, "the wallet was damaged beyond repair: the old one is in %s, and this is a new one; links that it held are lost\n", f.Aside)
	}
	if f.Damaged > 0 {
		fmt.Fprintf(w, "%s that were damaged are left out\n", count(f.Damaged, "record"))
	}
	_, err := fmt.Fprintf(w, "%s closed, %s given up: %s came back\n",
		count(f.Downloads, "unknown download"), count(f.Payments, "unknown payment"), coins(f.Coins))
	for _, l := range f.Later {
		if _, err := fmt.Fprintf(w, "up to %s come back from %s on\n", coins(l.Coins), l.From.Local().Format(time.DateTime)); err != nil {
			return err
		}
	}
	return err
}

// registerTime is how long the ledger may take to learn of a torrent.
const registerTime = 30 * time.Second
