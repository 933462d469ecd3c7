package federation

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"torrente/payment/contract"
	"torrente/payment/ledger"
	"torrente/payment/ledger/fabric"
)

// onFabric is a ledger on Hyperledger Fabric, which organisations keep together
// and which the portal reaches as one of them.
type onFabric struct {
	*fabric.Client
	genesis []byte
}

// Genesis returns the genesis document, of which this folder has a copy.
func (o *onFabric) Genesis() []byte { return o.genesis }

// Ledger says where the ledger is: here, at another portal, or on Fabric.
func (f *Federation) Ledger() string {
	switch {
	case f.settings.Profile != "":
		return "fabric"
	case f.settings.Ledger != "":
		return f.settings.Ledger
	}
	return "embedded"
}

// follow takes another connection profile, unless it is empty.
func (s *settings) follow(profile string) error {
	if profile == "" {
		return nil
	}
	if s.Profile == "" {
		return errNotOnFabric
	}
	s.Profile = profile
	return nil
}

var errNotOnFabric = errors.New("the ledger of this federation is not on Fabric, so that it has no connection profile: only init and join decide where a ledger is")

// profile is the path of a connection profile, which may be relative to the
// folder.
func (d folder) profile(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return d.path(path)
}

// readProfile reads a connection profile, which must be of the ledger that begins
// with the folder's genesis document.
func (d folder) readProfile(profile string) (p *fabric.Profile, genesis []byte, err error) {
	if genesis, err = readBounded(d.path(genesisFile)); err != nil {
		return nil, nil, err
	}
	path := d.profile(profile)
	if p, err = fabric.ReadProfile(path); err != nil {
		return nil, nil, fmt.Errorf("the connection profile of the ledger on Fabric: %w: have the network made with %s, which writes one", err, d.path(genesisFile))
	}
	if id := contract.GenesisID(genesis); p.Ledger != id {
		return nil, nil, fmt.Errorf("%s is of the ledger %v, and this federation's is %v: deploy the chaincode for this federation's genesis document", path, p.Ledger, id)
	}
	return p, genesis, nil
}

// openFabric connects to a ledger on Fabric, and begins it if nobody has.
func (d folder) openFabric(ctx context.Context, profile string) (*onFabric, error) {
	p, genesis, err := d.readProfile(profile)
	if err != nil {
		return nil, err
	}
	c, err := fabric.New(p)
	if err != nil {
		return nil, err
	}
	if err := c.Begin(ctx, genesis); err != nil {
		_ = c.Close() // why it could not be used is the error
		return nil, err
	}
	return &onFabric{c, genesis}, nil
}

// VerifyLedger checks the ledger of the federation in a folder from its blocks
// alone: see ledger.Verify and fabric.Client.Verify.
func VerifyLedger(ctx context.Context, dir string) (ledger.Report, error) {
	d := folder(dir)
	s, err := d.readSettings()
	if err == nil && s.Ledger != "" {
		return ledger.Report{}, fmt.Errorf("the ledger of this federation is at %s, of which this folder has no blocks: have %s verify it in its own folder", s.Ledger, s.Host)
	}
	if errors.Is(err, ErrNoFederation) || err == nil && s.Profile == "" {
		return ledger.Verify(d.path(ledgerFolder))
	}
	if err != nil {
		return ledger.Report{}, err
	}
	p, _, err := d.readProfile(s.Profile)
	if err != nil {
		return ledger.Report{}, err
	}
	c, err := fabric.New(p)
	if err != nil {
		return ledger.Report{}, err
	}
	r, err := c.Verify(ctx)
	return r, errors.Join(err, c.Close())
}
