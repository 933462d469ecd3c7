package main

import (
	"context"
	"crypto/x509"
	"encoding/hex"
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
	now    func() time.Time
}

// directoryTime is how long the federation may take to say who is revoked.
const directoryTime = 5 * time.Second

// openMember opens the identity of a home folder, which must be held. Without
// an enrolment it fails with errNotEnrolled.
func (h home) openMember(c *cobra.Command, std stdio) (m *member, err error) {
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
	client, err := remote.New(remote.Config{
		URL: d.Address(), Ledger: d.LedgerID, Now: now,
		Identity: func() *identity.Identity { return id }, Roots: func() *x509.CertPool { return d.Pool() },
	})
	if err != nil {
		return nil, err
	}
	trust, err := freshTrust(c.Context(), client, d)
	if err != nil {
		return nil, err
	}
	w, err := h.openWallet(id, d.LedgerID)
	if err != nil {
		return nil, err
	}
	return &member{&node.Membership{
		Identity: id, Trust: trust, Ledger: client, Wallet: w,
		Refresh: func(ctx context.Context) error { return refresh(ctx, client, trust) },
	}, client, now}, nil
}

// refresh brings what is trusted up to what the federation says now.
func refresh(ctx context.Context, client *remote.Client, trust *identity.Trust) error {
	d, err := client.Directory(ctx)
	if err != nil {
		return err
	}
	for _, a := range d.Authorities {
		root, err := x509.ParseCertificate(a.Certificate)
		if err != nil {
			return err
		}
		if !a.Trusted {
			trust.RemoveRoot(a.MSP, root)
		} else if err := trust.AddRoot(a.MSP, root); err != nil {
			return err
		}
	}
	for _, r := range d.Revoked {
		var key identity.KeyID
		if raw, err := hex.DecodeString(r.Key); err == nil && len(raw) == len(key) {
			trust.RevokeKey(identity.KeyID(raw))
		}
	}
	return nil
}

// freshTrust asks the federation whom to believe. While it cannot be reached,
// what it said last is believed.
func freshTrust(ctx context.Context, client *remote.Client, known *remote.Directory) (*identity.Trust, error) {
	ctx, cancel := context.WithTimeout(ctx, directoryTime)
	defer cancel()
	if d, err := client.Directory(ctx); err == nil {
		return d.Trust()
	}
	return known.Trust()
}

func (h home) openWallet(id *identity.Identity, ledger payment.LedgerID) (*wallet.Wallet, error) {
	key, err := wallet.DeriveKey(id.Key())
	if err != nil {
		return nil, err
	}
	p := id.Principal()
	return wallet.Open(string(h), wallet.Config{Account: payment.AccountOf(p.MSP, p.SPKI), Ledger: ledger, Key: key})
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
