package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"torrente/federation"
	"torrente/payment"
)

// newFederationKeys is `federation keys`: the first of three steps by which several
// organisations make a federation.
func newFederationKeys(std stdio) *cobra.Command {
	var f initFlags
	var to string
	c := &cobra.Command{
		Use:   "keys --name NAME",
		Short: "make the keys of an organization that founds a federation with others, or enters one",
		Long: "Make the keys of an organization that founds a federation with others, and a founder's file, which is public.\n" +
			"With the files of all, torrente federation genesis makes the first page of the ledger; with that page each\n" +
			"organization goes on by torrente federation join. One that comes later sends its file to a member\n" +
			"organization, which proposes it by torrente federation admit propose.",
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return federationKeys(c, std, &f, to) },
	}
	passwordFlag(c)
	s := c.Flags()
	s.StringVar(&f.name, "name", "", "the organization's name: letters, digits, dot, dash, underscore")
	s.StringVar(&f.url, "url", "", "the https URL under which members reach its portal (default: where serve listens)")
	s.StringVarP(&to, "output", "o", "", "where to copy the founder's file (default: only in the federation's folder)")
	s.BoolVar(&f.asJSON, "json", false, "print one JSON object")
	costFlag(c, &f.cost)
	return c
}

func federationKeys(c *cobra.Command, std stdio, f *initFlags, to string) error {
	if f.name == "" {
		return usageError{errors.New("federation keys: no name: give --name NAME")}
	}
	cfg, err := f.keys(c)
	if err != nil {
		return err
	}
	if cfg.Password, err = newPasswordOf(c, std, "the federation"); err != nil {
		return interrupted(c.Context(), err)
	}
	founder, err := federation.MakeKeys(cfg)
	if err != nil {
		return fmt.Errorf("federation keys: %w", err)
	}
	own := filepath.Join(cfg.Dir, federation.FounderFile)
	if to == "" {
		to = own
	} else if err := copyFile(own, to); err != nil {
		return fmt.Errorf("federation keys: the keys are made, copy %s yourself: %w", own, err)
	}
	if f.asJSON {
		return printJSON(std.out, founder)
	}
	_, err = fmt.Fprintf(std.out, "organization  %s\nadministrator %s\nroot          %x\nfounder file  %s: give it to whoever makes the genesis, or admits you\n",
		founder.MSP, founder.Administrator, sha256.Sum256(founder.Root), to)
	return err
}

func copyFile(from, to string) error {
	b, err := readSmall(from)
	if err != nil {
		return err
	}
	return renameio.WriteFile(to, b, 0o644)
}

// maxFoundBytes is more than a founder's file or a genesis document has.
const maxFoundBytes = 16 << 20

// readSmall reads a file that others may have made, of whatever size.
func readSmall(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFoundBytes+1))
	if err == nil && len(b) > maxFoundBytes {
		err = fmt.Errorf("%s is larger than %d bytes: it is not the file it should be", path, maxFoundBytes)
	}
	return b, err
}

func newFederationGenesis(std stdio) *cobra.Command {
	var f initFlags
	var to string
	c := &cobra.Command{
		Use:   "genesis --name NAME -o FILE FOUNDER...",
		Short: "make the first page of the ledger of several organizations, from their founders' files",
		Long: "Make the first page of the ledger of several organizations, from their founders' files. The same files, in any\n" +
			"order, and the same flags give the same page, so that everybody can make it and compare the ledger's id.",
		Args: atLeastOne("a founder's file"),
		RunE: func(c *cobra.Command, args []string) error { return federationGenesis(std, &f, to, args) },
	}
	s := c.Flags()
	s.StringVar(&f.name, "name", "", "the federation's name")
	s.Uint64Var(&f.price, "price", 1, "the price of a unit (16 KiB) in coins")
	s.Uint64Var(&f.treasury, "treasury", 0, "the coins that each organization's administrator begins with")
	s.StringArrayVar(&f.mints, "mint", nil, "ACCOUNT=COINS: the coins that an account begins with (may be repeated)")
	s.StringVarP(&to, "output", "o", "", "the file to write")
	s.BoolVar(&f.asJSON, "json", false, "print one JSON object")
	return c
}

