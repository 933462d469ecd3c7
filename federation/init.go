package federation

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"torrente/identity"
	"torrente/metainfo"
	"torrente/payment"
	"torrente/payment/contract"
	"torrente/payment/ledger"
)

// administratorName is the name in the administrator's own certificate.
const administratorName = "administrator"

// InitConfig is what a federation begins with.
type InitConfig struct {
	Dir      string
	Name     string // also the id of its organisation: 1 to 64 of A-Z a-z 0-9 . - _
	URL      string // of the portal; empty: where Serve listens
	Password []byte // seals the keys
	Price    payment.Amount
	Treasury payment.Amount // the administrator's coins
	Mints    []contract.Mint
	Cost     identity.Cost // of sealing
	Now      time.Time
	Profile  string // see settings; empty: the ledger is embedded
}

// Facts are what Init made.
type Facts struct {
	Name          string           `json:"name"`
	Dir           string           `json:"dir"`
	Ledger        payment.LedgerID `json:"ledger_id"`
	Administrator payment.Account  `json:"administrator"`
	Treasury      payment.Amount   `json:"treasury"`
	Minted        payment.Amount   `json:"minted"`
	Root          string           `json:"root"` // fingerprint
}

// Init makes the folder of a federation: the authority, the administrator, and
// a ledger that holds the genesis document alone, or that document alone if the
// ledger is on Fabric. It is made beside its place
// and moved there whole. The error is ErrExists if something is there.
func Init(cfg InitConfig) (*Facts, error) {
	if cfg.URL != "" {
		if err := metainfo.CheckFederation(cfg.URL); err != nil {
			return nil, err
		}
	}
	if list, err := os.ReadDir(cfg.Dir); err == nil && len(list) > 0 {
		return nil, fmt.Errorf("%s: %w", cfg.Dir, ErrExists)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	parent := filepath.Dir(filepath.Clean(cfg.Dir))
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return nil, err
	}
	draft, err := os.MkdirTemp(parent, ".federation-") // 0700
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(draft) // nothing is left of it after the rename
	facts, err := folder(draft).fill(&cfg)
	if err != nil {
		return nil, err
	}
	if err := os.Rename(draft, filepath.Clean(cfg.Dir)); errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("%s: %w", cfg.Dir, ErrExists)
	} else if err != nil {
		return nil, err
	}
	return facts, syncFolder(parent)
}

// fill writes all files into an empty folder.
func (d folder) fill(cfg *InitConfig) (*Facts, error) {
	if err := os.Mkdir(d.path(authorityFolder), 0o700); err != nil {
		return nil, err
	}
	a, err := identity.NewAuthority(cfg.Name, cfg.Now, rootLifetime)
	if err != nil {
		return nil, err
	}
	if err := d.writeAuthority(1, a, cfg.Password, cfg.Cost); err != nil {
		return nil, err
	}
	admin, err := d.makeAdministrator(a, cfg)
	if err != nil {
		return nil, err
	}
	g := &contract.Genesis{
		Created: uint64(cfg.Now.Unix()), Name: cfg.Name, Price: cfg.Price, Mints: cfg.Mints,
		Organisations: []contract.Organisation{{MSP: cfg.Name, Administrator: admin, Roots: [][]byte{a.Root().Raw}}},
	}
	if cfg.Treasury > 0 {
		g.Mints = append(g.Mints[:len(g.Mints):len(g.Mints)], contract.Mint{Account: admin, Coins: cfg.Treasury})
	}
	document, err := g.Encode()
	if err != nil {
		return nil, err
	}
	if err := d.begin(cfg, document); err != nil {
		return nil, err
	}
	err = d.writeJSON(settingsFile, settings{MSP: cfg.Name, URL: cfg.URL, Cost: cfg.Cost, Profile: cfg.Profile}, 0o600)
	minted, _ := g.Minted() // Encode has checked that it fits
	return &Facts{
		Name: cfg.Name, Dir: cfg.Dir, Ledger: contract.GenesisID(document), Administrator: admin,
		Treasury: cfg.Treasury, Minted: minted, Root: hexOf(fingerprint(a.Root())),
	}, err
}

// begin makes the embedded ledger, or writes down what one on Fabric is to begin
// with.
func (d folder) begin(cfg *InitConfig, document []byte) error {
	if cfg.Profile == "" {
		return ledger.Create(d.path(ledgerFolder), document)
	}
	return d.write(genesisFile, document, 0o600)
}

// makeAdministrator makes the key that signs for the federation and owns its
// treasury. It is not a root's key: a root can be replaced, an account cannot.
func (d folder) makeAdministrator(a *identity.Authority, cfg *InitConfig) (payment.Account, error) {
	key, err := identity.NewKey()
	if err != nil {
		return payment.Account{}, err
	}
	csr, err := identity.NewRequest(key, administratorName)
	if err != nil {
		return payment.Account{}, err
	}
	leaf, err := a.Issue(csr, administratorName, cfg.Now, memberLifetime)
	if err != nil {
		return payment.Account{}, err
	}
	if err := identity.CreateKeyFile(d.path(treasuryKey), cfg.Password, key, cfg.Cost); err != nil {
		return payment.Account{}, err
	}
	return payment.AccountOf(a.MSP(), leaf.RawSubjectPublicKeyInfo),
		identity.WriteCertificateFile(d.path(treasuryChain), []*x509.Certificate{leaf})
}
