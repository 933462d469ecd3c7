package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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
	if err != nil {
		return err
	}
	names, err := os.ReadDir(filepath.Join(org.dir, "nodes"))
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := org.renewNode(name.Name()); err != nil {
			return err
		}
	}
	return n.restart(ctx, o.organisation)
}

// renewNode makes both certificates of a process or a person anew. What they are
// for is as it was.
func (o *organisation) renewNode(name string) error {
	dir := filepath.Join(o.dir, "nodes", name)
	return errors.Join(
		o.identities.renew(filepath.Join(dir, "msp", "signcerts", "cert.pem")),
		o.tls.renew(filepath.Join(dir, "tls", "server.crt")),
	)
}

// renew puts a new certificate in the place of one. A program that reads the file
// meanwhile finds one of the two.
func (a *authority) renew(path string) error {
	before, err := readCertificate(path)
	if err != nil {
		return err
	}
	role := ""
	if units := before.Subject.OrganizationalUnit; len(units) > 0 {
		role = units[0]
	}
	der, err := a.certify(before.Subject.CommonName, role, before.PublicKey)
	if err != nil {
		return err
	}
	if err := writePEM(path+".new", "CERTIFICATE", der); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// restart starts an organisation's processes again that run. Of orderers a majority
// is always there.
func (n *network) restart(ctx context.Context, organisation string) error {
	if organisation != ordererMSP {
		member := slices.Index(n.Members, organisation)
		p := n.peer(member)
		if err := errors.Join(n.stop(p.Name), n.stop(n.release().service(p))); err != nil {
			return err
		}
		return n.startAll(ctx)
	}
	for _, o := range n.consenters() {
		if err := n.stop(o.Name); err != nil {
			return err
		}
		if err := n.startAll(ctx); err != nil {
			return err
		}
		if err := waitFor(ctx, patience, func() error { return n.isBack(o) }); err != nil {
			return err
		}
	}
	return nil
}
