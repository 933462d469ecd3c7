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

// books is the ledger behind a portal: the embedded one, which lies in the
// folder, or one on Hyperledger Fabric, which organisations keep together and
// which the portal reaches as one of them.
type books interface {
	ledger.Ledger
	Close() error
}

// openBooks opens the ledger that the settings name.
func (f *Federation) openBooks(ctx context.Context) error {
	if f.settings.Profile == "" {
		b, err := ledger.Open(f.dir.path(ledgerFolder), ledger.Config{Now: f.now, Log: f.log})
		if err != nil {
			return err
		}
		f.books, f.genesis = b, b.Genesis()
		return nil
	}
	var err error
	if f.genesis, err = readBounded(f.dir.path(genesisFile)); err != nil {
		return err
	}
	b, err := openFabric(ctx, f.dir.profile(f.settings.Profile), f.genesis)
	if err == nil {
		f.books = b
	}
	return err
}

// VerifyLedger checks the ledger of the federation in a folder from its blocks
// alone: see ledger.Verify and fabric.Client.Verify.
func VerifyLedger(ctx context.Context, dir string) (ledger.Report, error) {
	d := folder(dir)
	s, err := d.readSettings()
	if errors.Is(err, ErrNoFederation) || err == nil && s.Profile == "" {
		return ledger.Verify(d.path(ledgerFolder))
	}
	if err != nil {
		return ledger.Report{}, err
	}
	p, err := fabric.ReadProfile(d.profile(s.Profile))
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

// Ledger says where the ledger is: embedded, or fabric.
func (f *Federation) Ledger() string {
	if f.settings.Profile == "" {
		return "embedded"
	}
	return "fabric"
}

// profile is the path of a connection profile, which may be relative to the
// folder.
func (d folder) profile(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return d.path(path)
}

// openFabric connects to a ledger on Fabric, and begins it if nobody has.
func openFabric(ctx context.Context, profile string, genesis []byte) (*fabric.Client, error) {
	p, err := fabric.ReadProfile(profile)
	if err != nil {
		return nil, fmt.Errorf("the connection profile of the ledger on Fabric: %w: have the network made with this federation's genesis document, which writes one", err)
	}
	if id := contract.GenesisID(genesis); p.Ledger != id {
		return nil, fmt.Errorf("%s is of the ledger %v, and this federation's is %v: deploy the chaincode for this federation's genesis document", profile, p.Ledger, id)
	}
	c, err := fabric.New(p)
	if err != nil {
		return nil, err
	}
	if err := c.Begin(ctx, genesis); err != nil {
		_ = c.Close() // why it could not be used is the error
		return nil, err
	}
	return c, nil
}
