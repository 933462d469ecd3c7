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
	MSP           string           `json:"msp"`
	Dir           string           `json:"dir"`
	Ledger        payment.LedgerID `json:"ledger_id"`
	Administrator payment.Account  `json:"administrator"`
	Treasury      payment.Amount   `json:"treasury"`
	Minted        payment.Amount   `json:"minted"`
	Root          string           `json:"root"` // fingerprint
	// Waits says that the genesis document does not have the organisation: it is to be
	// admitted, unless it was already.
	Waits bool `json:"waits,omitempty"`
}

// Init makes the folder of a federation: the authority, the administrator, and
// a ledger that holds the genesis document alone, or that document alone if the
// ledger is on Fabric. It is made beside its place
// and moved there whole. The error is ErrExists if something is there.
func Init(cfg InitConfig) (*Facts, error) {
	var facts *Facts
	err := draft(cfg.Dir, func(d folder) error {
		founder, err := d.makeKeys(&cfg)
		if err != nil {
			return err
		}
		document, g, err := Found(FoundConfig{
			Name: cfg.Name, Price: cfg.Price, Treasury: cfg.Treasury, Mints: cfg.Mints, Founders: []Founder{*founder},
		})
		if err != nil {
			return err
		}
		facts = factsOf(cfg.Dir, founder, document, g)
		if cfg.Profile != "" {
			return d.takeProfile(cfg.Profile, document)
		}
		return ledger.Create(d.path(ledgerFolder), document)
	})
	return facts, err
}

// draft makes a folder beside its place and moves it there whole. The error is
// ErrExists if something is there.
func draft(dir string, fill func(folder) error) error {
	if list, err := os.ReadDir(dir); err == nil && len(list) > 0 {
		return fmt.Errorf("%s: %w", dir, ErrExists)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(filepath.Clean(dir))
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return err
	}
	draft, err := os.MkdirTemp(parent, ".federation-") // 0700
	if err != nil {
		return err
	}
	defer os.RemoveAll(draft) // nothing is left of it after the rename
	if err := fill(folder(draft)); err != nil {
		return err
	}
	if err := os.Rename(draft, filepath.Clean(dir)); errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s: %w", dir, ErrExists)
	} else if err != nil {
		return err
	}
	return syncFolder(parent)
}

// makeKeys writes what an organisation has of its own into an empty folder: its
// authority, its administrator, and its settings.
func (d folder) makeKeys(cfg *InitConfig) (*Founder, error) {
	if cfg.URL != "" {
		if err := metainfo.CheckFederation(cfg.URL); err != nil {
			return nil, err
		}
	}
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
	return &Founder{MSP: cfg.Name, Administrator: admin, Created: uint64(cfg.Now.Unix()), Root: a.Root().Raw},
		d.writeJSON(settingsFile, settings{MSP: cfg.Name, URL: cfg.URL, Cost: cfg.Cost}, 0o600)
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
