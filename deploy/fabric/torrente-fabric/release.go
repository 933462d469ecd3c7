package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"
)

// release is one chaincode that the channel agrees on: a program, which each
// member runs as a service, and for each member a package that says where its
// own is.
type release struct {
	n        *network
	sequence int      // from 1
	packages []string // ids, one for each member; "": not installed yet
}

// release is the one that is in force.
func (n *network) release() *release { return &release{n, max(n.Sequence, 1), n.Packages} }

// next is the one that upgrade has not finished with, if there is one.
func (n *network) next() *release { return &release{n, max(n.Sequence, 1) + 1, n.Next} }

// suffix tells a release's files and services from those of the first.
func (r *release) suffix() string {
	if r.sequence == 1 {
		return ""
	}
	return "-" + strconv.Itoa(r.sequence)
}

// program is this network's own: another may be made from other source.
func (r *release) program() string { return r.n.path("bin", "torrente-chaincode"+r.suffix()) }

// service is the name of the service of a peer's member.
func (r *release) service(p node) string { return "chaincode-" + strings.ToLower(p.MSP) + r.suffix() }

// port is where a peer's chaincode service listens. The next release has another
// one: both run until the channel has agreed on it.
func (r *release) port(p node) int { return p.Port + chaincodePort + (r.sequence-1)%2 }

func (r *release) address(p node) string { return fmt.Sprintf("127.0.0.1:%d", r.port(p)) }

// label names a package in a peer's list of those that are installed.
func (r *release) label() string { return "torrente_" + strconv.Itoa(r.sequence) }

// definition is what all members have to agree on. The channel's own policy is
// the endorsement policy: a majority of the organisations.
func (r *release) definition() []string {
	s := strconv.Itoa(r.sequence)
	return []string{"--channelID", channel, "--name", chaincodeName, "--version", s, "--sequence", s}
}

// serve gives a member's peer the chaincode, and starts its service. A service is
// of one package: one that runs for another, as its peer's certificate is new, is
// started again.
func (r *release) serve(ctx context.Context, member int) error {
	before := r.packages[member]
	if err := r.n.keep(func() error { return r.install(ctx, member) }, func() {}); err != nil {
		return err
	}
	if r.packages[member] != before {
		if err := r.n.stop(r.service(r.n.peer(member))); err != nil {
			return err
		}
	}
	if err := r.start(member); err != nil {
		return err
	}
	return r.isUp(ctx, member)
}

// stop stops all its services.
func (r *release) stop() (failed error) {
	for _, p := range r.n.peers() {
		failed = errors.Join(failed, r.n.stop(r.service(p)))
	}
	return failed
}

func (r *release) installed(member int) bool {
	return member < len(r.packages) && r.packages[member] != ""
}

// install gives a member's peer its package: where the member's chaincode
// service is, and the keys for it.
func (r *release) install(ctx context.Context, member int) error {
	whole, err := r.pack(r.n.peer(member))
	if err != nil {
		return err
	}
	path := r.n.path(r.n.peer(member).Name, "chaincode"+r.suffix()+".tgz")
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		return err
	}
	_, err = r.n.asAdmin(ctx, member, "lifecycle", "chaincode", "install", path)
	if err := unless(err, "already successfully installed"); err != nil {
		return err
	}
	out, err := r.n.asAdmin(ctx, member, "lifecycle", "chaincode", "calculatepackageid", path)
	r.packages[member] = strings.TrimSpace(out)
	return err
}

// start starts a member's service if it has been installed.
func (r *release) start(member int) error {
	if !r.installed(member) {
		return nil
	}
	p := r.n.peer(member)
	tls := filepath.Join(r.n.organisation(p.MSP), "nodes", "chaincode", "tls")
	return r.n.start(r.service(p), []int{r.port(p)}, []string{
		"CHAINCODE_ID=" + r.packages[member], "CHAINCODE_SERVER_ADDRESS=" + r.address(p), "TORRENTE_LEDGER=" + r.n.Ledger,
		"CHAINCODE_TLS_KEY=" + filepath.Join(tls, "server.key"), "CHAINCODE_TLS_CERT=" + filepath.Join(tls, "server.crt"),
		"CHAINCODE_CLIENT_CA_CERT=" + filepath.Join(tls, "ca.crt"), "CORE_CHAINCODE_LOGGING_SHIM=warning",
	}, r.program())
}

// isUp waits until a member's service listens, if it has been installed.
func (r *release) isUp(ctx context.Context, member int) error {
	if !r.installed(member) {
		return nil
	}
	p := r.n.peer(member)
	return r.n.waitUntilUp(ctx, r.service(p), r.port(p))
}

// approve has a member approve the chaincode's definition with its own package.
// A peer that has joined late reads the blocks so far before it knows that it may.
func (r *release) approve(ctx context.Context, member int) error {
	args := append([]string{"lifecycle", "chaincode", "approveformyorg", "--package-id", r.packages[member]}, r.definition()...)
	return r.n.ordered(ctx, member, "with unchanged content", args...)
}

// define has every member approve the chaincode, and commits it.
func (r *release) define(ctx context.Context) error {
	var approvals errgroup.Group
	for i := range r.n.Members {
		approvals.Go(func() error { return r.approve(ctx, i) })
	}
	if err := approvals.Wait(); err != nil {
		return err
	}
	args := append([]string{"lifecycle", "chaincode", "commit"}, r.definition()...)
	for _, p := range r.n.peers() {
		args = append(args, "--peerAddresses", fmt.Sprintf("127.0.0.1:%d", p.Port), "--tlsRootCertFiles", filepath.Join(p.Dir, "tls", "ca.crt"))
	}
	// What it says when it was committed before.
	return r.n.ordered(ctx, 0, fmt.Sprintf("but new definition must be sequence %d", r.sequence+1), args...)
}
