package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"torrente/identity"
	"torrente/node"
	"torrente/payment"
	"torrente/payment/ledger/remote"
	"torrente/payment/wallet"
)

// member is the identity of a home folder, with its ledger and its wallet.
type member struct {
	*node.Membership
	client *remote.Client
	at     *remote.Directory // of its federation, as it was at the enrolment
	now    func() time.Time
	aside  string // the folder of a wallet that could not be repaired
}

// directoryTime is how long the federation may take to say who is revoked.
const directoryTime = 5 * time.Second

// opening says how an identity is opened.
type opening struct {
	// trust asks the federation whom to believe, which only who meets peers has
	// to know.
	trust bool
	// repair leaves out what is damaged of the wallet, or begins a new one.
	repair bool
}

// openMember opens the identity of a home folder, which must be held. Without
// an enrolment it fails with errNotEnrolled.
func (h home) openMember(c *cobra.Command, std stdio, how opening) (m *member, err error) {
	d, err := readDirectory(string(h))
	if err != nil {
		return nil, err
	}
	now, err := clock()
	if err != nil {
		return nil, err
	}
	password, err := passwordOf(c, std, "the key in "+string(h))
	if err != nil {
		return nil, err
	}
	defer clear(password)
	id, err := identity.Load(h.path(keyFile), h.path(certificateFile), password)
	if err != nil {
		return nil, err
	}
	m = &member{Membership: &node.Membership{Identity: id}, at: d, now: now}
	m.client, err = remote.New(remote.Config{
		URL: d.Address(), Ledger: d.LedgerID, Now: now,
		Identity: m.Certified, Roots: func() *x509.CertPool { return d.Pool() },
	})
	if err != nil {
		return nil, err
	}
	if m.Trust, err = trustOf(c.Context(), m.client, d, how.trust); err != nil {
		return nil, err
	}
	if how.repair {
		m.Wallet, m.aside, err = h.repairWallet(id, d.LedgerID)
	} else {
		m.Wallet, err = h.openWallet(id, d.LedgerID)
	}
	if err != nil {
		return nil, err
	}
	m.Ledger = m.client
	m.Refresh = func(ctx context.Context) error { return refresh(ctx, m.client, m.Trust) }
	m.Renew = func(ctx context.Context) (*identity.Identity, error) { return h.renew(ctx, m) }
	return m, nil
}

// renew gets the next certificate and keeps it for the next start. While the
// federation gives the one that we have, it stays as it is.
func (h home) renew(ctx context.Context, m *member) (*identity.Identity, error) {
	old := m.Certified()
	chain, err := m.client.Renew(ctx)
	if err != nil || chain[0].Equal(old.Leaf()) {
		return old, err
	}
	next, err := identity.New(old.Key(), chain)
	if err != nil {
		return old, err
	}
	return next, identity.WriteCertificateFile(h.path(certificateFile), chain)
}

// refresh brings what is trusted up to what the federation says now.
func refresh(ctx context.Context, client *remote.Client, trust *identity.Trust) error {
	d, err := client.Directory(ctx)
	if err != nil {
		return err
	}
	return d.Update(trust)
}

// trustOf is whom to believe: what the federation says now if fresh asks for it
// and it can be reached, else what it said last.
func trustOf(ctx context.Context, client *remote.Client, known *remote.Directory, fresh bool) (*identity.Trust, error) {
	if !fresh {
		return known.Trust()
	}
	ctx, cancel := context.WithTimeout(ctx, directoryTime)
	defer cancel()
	if d, err := client.Directory(ctx); err == nil {
		return d.Trust()
	}
	return known.Trust()
}

func walletConfig(id *identity.Identity, ledger payment.LedgerID) (wallet.Config, error) {
	key, err := wallet.DeriveKey(id.Key())
	p := id.Principal()
	return wallet.Config{Account: payment.AccountOf(p.MSP, p.SPKI), Ledger: ledger, Key: key}, err
}

func (h home) openWallet(id *identity.Identity, ledger payment.LedgerID) (*wallet.Wallet, error) {
	config, err := walletConfig(id, ledger)
	if err != nil {
		return nil, err
	}
	return wallet.Open(string(h), config)
}

// repairWallet opens a wallet without the records that are damaged. If that does
// not help it begins a new one, and tells where the old one is.
func (h home) repairWallet(id *identity.Identity, ledger payment.LedgerID) (w *wallet.Wallet, aside string, err error) {
	config, err := walletConfig(id, ledger)
	if err != nil {
		return nil, "", err
	}
	config.SkipDamaged = true
	w, err = wallet.Open(string(h), config)
	if !errors.Is(err, wallet.ErrDamaged) {
		return w, "", err
	}
	aside = h.path("damaged-" + time.Now().UTC().Format("20060102-150405"))
	if err := wallet.SetAside(string(h), aside); err != nil {
		return nil, "", err
	}
	w, err = wallet.Open(string(h), config)
	return w, aside, err
}

func (m *member) close() error {
	return errors.Join(m.Wallet.Close(), m.client.Close())
}

// coins writes an amount for people.
func coins(a payment.Amount) string {
	if a == 1 {
		return "1 coin"
	}
	return fmt.Sprintf("%s coins", a)
}
