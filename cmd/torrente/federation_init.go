package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"torrente/federation"
	"torrente/identity"
	"torrente/payment"
	"torrente/payment/contract"
)

// initFlags are the choices of `federation init`.
type initFlags struct {
	name, url, cost string
	price, treasury uint64
	ledger, profile string
	mints           []string
	asJSON          bool
}

func newFederationInit(std stdio) *cobra.Command {
	var f initFlags
	c := &cobra.Command{
		Use:   "init --name NAME --treasury COINS",
		Short: "make a federation: its keys, its roots and the first page of its ledger",
		Args:  noArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return federationInit(c, std, &f) },
	}
	passwordFlag(c)
	s := c.Flags()
	s.StringVar(&f.name, "name", "", "the federation's name: letters, digits, dot, dash, underscore")
	s.StringVar(&f.url, "url", "", "the https URL under which members reach the portal (default: where serve listens)")
	s.Uint64Var(&f.price, "price", 1, "the price of a unit (16 KiB) in coins")
	s.Uint64Var(&f.treasury, "treasury", 0, "the coins that the treasury begins with")
	s.StringArrayVar(&f.mints, "mint", nil, "ACCOUNT=COINS: the coins that an account begins with (may be repeated)")
	s.BoolVar(&f.asJSON, "json", false, "print one JSON object")
	s.StringVar(&f.ledger, "ledger", "embedded", "where the ledger is: embedded, or fabric")
	s.StringVar(&f.profile, "profile", "", "with --ledger fabric: the connection profile, which need not be there yet")
	costFlag(c, &f.cost)
	return c
}

// costFlag adds the hidden flag that makes sealed keys cheap to open, for tests
// that start many processes.
func costFlag(c *cobra.Command, to *string) {
	c.Flags().StringVar(to, "cost", "", "TIME,ROWS of sealing keys")
	if err := c.Flags().MarkHidden("cost"); err != nil {
		panic(err) // the flag is there
	}
}

// parseCost reads TIME,ROWS; empty is the default.
func parseCost(s string) (identity.Cost, error) {
	cost := identity.DefaultCost
	if s == "" {
		return cost, nil
	}
	first, second, ok := strings.Cut(s, ",")
	t, errTime := strconv.ParseUint(first, 10, 32)
	rows, errRows := strconv.ParseUint(second, 10, 32)
	if !ok || errTime != nil || errRows != nil {
		return cost, usageError{fmt.Errorf("--cost %s is not TIME,ROWS", s)}
	}
	cost.Time, cost.Rows = uint32(t), uint32(rows)
	return cost, nil
}

func federationInit(c *cobra.Command, std stdio, f *initFlags) error {
	cfg, err := f.config(c)
	if err != nil {
		return err
	}
	if cfg.Password, err = newPasswordOf(c, std, "the federation"); err != nil {
		return interrupted(c.Context(), err)
	}
	facts, err := federation.Init(cfg)
	if err != nil {
		return fmt.Errorf("federation init: %w", err)
	}
	if f.asJSON {
		return printJSON(std.out, facts)
	}
	return sayFacts(std, facts)
}

func sayFacts(std stdio, facts *federation.Facts) error {
	_, err := fmt.Fprintf(std.out, "federation    %s\nfolder        %s\nledger        %s\nadministrator %s, who owns the treasury of %s coins\nroot          %s\n",
		facts.Name, facts.Dir, facts.Ledger, facts.Administrator, facts.Treasury, facts.Root)
	return err
}

// config checks the flags.
func (f *initFlags) config(c *cobra.Command) (cfg federation.InitConfig, err error) {
	if f.name == "" {
		return cfg, usageError{errors.New("federation init: no name: give --name NAME")}
	}
	if f.treasury == 0 && len(f.mints) == 0 {
		return cfg, usageError{errors.New("federation init: no coins: give --treasury COINS, or --mint ACCOUNT=COINS")}
	}
	if cfg, err = f.keys(c); err != nil {
		return cfg, err
	}
	cfg.Price, cfg.Treasury = payment.Amount(f.price), payment.Amount(f.treasury)
	if cfg.Profile, err = profileOf(f.ledger, f.profile); err != nil {
		return cfg, usageError{fmt.Errorf("federation init: %w", err)}
	}
	cfg.Mints, err = f.minted("init")
	return cfg, err
}

// profileOf is the absolute path of the connection profile, or nothing for an
// embedded ledger.
func profileOf(ledger, profile string) (string, error) {
	switch {
	case ledger != "embedded" && ledger != "fabric":
		return "", fmt.Errorf("--ledger %s is neither embedded nor fabric", ledger)
	case ledger == "embedded" && profile != "":
		return "", errors.New("--profile is of a ledger on Fabric: give --ledger fabric as well")
	case ledger == "fabric" && profile == "":
		return "", errors.New("a ledger on Fabric is reached by a connection profile: give --profile FILE, which the network writes when it is made")
	case profile == "":
		return "", nil
	}
	return filepath.Abs(profile)
}

// keys is what an organisation's keys need of the flags.
func (f *initFlags) keys(c *cobra.Command) (cfg federation.InitConfig, err error) {
	dir, err := federationDir(c)
	if err != nil {
		return cfg, err
	}
	now, err := clock()
	if err != nil {
		return cfg, err
	}
	cfg = federation.InitConfig{Dir: dir, Name: f.name, URL: f.url, Now: now()}
	cfg.Cost, err = parseCost(f.cost)
	return cfg, err
}

// minted reads --mint of a command.
func (f *initFlags) minted(command string) (all []contract.Mint, err error) {
	for _, s := range f.mints {
		m, err := parseMint(s)
		if err != nil {
			return nil, usageError{fmt.Errorf("federation %s --mint: %w", command, err)}
		}
		all = append(all, m)
	}
	return all, nil
}

// parseMint reads ACCOUNT=COINS.
func parseMint(s string) (m contract.Mint, err error) {
	account, coins, ok := strings.Cut(s, "=")
	if !ok || m.Account.UnmarshalText([]byte(account)) != nil {
		return m, fmt.Errorf("%q is not ACCOUNT=COINS with an account of 64 hexadecimal digits", s)
	}
	m.Coins, err = parseCoins(coins)
	return m, err
}
