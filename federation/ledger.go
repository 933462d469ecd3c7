package federation

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"torrente/identity"
	"torrente/payment/contract"
	"torrente/payment/ledger"
	"torrente/payment/ledger/remote"
)

// shared is the ledger of all organisations, wherever it is.
type shared interface {
	ledger.Ledger
	// Genesis returns the genesis document, which the caller must not change.
	Genesis() []byte
	Close() error
}

// hostPatience is how long the portal that has the ledger may be silent: an
// operator waits, and members' nodes try again themselves.
const hostPatience = 5 * time.Second

// elsewhere is the ledger that another organisation's portal has.
type elsewhere struct {
	*remote.Client
	genesis []byte
}

// Genesis returns the genesis document, of which this folder has a copy.
func (e *elsewhere) Genesis() []byte { return e.genesis }

// openLedger opens the ledger of the folder, or prepares to reach it.
func (f *Federation) openLedger(ctx context.Context) (err error) {
	switch {
	case f.settings.Profile != "":
		b, err := f.dir.openFabric(ctx, f.settings.Profile)
		if err == nil {
			f.ledger = b
		}
		return err
	case f.settings.Ledger != "":
		e, err := f.reachLedger()
		if err == nil {
			f.ledger = e
		}
		return err
	}
	f.books, err = ledger.Open(f.dir.path(ledgerFolder), ledger.Config{Now: f.now, Log: f.log})
	if errors.Is(err, ledger.ErrNone) {
		return fmt.Errorf("%s: %w", f.dir, errNotJoined)
	}
	if err == nil {
		f.ledger = f.books
	}
	return err
}

func (f *Federation) reachLedger() (*elsewhere, error) {
	document, err := readBounded(f.dir.path(genesisFile))
	if err != nil {
		return nil, err
	}
	g, err := contract.ParseGenesis(document)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.dir.path(genesisFile), err)
	}
	c, err := remote.New(remote.Config{
		URL: f.settings.Ledger, Ledger: contract.GenesisID(document), Now: f.now, Patience: hostPatience,
		Identity: func() *identity.Identity { return f.administrator() },
		Roots:    func() *x509.CertPool { return f.hostRoots(g) },
	})
	if err != nil {
		return nil, err
	}
	return &elsewhere{c, document}, nil
}

// hostRoots are the roots in which the certificate of the portal that has the
// ledger may end: those of its organisation, as the ledger says, or said last, or
// at first the genesis document.
func (f *Federation) hostRoots(g *contract.Genesis) *x509.CertPool {
	pool := x509.NewCertPool()
	add := func(der []byte) {
		if c, err := x509.ParseCertificate(der); err == nil {
			pool.AddCert(c)
		}
	}
	if s := f.standing(); s != nil {
		for _, a := range s.authorities {
			if a.Trusted && a.MSP == f.settings.Host {
				add(a.Certificate)
			}
		}
		return pool
	}
	if kept, err := identity.ReadCertificateFile(f.dir.path(hostRootsFile)); err == nil {
		for _, c := range kept {
			pool.AddCert(c)
		}
		return pool
	}
	for _, o := range g.Organisations {
		if o.MSP == f.settings.Host {
			for _, der := range o.Roots {
				add(der)
			}
		}
	}
	return pool
}

// keepHostRoots writes down the roots of the organisation that has the ledger, so
// that its portal is known at the next start whatever it has replaced meanwhile.
func (f *Federation) keepHostRoots(s *standing) error {
	if f.settings.Host == "" {
		return nil
	}
	var roots []*x509.Certificate
	for _, a := range s.authorities {
		if a.Trusted && a.MSP == f.settings.Host {
			c, err := x509.ParseCertificate(a.Certificate)
			if err != nil {
				return fmt.Errorf("a root of %s: %w", a.MSP, err)
			}
			roots = append(roots, c)
		}
	}
	text := identity.EncodeCertificates(roots)
	if before, err := readBounded(f.dir.path(hostRootsFile)); len(roots) == 0 || err == nil && bytes.Equal(before, text) {
		return nil
	}
	return f.dir.write(hostRootsFile, text, 0o644)
}
