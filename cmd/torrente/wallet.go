package main

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"torrente/payment"
	"torrente/payment/contract"
)

func newWallet(std stdio) *cobra.Command {
	c := &cobra.Command{
		Use:   "wallet",
		Short: "see and redeem what you earned, and limit what you spend",
		Args:  noArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	passwordPersistent(c)
	c.AddCommand(newBalance(std), newRedeem(std), newReclaim(std), newLimit(std))
	return c
}

func passwordPersistent(c *cobra.Command) {
	c.PersistentFlags().String("password-file", "", "a file whose first line is the password (default: TORRENTE_PASSWORD, else a prompt)")
}

// withMember runs a command on the identity of the home folder.
func withMember(c *cobra.Command, std stdio, do func(*member) error) (err error) {
	h, err := homeOf(c)
	if err != nil {
		return err
	}
	release, err := h.take()
	if err != nil {
		return err
	}
	defer release()
	m, err := h.openMember(c, std)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.close()) }()
	return do(m)
}

// balanceFacts is what an account has, by the ledger and by the wallet.
type balanceFacts struct {
	Account    payment.Account `json:"account"`
	Available  payment.Amount  `json:"available"`
	Frozen     payment.Amount  `json:"frozen"`
	Redeemable payment.Amount  `json:"redeemable"` // earned, and not redeemed so far
	Units      uint64          `json:"redeemable_units"`
}

func newBalance(std stdio) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "balance",
		Short: "print what the account has, and can redeem",
		Args:  noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return withMember(c, std, func(m *member) error { return balance(c, std, m, asJSON) })
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return c
}

func balance(c *cobra.Command, std stdio, m *member, asJSON bool) error {
	p := m.Identity.Principal()
	f := balanceFacts{Account: payment.AccountOf(p.MSP, p.SPKI)}
	a, err := m.Ledger.Query(c.Context(), contract.Query{Kind: contract.QueryAccount, Account: f.Account})
	if err != nil {
		return fmt.Errorf("wallet balance: %w", err)
	}
	f.Available, f.Frozen = a.Account.Available, a.Account.Frozen
	f.Units, f.Redeemable = m.Wallet.Redeemable(m.now())
	if asJSON {
		return printJSON(std.out, f)
	}
	_, err = fmt.Fprintf(std.out, "account       %s\navailable     %s\nfrozen        %s\nredeemable    %s, for %s\n",
		f.Account, coins(f.Available), coins(f.Frozen), coins(f.Redeemable), count(int(f.Units), "unit"))
	return err
}

func newRedeem(std stdio) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "redeem",
		Short: "turn the links that buyers gave you into coins",
		Args:  noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return withMember(c, std, func(m *member) error {
				r, err := m.Redeem(c.Context(), m.now())
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(std.out, r)
				}
				_, err = fmt.Fprintf(std.out, "redeemed %s for %s\n", coins(r.Coins), count(int(r.Units), "unit"))
				return err
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return c
}

func newReclaim(std stdio) *cobra.Command {
	return &cobra.Command{
		Use:   "reclaim",
		Short: "take back what downloads froze and did not spend",
		Long: "Take back what downloads froze and did not spend: at once what no seller was promised; what sellers did not\n" +
			"redeem, when their commitments have expired, a day and half an hour after they were made.",
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return withMember(c, std, func(m *member) error {
				got, err := m.Reclaim(c.Context(), m.now())
				if err != nil {
					return err
				}
				_, err = fmt.Fprintf(std.out, "reclaimed %s\n", coins(got))
				return err
			})
		},
	}
}

func newLimit(std stdio) *cobra.Command {
	return &cobra.Command{
		Use:   "limit [COINS]",
		Short: "print or set how many coins a torrent may cost without asking",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return withMember(c, std, func(m *member) error { return limit(std, m, args) })
		},
	}
}

func limit(std stdio, m *member, args []string) error {
	if len(args) == 1 {
		n, err := strconv.ParseUint(args[0], 10, 64)
		if err != nil {
			return usageError{fmt.Errorf("wallet limit: %q is no number of coins", args[0])}
		}
		return m.Wallet.SetLimit(payment.Amount(n))
	}
	n, err := m.Wallet.Limit()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(std.out, "%s\n", coins(n))
	return err
}

// registerTime is how long the ledger may take to learn of a torrent.
const registerTime = 30 * time.Second
