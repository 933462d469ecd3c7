package main

import (
	"errors"
	"os"
	"path/filepath"
)

// nodeOUs has Fabric read a certificate's role from its organisational unit.
const nodeOUs = `NodeOUs:
  Enable: true
  ClientOUIdentifier: {OrganizationalUnitIdentifier: client}
  PeerOUIdentifier: {OrganizationalUnitIdentifier: peer}
  AdminOUIdentifier: {OrganizationalUnitIdentifier: admin}
  OrdererOUIdentifier: {OrganizationalUnitIdentifier: orderer}
`

// organisation is the authorities of one, which are kept: that of its identities
// in folder ca, so that it can revoke, that of TLS in tlsca.
type organisation struct {
	dir        string
	identities *authority
	tls        *authority
}

// makeOrganisation makes the authorities of an organisation and its folder msp,
// which is what the channel knows of it.
func makeOrganisation(dir, msp string) (*organisation, error) {
	identities, err := newAuthority(msp + " identities")
	if err != nil {
		return nil, err
	}
	tls, err := newAuthority(msp + " TLS")
	if err != nil {
		return nil, err
	}
	o := &organisation{dir, identities, tls}
	return o, errors.Join(o.writeMSP(filepath.Join(dir, "msp")), identities.keep(filepath.Join(dir, "ca")), tls.keep(filepath.Join(dir, "tlsca")))
}

func openOrganisation(dir string) (*organisation, error) {
	identities, err := openAuthority(filepath.Join(dir, "ca"))
	if err != nil {
		return nil, err
	}
	tls, err := openAuthority(filepath.Join(dir, "tlsca"))
	return &organisation{dir, identities, tls}, err
}

func (o *organisation) writeMSP(dir string) error {
	return errors.Join(
		writePEM(filepath.Join(dir, "cacerts", "ca.pem"), "CERTIFICATE", o.identities.root.Raw),
		writePEM(filepath.Join(dir, "tlscacerts", "ca.pem"), "CERTIFICATE", o.tls.root.Raw),
		os.WriteFile(filepath.Join(dir, "config.yaml"), []byte(nodeOUs), 0o600),
	)
}

// makeNode makes the certificates of a process or a person: msp, with which it
// signs, and tls.
func (o *organisation) makeNode(name, role string) error {
	dir := filepath.Join(o.dir, "nodes", name)
	own, err := o.identities.issue(name, role)
	if err != nil {
		return err
	}
	tls, err := o.tls.issue(name, "")
	if err != nil {
		return err
	}
	return errors.Join(
		o.writeMSP(filepath.Join(dir, "msp")),
		writePEM(filepath.Join(dir, "msp", "signcerts", "cert.pem"), "CERTIFICATE", own.certificate),
		writePEM(filepath.Join(dir, "msp", "keystore", "priv_sk"), "PRIVATE KEY", own.key),
		writePEM(filepath.Join(dir, "tls", "server.crt"), "CERTIFICATE", tls.certificate),
		writePEM(filepath.Join(dir, "tls", "server.key"), "PRIVATE KEY", tls.key),
		writePEM(filepath.Join(dir, "tls", "ca.crt"), "CERTIFICATE", o.tls.root.Raw),
	)
}

// makeOrganisations makes all of a network's.
func (n *network) makeOrganisations() error {
	o, err := makeOrganisation(n.organisation(ordererMSP), ordererMSP)
	if err != nil {
		return err
	}
	for _, c := range n.consenters() {
		if err := o.makeNode(c.Name, "orderer"); err != nil {
			return err
		}
	}
	if err := o.makeNode("admin", "admin"); err != nil {
		return err
	}
	for _, msp := range n.Members {
		if err := n.makeMember(msp); err != nil {
			return err
		}
	}
	return nil
}

// makeMember makes the authorities and certificates of one member.
func (n *network) makeMember(msp string) error {
	o, err := makeOrganisation(n.organisation(msp), msp)
	if err != nil {
		return err
	}
	// The chaincode's service is a TLS server alone; its role is never used.
	for name, role := range map[string]string{"peer": "peer", "admin": "admin", "client": "client", "chaincode": "client"} {
		if err := o.makeNode(name, role); err != nil {
			return err
		}
	}
	return nil
}
