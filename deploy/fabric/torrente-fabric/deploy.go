package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"torrente/payment"
	"torrente/payment/contract"
	"torrente/payment/ledger/fabric"
)

func deploy(ctx context.Context, o *options) error {
	n, made, err := openNetwork(o)
	switch {
	case err != nil:
		return err
	case !made:
		return fmt.Errorf("%s holds no network: make one with up", n.dir)
	case o.genesis == "":
		return errors.New("name the ledger's genesis document with --genesis")
	case n.Begun:
		return fmt.Errorf("the chaincode is deployed already, for the ledger %s", n.Ledger)
	case !n.Joined:
		return fmt.Errorf("the network in %s is not complete: give up once more", n.dir)
	}
	return n.deploy(ctx, o.genesis)
}

// deploy installs the chaincode for one ledger with all members, has each
// approve it, commits that, and begins the ledger.
func (n *network) deploy(ctx context.Context, genesis string) error {
	document, err := os.ReadFile(genesis)
	if err != nil {
		return err
	}
	if _, err := contract.ParseGenesis(document); err != nil {
		return fmt.Errorf("%s: %w", genesis, err)
	}
	id := contract.GenesisID(document)
	if err := n.name(id); err != nil {
		return err
	}
	r := n.release()
	for i := range n.Members {
		if err := r.serve(ctx, i); err != nil {
			return err
		}
	}
	if err := r.define(ctx); err != nil {
		return err
	}
	if err := n.writeProfiles(id); err != nil {
		return err
	}
	return n.keep(func() error { return n.begin(ctx, document) }, func() { n.Begun = true })
}

// name sets the ledger that the chaincode is for. It stays: services of the
// chaincode may run that know of no other.
func (n *network) name(id payment.LedgerID) error {
	text, err := id.MarshalText()
	if err != nil {
		return err
	}
	if n.Ledger != "" && n.Ledger != string(text) {
		return fmt.Errorf("the chaincode is being deployed for the ledger %s: give its genesis document, or remove %s and make the network anew", n.Ledger, n.dir)
	}
	return n.keep(func() error { return nil }, func() {
		n.Ledger = string(text)
		n.Packages = append(n.Packages, make([]string, len(n.Members)-len(n.Packages))...)
	})
}

// ledgerID is the id of the ledger that was deployed.
func (n *network) ledgerID() (id payment.LedgerID, err error) {
	return id, id.UnmarshalText([]byte(n.Ledger))
}

// ordered runs Fabric's peer command as the administrator of a member, through
// an orderer: the next one if one is dead, or has not found its leader yet. An
// error that says that an earlier run did the same is none.
func (n *network) ordered(ctx context.Context, member int, before string, args ...string) error {
	next, all := 0, n.consenters()
	return waitFor(ctx, patience, func() error {
		err := n.through(ctx, all[next%len(all)], member, args...)
		next++
		if before == "" {
			return err
		}
		return unless(err, before)
	})
}

// through runs Fabric's peer command as the administrator of a member, through one
// orderer.
func (n *network) through(ctx context.Context, o node, member int, args ...string) error {
	orderer := []string{"-o", fmt.Sprintf("127.0.0.1:%d", o.Port), "--tls", "--cafile", n.ordererRoots()}
	_, err := n.asAdmin(ctx, member, append(args[:len(args):len(args)], orderer...)...)
	return err
}

// ordererRoots is the file of the roots of the orderers' TLS certificates.
func (n *network) ordererRoots() string {
	return filepath.Join(n.organisation(ordererMSP), "msp", "tlscacerts", "ca.pem")
}

// profilePath is where a member's connection profile is.
func (n *network) profilePath(msp string) string {
	return n.path("profiles", strings.ToLower(msp)+".json")
}

// writeProfiles writes a profile for each member: its own peer is the first
// gateway, and the others stand in for it.
func (n *network) writeProfiles(id payment.LedgerID) error {
	if err := os.MkdirAll(n.path("profiles"), 0o700); err != nil {
		return err
	}
	all := n.peers()
	for i, msp := range n.Members {
		own := filepath.Join(n.client(msp), "msp")
		p := &fabric.Profile{
			Ledger: id, Channel: channel, Chaincode: chaincodeName, MSP: msp, Organisations: len(all),
			Certificate: filepath.Join(own, "signcerts", "cert.pem"), Key: filepath.Join(own, "keystore", "priv_sk"),
		}
		for j := range all {
			at := all[(i+j)%len(all)]
			p.Gateways = append(p.Gateways, fabric.Gateway{MSP: at.MSP, Address: fmt.Sprintf("127.0.0.1:%d", at.Port), CA: filepath.Join(at.Dir, "tls", "ca.crt")})
		}
		if err := p.Write(n.profilePath(msp)); err != nil {
			return err
		}
	}
	return nil
}

// begin writes the genesis document's rows, as the first member.
func (n *network) begin(ctx context.Context, document []byte) error {
	p, err := fabric.ReadProfile(n.profilePath(n.Members[0]))
	if err != nil {
		return err
	}
	c, err := fabric.New(p)
	if err != nil {
		return err
	}
	return errors.Join(c.Begin(ctx, document), c.Close())
}
