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
	case n.Ledger != "":
		return fmt.Errorf("the chaincode is deployed already, for the ledger %s", n.Ledger)
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
	if n.Ledger, err = hexID(id); err != nil {
		return err
	}
	n.Packages = make([]string, len(n.Members))
	for i := range n.Members {
		if err := n.install(ctx, i); err != nil {
			return err
		}
		if err := n.startChaincode(i); err != nil {
			return err
		}
	}
	if err := n.define(ctx); err != nil {
		return err
	}
	if err := n.writeProfiles(id); err != nil {
		return err
	}
	if err := n.begin(ctx, document); err != nil {
		return err
	}
	return n.save()
}

// ledgerID is the id of the ledger that was deployed.
func (n *network) ledgerID() (id payment.LedgerID, err error) {
	return id, id.UnmarshalText([]byte(n.Ledger))
}

func hexID(id payment.LedgerID) (string, error) {
	text, err := id.MarshalText()
	return string(text), err
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
	if _, err := n.asAdmin(ctx, member, "lifecycle", "chaincode", "install", path); err != nil {
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
	return n.start("chaincode-"+strings.ToLower(p.MSP), []string{
		"CHAINCODE_ID=" + n.Packages[member], "CHAINCODE_SERVER_ADDRESS=" + n.chaincodeAddress(member), "TORRENTE_LEDGER=" + n.Ledger,
		"CHAINCODE_TLS_KEY=" + filepath.Join(tls, "server.key"), "CHAINCODE_TLS_CERT=" + filepath.Join(tls, "server.crt"),
		"CHAINCODE_CLIENT_CA_CERT=" + filepath.Join(tls, "ca.crt"), "CORE_CHAINCODE_LOGGING_SHIM=warning",
	}, n.tool("torrente-chaincode"))
}

// throughOrderer is how Fabric's peer command reaches an orderer.
func (n *network) throughOrderer() []string {
	o := n.orderer(0)
	return []string{"-o", fmt.Sprintf("127.0.0.1:%d", o.Port), "--tls", "--cafile", filepath.Join(o.Dir, "tls", "ca.crt")}
}

// definition is what all members have to agree on. The channel's own policy is
// the endorsement policy: a majority of the organisations.
func (n *network) definition() []string {
	return append(n.throughOrderer(), "--channelID", channel, "--name", chaincodeName, "--version", "1", "--sequence", "1")
}

// approve has a member approve the chaincode's definition with its own package.
func (n *network) approve(ctx context.Context, member int) error {
	args := append([]string{"lifecycle", "chaincode", "approveformyorg", "--package-id", n.Packages[member]}, n.definition()...)
	_, err := n.asAdmin(ctx, member, args...)
	return err
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
	args := append([]string{"lifecycle", "chaincode", "commit"}, n.definition()...)
	for _, p := range n.peers() {
		args = append(args, "--peerAddresses", fmt.Sprintf("127.0.0.1:%d", p.Port), "--tlsRootCertFiles", filepath.Join(p.Dir, "tls", "ca.crt"))
	}
	_, err := n.asAdmin(ctx, 0, args...)
	return err
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
			Ledger: id, Channel: channel, Chaincode: chaincodeName, MSP: msp,
			Certificate: filepath.Join(own, "signcerts", "cert.pem"), Key: filepath.Join(own, "keystore", "priv_sk"),
		}
		for j := range all {
			at := all[(i+j)%len(all)]
			p.Gateways = append(p.Gateways, fabric.Gateway{Address: fmt.Sprintf("127.0.0.1:%d", at.Port), CA: filepath.Join(at.Dir, "tls", "ca.crt")})
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
