package main

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// listLifetime is how long a list of revoked certificates says that it is good.
const listLifetime = 365 * 24 * time.Hour

// revoke has no peer and no orderer take a Fabric identity any more: its
// organisation puts the certificate on a list in the channel's configuration,
// which its administrator alone may change. The coins of a member are not
// touched by it: those are the ledger's to freeze.
func revoke(ctx context.Context, o *options) error {
	n, made, err := openNetwork(o)
	if err != nil {
		return err
	}
	member := slices.Index(n.Members, o.organisation)
	switch {
	case !made || !n.Joined:
		return fmt.Errorf("%s holds no network: make one with up", n.dir)
	case member < 0:
		return n.noOrganisation(o.organisation)
	case o.certificate == "":
		return errors.New("name the certificate to revoke with --certificate")
	}
	c, err := readCertificate(o.certificate)
	if err != nil {
		return err
	}
	list, err := n.listRevoked(n.organisation(o.organisation), c)
	if err != nil {
		return err
	}
	dir := n.path("channel", "revoke-"+strings.ToLower(o.organisation))
	update, err := n.configUpdate(ctx, dir, func(config map[string]any) (bool, error) {
		return setRevoked(config, "Application", o.organisation, list)
	})
	if err != nil || update == "" {
		return err
	}
	return n.ordered(ctx, member, "", "channel", "update", "-c", channel, "-f", update)
}

func (n *network) noOrganisation(name string) error {
	return fmt.Errorf("%.80q is no organisation of the network, which are %s: name one with --org", name, strings.Join(n.Members, ", "))
}

// listRevoked adds certificates to the organisation's list, which names all
// that were revoked before: the channel knows one list. It returns the list.
func (n *network) listRevoked(organisation string, certificates ...*x509.Certificate) ([]byte, error) {
	a, err := openAuthority(filepath.Join(organisation, "ca"))
	if err != nil {
		return nil, err
	}
	before, err := listOf(organisation)
	if err != nil {
		return nil, err
	}
	list := &x509.RevocationList{
		Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(listLifetime),
		RevokedCertificateEntries: before.RevokedCertificateEntries,
	}
	if before.Number != nil {
		list.Number.Add(before.Number, list.Number)
	}
	for _, c := range certificates {
		if err := c.CheckSignatureFrom(a.root); err != nil {
			return nil, fmt.Errorf("the certificate of %q is not by this organisation's authority (%w): name the organisation that issued it", c.Subject.CommonName, err)
		}
		if names(list, c) {
			continue
		}
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: c.SerialNumber, RevocationTime: time.Now()})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, a.root, a.key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}), writePEM(listPath(organisation), "X509 CRL", der)
}

func listPath(organisation string) string { return filepath.Join(organisation, "ca", "revoked.pem") }

// listOf is an organisation's list as it is; there may be none yet.
func listOf(organisation string) (*x509.RevocationList, error) {
	der, err := readPEM(listPath(organisation))
	if errors.Is(err, fs.ErrNotExist) {
		return &x509.RevocationList{}, nil
	}
	if err != nil {
		return nil, err
	}
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", listPath(organisation), err)
	}
	return list, nil
}

func names(list *x509.RevocationList, c *x509.Certificate) bool {
	return slices.ContainsFunc(list.RevokedCertificateEntries, func(e x509.RevocationListEntry) bool { return e.SerialNumber.Cmp(c.SerialNumber) == 0 })
}

// revokedBy tells which certificates an organisation has revoked.
func revokedBy(organisation string) (func(*x509.Certificate) bool, error) {
	list, err := listOf(organisation)
	return func(c *x509.Certificate) bool { return names(list, c) }, err
}

// revokeOrderer puts all certificates of an orderer on the list of its organisation,
// those before a renewal, too: they are of the same key.
func (n *network) revokeOrderer(config map[string]any, o node) (bool, error) {
	certificates, err := issuedTo(filepath.Join(n.organisation(ordererMSP), "ca"), o.Name)
	if err != nil {
		return false, err
	}
	list, err := n.listRevoked(n.organisation(ordererMSP), certificates...)
	if err != nil {
		return false, err
	}
	return setRevoked(config, "Orderer", ordererMSP, list)
}

// setRevoked puts a list in place of the one that an organisation has.
func setRevoked(config map[string]any, group, msp string, list []byte) (bool, error) {
	of, err := within(config, "channel_group", "groups", group, "groups", msp, "values", "MSP", "value", "config")
	if err != nil {
		return false, err
	}
	of["revocation_list"] = []string{base64.StdEncoding.EncodeToString(list)}
	return true, nil
}
