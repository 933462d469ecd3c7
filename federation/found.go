package federation

import (
	"encoding/json"
	"errors"
	"fmt"

	"torrente/identity"
	"torrente/payment"
	"torrente/payment/contract"
)

// Founder is what an organisation brings into a federation of several: all of it
// is public.
type Founder struct {
	MSP           string          `json:"msp"`
	Administrator payment.Account `json:"administrator"`
	Created       uint64          `json:"created"` // when its keys were made, in seconds since 1970
	Root          []byte          `json:"root"`    // DER
}

// FounderFile is the founder's file in the folder.
const FounderFile = "founder.json"

// maxFounder bounds a founder's file, in bytes.
const maxFounder = 16 << 10

// ErrFounder means that a file is no founder's.
var ErrFounder = errors.New("it is not a founder's file: have it made by torrente federation keys")

// ParseFounder reads a founder's file. The error is ErrFounder.
func ParseFounder(b []byte) (*Founder, error) {
	var f Founder
	if len(b) > maxFounder {
		return nil, fmt.Errorf("%w (%d bytes)", ErrFounder, len(b))
	}
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrFounder, err)
	}
	if o := f.organisation(); f.Administrator.IsZero() || o.Check() != nil {
		return nil, ErrFounder
	}
	return &f, nil
}

func (f *Founder) organisation() contract.Organisation {
	return contract.Organisation{MSP: f.MSP, Administrator: f.Administrator, Roots: [][]byte{f.Root}}
}

// MakeKeys makes the folder of an organisation that will found a federation with
// others, or be admitted to one: it has keys and the founder's file, and no ledger until Join. Of cfg, coins and price do not
// count. The error is ErrExists if something is there.
func MakeKeys(cfg InitConfig) (founder *Founder, err error) {
	err = draft(cfg.Dir, func(d folder) (err error) {
		if founder, err = d.makeKeys(&cfg); err != nil {
			return err
		}
		return d.writeJSON(FounderFile, founder, 0o644)
	})
	return founder, err
}

// LedgerOf returns the id of the ledger that begins with a genesis document.
func LedgerOf(document []byte) payment.LedgerID { return contract.GenesisID(document) }

// FoundConfig is what a ledger begins with.
type FoundConfig struct {
	Name     string // of the federation
	Price    payment.Amount
	Treasury payment.Amount // of each administrator
	Mints    []contract.Mint
	Founders []Founder // in any order
}

// Found makes the genesis document of a federation. It has the same bytes for
// the same configuration, whoever makes it: its time is that of the youngest
// keys. The error is contract.ErrGenesis.
func Found(cfg FoundConfig) ([]byte, *contract.Genesis, error) {
	g := &contract.Genesis{Name: cfg.Name, Price: cfg.Price, Mints: cfg.Mints[:len(cfg.Mints):len(cfg.Mints)]}
	for _, f := range cfg.Founders {
		g.Created = max(g.Created, f.Created)
		g.Organisations = append(g.Organisations, f.organisation())
		if cfg.Treasury > 0 {
			g.Mints = append(g.Mints, contract.Mint{Account: f.Administrator, Coins: cfg.Treasury})
		}
	}
	document, err := g.Encode()
	return document, g, err
}

func factsOf(dir string, f *Founder, document []byte, g *contract.Genesis) *Facts {
	facts := &Facts{
		Name: g.Name, MSP: f.MSP, Dir: dir, Ledger: contract.GenesisID(document), Administrator: f.Administrator,
	}
	facts.Minted, _ = g.Minted() // Encode has checked that it fits
	for _, m := range g.Mints {
		if m.Account == f.Administrator {
			facts.Treasury = m.Coins
		}
	}
	if root, err := identity.DecodeCertificates(pemOf(f.Root)); err == nil {
		facts.Root = hexOf(fingerprint(root[0]))
	}
	return facts
}
