package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/renameio/v2"
)

// renew makes the certificates of an organisation's processes and persons anew, of
// the same keys, and starts its processes again, one after the other. An orderer's
// key is what the channel's configuration knows it by, so that stays as it is.
func renew(ctx context.Context, o *options) error {
	n, made, err := openNetwork(o)
	switch {
	case err != nil:
		return err
	case !made || !n.Joined:
		return fmt.Errorf("%s holds no network: make one with up", n.dir)
	case o.organisation != ordererMSP && !slices.Contains(n.Members, o.organisation):
		return n.noOrganisation(o.organisation)
	}
	org, err := openOrganisation(n.organisation(o.organisation))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the authorities of %s were not kept (%w): make the network anew", o.organisation, err)
	}
	if err != nil {
		return err
	}
	late, err := org.renew()
	if err != nil {
		return err
	}
	return n.restart(ctx, o.organisation, late)
}

// renew makes both certificates of each process and person anew. What they are for
// is as it was. late tells that one had ended.
func (o *organisation) renew() (late bool, err error) {
	revoked, err := revokedBy(o.dir)
	if err != nil {
		return false, err
	}
	names, err := os.ReadDir(filepath.Join(o.dir, "nodes"))
	if err != nil {
		return false, err
	}
	for _, name := range names {
		dir := filepath.Join(o.dir, "nodes", name.Name())
		for path, by := range map[string]*authority{
			filepath.Join(dir, "msp", "signcerts", "cert.pem"): o.identities, filepath.Join(dir, "tls", "server.crt"): o.tls,
		} {
			before, err := readCertificate(path)
			if err != nil {
				return false, err
			}
			if by == o.identities && revoked(before) { // the key is another's, too
				fmt.Printf("%s was revoked, and stays so: it is not renewed\n", path)
				continue
			}
			if err := by.renew(path, before); err != nil {
				return false, err
			}
			late = late || time.Now().After(before.NotAfter)
		}
	}
	return late, nil
}

// renew puts a new certificate of the same key in the place of one.
func (a *authority) renew(path string, before *x509.Certificate) error {
	role := ""
	if units := before.Subject.OrganizationalUnit; len(units) > 0 {
		role = units[0]
	}
	der, err := a.certify(before.Subject.CommonName, role, before.PublicKey)
	if err != nil {
		return err
	}
	return renameio.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600)
}

// restart starts an organisation's processes again, and what else of the network
// does not run. Orderers are started again one after another, so that a majority is
// there. If their certificates had ended, those that run on would not know the first
// one: then all are, together.
func (n *network) restart(ctx context.Context, organisation string, late bool) error {
	if err := n.startAll(ctx); err != nil {
		return err
	}
	again := n.staying()
	if organisation != ordererMSP {
		p := n.peer(slices.Index(n.Members, organisation))
		again = []node{p, {Name: n.release().service(p)}, {Name: n.next().service(p)}}
	}
	together := late || organisation != ordererMSP
	for _, one := range again {
		if err := n.stop(one.Name); err != nil {
			return err
		}
		if together || n.comes(one) { // which may be no consenter yet, and is the last
			continue
		}
		if err := n.startAll(ctx); err != nil {
			return err
		}
		if err := waitFor(ctx, patience, func() error { return n.isBack(one) }); err != nil {
			return err
		}
	}
	if err := n.startAll(ctx); err != nil {
		return err
	}
	return waitFor(ctx, patience, n.hasLeader)
}
