package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

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
	for i := range n.Members {
		if err := n.serve(ctx, i); err != nil {
			return err
		}
	}
	if err := n.define(ctx); err != nil {
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

// serve gives a member's peer the chaincode, and starts its service.
func (n *network) serve(ctx context.Context, member int) error {
	if err := n.keep(func() error { return n.install(ctx, member) }, func() {}); err != nil {
		return err
	}
	if err := n.startChaincode(member); err != nil {
		return err
	}
	return n.chaincodeIsUp(ctx, member)
}

// chaincodeIsUp waits until a member's service listens, if it has been installed.
func (n *network) chaincodeIsUp(ctx context.Context, member int) error {
	if member >= len(n.Packages) || n.Packages[member] == "" {
		return nil
	}
	p := n.peer(member)
	return n.waitUntilUp(ctx, chaincodeOf(p), p.Port+chaincodePort)
}

// chaincodeOf is the name of the service of a peer's member.
func chaincodeOf(p node) string { return "chaincode-" + strings.ToLower(p.MSP) }

// ledgerID is the id of the ledger that was deployed.
func (n *network) ledgerID() (id payment.LedgerID, err error) {
	return id, id.UnmarshalText([]byte(n.Ledger))
}

// chaincodeAddress is where a member's chaincode service listens.
func (n *network) chaincodeAddress(member int) string {
	return fmt.Sprintf("127.0.0.1:%d", n.peer(member).Port+chaincodePort)
}

// install gives a member's peer its package: where the member's chaincode
// service is, and the keys for it.
func (n *network) install(ctx context.Context, member int) error {
	p := n.peer(member)
	text := map[string]string{}
	for key, file := range map[string]string{"root_cert": "ca.crt", "client_cert": "server.crt", "client_key": "server.key"} {
		b, err := os.ReadFile(filepath.Join(p.Dir, "tls", file))
		if err != nil {
			return err
		}
		text[key] = string(b)
	}
	connection, err := json.Marshal(map[string]any{
		"address": n.chaincodeAddress(member), "dial_timeout": "10s", "tls_required": true, "client_auth_required": true,
		"root_cert": text["root_cert"], "client_cert": text["client_cert"], "client_key": text["client_key"],
	})
	if err != nil {
		return err
	}
	code, err := archive("connection.json", connection)
	if err != nil {
		return err
	}
	whole, err := archive("metadata.json", []byte(`{"type":"ccaas","label":"torrente_1"}`), "code.tar.gz", string(code))
	if err != nil {
		return err
	}
	path := n.path(p.Name, "chaincode.tgz")
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		return err
	}
	_, err = n.asAdmin(ctx, member, "lifecycle", "chaincode", "install", path)
	if err := unless(err, "already successfully installed"); err != nil {
		return err
	}
	out, err := n.asAdmin(ctx, member, "lifecycle", "chaincode", "calculatepackageid", path)
	n.Packages[member] = strings.TrimSpace(out)
	return err
}

// archive makes a compressed archive of files: names and contents.
func archive(name string, content []byte, more ...string) ([]byte, error) {
	var out bytes.Buffer
	packed := gzip.NewWriter(&out)
	files := tar.NewWriter(packed)
	add := func(name string, content []byte) error {
		err := files.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(content)), ModTime: time.Unix(0, 0)})
		if err != nil {
			return err
		}
		_, err = files.Write(content)
		return err
	}
	err := add(name, content)
	for i := 0; i+1 < len(more) && err == nil; i += 2 {
		err = add(more[i], []byte(more[i+1]))
	}
	err = errors.Join(err, files.Close(), packed.Close()) // which write the end
	return out.Bytes(), err
}

// startChaincode starts a member's service if it has been installed.
func (n *network) startChaincode(member int) error {
	if member >= len(n.Packages) || n.Packages[member] == "" {
		return nil
	}
	p := n.peer(member)
	tls := filepath.Join(n.organisation(p.MSP), "nodes", "chaincode", "tls")
	return n.start(chaincodeOf(p), []int{p.Port + chaincodePort}, []string{
		"CHAINCODE_ID=" + n.Packages[member], "CHAINCODE_SERVER_ADDRESS=" + n.chaincodeAddress(member), "TORRENTE_LEDGER=" + n.Ledger,
		"CHAINCODE_TLS_KEY=" + filepath.Join(tls, "server.key"), "CHAINCODE_TLS_CERT=" + filepath.Join(tls, "server.crt"),
		"CHAINCODE_CLIENT_CA_CERT=" + filepath.Join(tls, "ca.crt"), "CORE_CHAINCODE_LOGGING_SHIM=warning",
	}, n.chaincodeProgram())
}

// ordered runs Fabric's peer command as the administrator of a member, through
// an orderer: the next one if one is dead, or has not found its leader yet. An
// error that says that an earlier run did the same is none.
func (n *network) ordered(ctx context.Context, member int, before string, args ...string) error {
	next := 0
	return waitFor(ctx, patience, func() error {
		o := n.orderer(next % n.Orderers)
		next++
		through := []string{"-o", fmt.Sprintf("127.0.0.1:%d", o.Port), "--tls", "--cafile", filepath.Join(o.Dir, "tls", "ca.crt")}
		_, err := n.asAdmin(ctx, member, append(args[:len(args):len(args)], through...)...)
		if before == "" {
			return err
		}
		return unless(err, before)
	})
}

// definition is what all members have to agree on. The channel's own policy is
// the endorsement policy: a majority of the organisations.
var definition = []string{"--channelID", channel, "--name", chaincodeName, "--version", "1", "--sequence", "1"}

// approve has a member approve the chaincode's definition with its own package.
// A peer that has joined late reads the blocks so far before it knows that it may.
func (n *network) approve(ctx context.Context, member int) error {
	args := append([]string{"lifecycle", "chaincode", "approveformyorg", "--package-id", n.Packages[member]}, definition...)
	return n.ordered(ctx, member, "with unchanged content", args...)
}

// define has every member approve the chaincode, and commits it.
func (n *network) define(ctx context.Context) error {
	var approvals errgroup.Group
	for i := range n.Members {
		approvals.Go(func() error { return n.approve(ctx, i) })
	}
	if err := approvals.Wait(); err != nil {
		return err
	}
	args := append([]string{"lifecycle", "chaincode", "commit"}, definition...)
	for _, p := range n.peers() {
		args = append(args, "--peerAddresses", fmt.Sprintf("127.0.0.1:%d", p.Port), "--tlsRootCertFiles", filepath.Join(p.Dir, "tls", "ca.crt"))
	}
	return n.ordered(ctx, 0, "but new definition must be sequence 2", args...) // when it was committed
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
