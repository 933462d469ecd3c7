package federation

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"torrente/identity"
	"torrente/metainfo"
	"torrente/payment"
	"torrente/payment/contract"
	"torrente/payment/ledger"
)

// JoinConfig is how a folder of keys becomes part of a federation.
type JoinConfig struct {
	Dir     string
	Genesis []byte // the document that Found made
	Ledger  string // the URL of the portal that has the ledger; empty: this one has it
	Host    string // the organisation of that portal
	Profile string // the connection profile, if the ledger is on Fabric
	// HostRoots are, in PEM, the roots of the host's organisation if they are not those
	// of the genesis document any more.
	HostRoots []byte
}

// ErrJoined means that a folder has a ledger already.
var ErrJoined = errors.New("it is part of a federation already: another one needs a folder of its own")

// errNotJoined means that a folder has keys, and no ledger.
var errNotJoined = errors.New("it has keys, and no ledger yet: give it one with torrente federation join")

// Join takes a genesis document into a folder that MakeKeys made: its keys must
// be in it, or are admitted later by those who are, if they keep the ledger. Errors: ErrNoFederation, *InUse, ErrJoined, contract.ErrGenesis.
func Join(cfg JoinConfig) (*Facts, error) {
	d := folder(cfg.Dir)
	release, err := d.take()
	if err != nil {
		return nil, err
	}
	defer release()
	s, err := d.readSettings()
	if err != nil {
		return nil, err
	}
	if s.Ledger != "" || s.Profile != "" || exists(d.path(ledgerFolder, ledger.LogFile)) {
		return nil, fmt.Errorf("%s: %w", d, ErrJoined)
	}
	g, err := contract.ParseGenesis(cfg.Genesis)
	if err != nil {
		return nil, err
	}
	founder, err := d.founder(s.MSP)
	if err != nil {
		return nil, err
	}
	if err := founder.in(g, cfg.Ledger != "" || cfg.Profile != ""); err != nil {
		return nil, err
	}
	if err := d.takeLedger(&cfg, s, g); err != nil {
		return nil, err
	}
	facts := factsOf(cfg.Dir, founder, cfg.Genesis, g)
	facts.Waits = !slices.ContainsFunc(g.Organisations, func(o contract.Organisation) bool { return o.MSP == s.MSP })
	return facts, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// takeLedger begins the ledger here, or notes where it is.
func (d folder) takeLedger(cfg *JoinConfig, s settings, g *contract.Genesis) error {
	switch {
	case cfg.Profile != "":
		return d.takeProfile(cfg.Profile, cfg.Genesis)
	case cfg.Ledger == "":
		return ledger.Create(d.path(ledgerFolder), cfg.Genesis)
	}
	if err := metainfo.CheckFederation(cfg.Ledger); err != nil {
		return err
	}
	isHost := func(o contract.Organisation) bool { return o.MSP == cfg.Host }
	if cfg.Host == s.MSP || !slices.ContainsFunc(g.Organisations, isHost) {
		return fmt.Errorf("%.80q is no other organization of %s: name the one whose portal has the ledger", cfg.Host, g.Name)
	}
	if err := d.takeHostRoots(cfg.HostRoots); err != nil {
		return err
	}
	if err := d.write(genesisFile, cfg.Genesis, 0o600); err != nil {
		return err
	}
	s.Ledger, s.Host = cfg.Ledger, cfg.Host
	return d.writeJSON(settingsFile, s, 0o600)
}

var errHostRoots = errors.New("the host's roots are no certificates in PEM: ask the organization that has the ledger for those in the folder authorities of its federation")

// takeHostRoots keeps the roots of the organisation that has the ledger, if they are
// given: who comes late may find others than the genesis document's.
func (d folder) takeHostRoots(text []byte) error {
	if len(text) == 0 {
		return nil
	}
	roots, err := identity.DecodeCertificates(text)
	if err != nil {
		return errHostRoots // identity's sentence is for who enrolls
	}
	return d.write(hostRootsFile, identity.EncodeCertificates(roots), 0o644)
}

// takeProfile notes how a ledger on Fabric is reached, and what it begins with.
func (d folder) takeProfile(profile string, genesis []byte) error {
	s, err := d.readSettings()
	if err != nil {
		return err
	}
	s.Profile = profile
	return errors.Join(d.write(genesisFile, genesis, 0o600), d.writeJSON(settingsFile, s, 0o600))
}

// founder reads the public part of the keys in a folder.
func (d folder) founder(msp string) (*Founder, error) {
	roots, err := identity.ReadCertificateFile(d.path(authorityName(1) + ".pem"))
	if err != nil {
		return nil, err
	}
	admin, err := identity.ReadCertificateFile(d.path(treasuryChain))
	if err != nil {
		return nil, err
	}
	return &Founder{
		MSP: msp, Root: roots[0].Raw, Administrator: payment.AccountOf(msp, admin[0].RawSubjectPublicKeyInfo),
	}, nil
}

// in checks that a genesis document has the founder as it is, or later, not at all.
func (f *Founder) in(g *contract.Genesis, later bool) error {
	for _, o := range g.Organisations {
		if o.MSP != f.MSP {
			continue
		}
		if o.Administrator != f.Administrator || !slices.ContainsFunc(o.Roots, func(r []byte) bool { return bytes.Equal(r, f.Root) }) {
			return fmt.Errorf("%s has other keys of %s: found it anew with the founder's file of these keys", g.Name, f.MSP)
		}
		return nil
	}
	if later {
		return nil
	}
	return fmt.Errorf("%s has no organization %s: found it anew with this one's founder's file", g.Name, f.MSP)
}

func pemOf(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