// genesisFacts is what a genesis document says.
type genesisFacts struct {
	Name          string           `json:"name"`
	Ledger        payment.LedgerID `json:"ledger_id"`
	Organisations []string         `json:"organisations"`
	Minted        payment.Amount   `json:"minted"`
}

func federationGenesis(std stdio, f *initFlags, to string, files []string) error {
	if f.name == "" || to == "" {
		return usageError{errors.New("federation genesis: give --name NAME and -o FILE")}
	}
	cfg := federation.FoundConfig{Name: f.name, Price: payment.Amount(f.price), Treasury: payment.Amount(f.treasury)}
	var err error
	if cfg.Mints, err = f.minted("genesis"); err != nil {
		return err
	}
	for _, path := range files {
		raw, err := readSmall(path)
		if err != nil {
			return err
		}
		founder, err := federation.ParseFounder(raw)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		cfg.Founders = append(cfg.Founders, *founder)
	}
	document, g, err := federation.Found(cfg)
	if err != nil {
		return fmt.Errorf("federation genesis: %w", err)
	}
	if err := renameio.WriteFile(to, document, 0o644); err != nil {
		return err
	}
	facts := genesisFacts{Name: g.Name, Ledger: federation.LedgerOf(document)}
	facts.Minted, _ = g.Minted()
	for _, o := range g.Organisations {
		facts.Organisations = append(facts.Organisations, o.MSP)
	}
	if f.asJSON {
		return printJSON(std.out, facts)
	}
	_, err = fmt.Fprintf(std.out, "federation    %s\nledger        %s\norganizations %s\nminted        %s\n",
		printable(facts.Name), facts.Ledger, strings.Join(facts.Organisations, ", "), coins(facts.Minted))
	return err
}

func newFederationJoin(std stdio) *cobra.Command {
	var cfg federation.JoinConfig
	var genesis, hostRoots string
	var asJSON bool
	c := &cobra.Command{
		Use:   "join --genesis FILE",
		Short: "make a folder of keys part of a federation of several organizations",
		Long: "Make a folder of keys part of a federation of several organizations. One of them has the ledger: there it is\n" +
			"join --genesis FILE; at the others join --genesis FILE --ledger URL --host NAME, with the portal and the name\n" +
			"of that organization. If the ledger is on Fabric it is join --genesis FILE --profile FILE at all of them, with the\n" +
			"connection profile of each. All of them can serve portals, and vote.",
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if genesis == "" || (cfg.Ledger == "") != (cfg.Host == "") || cfg.Ledger != "" && cfg.Profile != "" {
				return usageError{errors.New("federation join: give --genesis FILE, and either both of --ledger URL and --host NAME, or --profile FILE, or none of them")}
			}
			if cfg.Profile != "" {
				if cfg.Profile, err = filepath.Abs(cfg.Profile); err != nil {
					return err
				}
			}
			if cfg.Dir, err = federationDir(c); err != nil {
				return err
			}
			if cfg.Genesis, err = readSmall(genesis); err != nil {
				return err
			}
			if hostRoots != "" {
				if cfg.HostRoots, err = readSmall(hostRoots); err != nil {
					return err
				}
			}
			facts, err := federation.Join(cfg)
			if err != nil {
				return fmt.Errorf("federation join: %w", err)
			}
			if asJSON {
				return printJSON(std.out, facts)
			}
			if err := sayFacts(std, facts); err != nil || !facts.Waits {
				return err
			}
			_, err = fmt.Fprintf(std.out, "%s is not of the organizations that founded %s: it can serve when more than half of them have admitted it\n",
				facts.MSP, printable(facts.Name))
			return err
		},
	}
	s := c.Flags()
	s.StringVar(&genesis, "genesis", "", "the first page of the ledger, which federation genesis made")
	s.StringVar(&cfg.Ledger, "ledger", "", "the https URL of the portal that has the ledger (default: this one has it)")
	s.StringVar(&cfg.Host, "host", "", "the name of the organization of that portal")
	s.StringVar(&hostRoots, "host-roots", "", "a PEM file with the roots of that organization, if it has replaced those of the genesis")
	s.StringVar(&cfg.Profile, "profile", "", "the connection profile of a ledger on Fabric, which need not be there yet")
	s.BoolVar(&asJSON, "json", false, "print one JSON object")
	return c
}
