package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"torrente/identity"
)

// rehearsed is a network of two members whose chaincode is a program that says who
// it is and listens, and whose tools of Fabric are a script that agrees to
// everything, as far as it is new: what is tested is what is left after an
// interruption. payment/ledger/fabric's tests upgrade a real one.
func rehearsed(t *testing.T) *network {
	t.Helper()
	source := t.TempDir()
	script := fmt.Sprintf(`#!/bin/sh
case "$*" in
*calculatepackageid*) for last; do :; done; echo id:$(sha256sum <$last | cut -c1-12);;
*approveformyorg*)
	s=$(echo "$*" | sed 's/.*--sequence \([0-9]*\).*/\1/')
	test $s -ge $(cat %[1]s/agreed 2>/dev/null || echo 1) || { echo "is larger than requested sequence $s" >&2; exit 1; };;
*"chaincode commit"*) echo "$*" | sed 's/.*--sequence \([0-9]*\).*/\1/' >%[1]s/agreed;;
esac
`, source)
	for _, name := range fabricTools {
		write(t, filepath.Join(source, "deploy", "fabric", "bin", name), script)
	}
	write(t, filepath.Join(source, "cmd", "torrente-chaincode", "go.mod"), "module chaincode\ngo 1.26\n")
	n, _, err := openNetwork(&options{dir: t.TempDir(), source: source, port: 31000})
	if err != nil {
		t.Fatal(err)
	}
	n.Members, n.Joined, n.Begun, n.Packages, n.Ledger = []string{"Alpha", "Beta"}, true, true, []string{"a", "b"}, "00"
	if err := errors.Join(n.makeOrganisations(), n.save()); err != nil {
		t.Fatal(err)
	}
	for _, p := range n.peers() {
		write(t, n.path(p.Name, "core.yaml"), "")
	}
	t.Cleanup(func() {
		if err := down(context.Background(), n.opened()); err != nil {
			t.Error(err)
		}
	})
	n.programmed(t, "first")
	return n
}

func (n *network) opened() *options { return &options{dir: n.dir, source: n.source} }

// programmed changes the source.
func (n *network) programmed(t *testing.T, name string) {
	t.Helper()
	write(t, filepath.Join(n.source, "cmd", "torrente-chaincode", "main.go"), `package main

import (
	"fmt"
	"net"
	"os"
)

func main() {
	fmt.Println("`+name+`", os.Getenv("CHAINCODE_ID"))
	l, err := net.Listen("tcp", os.Getenv("CHAINCODE_SERVER_ADDRESS"))
	if err != nil {
		panic(err)
	}
	for {
		l.Accept()
	}
}
`)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o700)); err != nil {
		t.Fatal(err)
	}
}

// half upgrades until the first of the new services runs.
func (n *network) half(t *testing.T) *network {
	t.Helper()
	n.Next = make([]string, len(n.Members))
	next := n.next()
	if err := errors.Join(n.save(), n.buildChaincode(t.Context(), next.program()), next.serve(t.Context(), 0)); err != nil {
		t.Fatal(err)
	}
	return n.again(t)
}

// again reads the network anew.
func (n *network) again(t *testing.T) *network {
	t.Helper()
	m, made, err := openNetwork(n.opened())
	if err != nil || !made {
		t.Fatal(made, err)
	}
	return m
}

// says is the last line of a service.
func (n *network) says(t *testing.T, service string) string {
	t.Helper()
	text, err := os.ReadFile(n.path("log", service))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return lines[len(lines)-1]
}

// upgraded ends an upgrade, and checks that the services are of the source as it is
// and of the packages that the channel has.
func (n *network) upgraded(t *testing.T, sequence int, source string) {
	t.Helper()
	if err := upgrade(t.Context(), n.opened()); err != nil {
		t.Fatal(err)
	}
	m := n.again(t)
	if m.Sequence != sequence || m.Next != nil || slices.Contains(m.Packages, "") {
		t.Fatalf("%+v", m)
	}
	for i, p := range m.peers() {
		if got, want := m.says(t, m.release().service(p)), source+" "+m.Packages[i]; got != want {
			t.Errorf("%s runs %q, not %q", p.MSP, got, want)
		}
		if pid, err := m.running((&release{m, sequence - 1, nil}).service(p)); pid != 0 || err != nil {
			t.Errorf("the service of before runs: %d, %v", pid, err)
		}
	}
}

func TestUpgrade(t *testing.T) {
	n := rehearsed(t)
	n.upgraded(t, 2, "first")
	n.programmed(t, "second")
	n.upgraded(t, 3, "second")
}

// What an interrupted upgrade had built is not gone on with: it may have been what
// was wrong.
func TestUpgradeTakesTheSourceAsItIs(t *testing.T) {
	n := rehearsed(t).half(t)
	n.programmed(t, "mended")
	n.upgraded(t, 2, "mended")
}

// A package holds a certificate of its peer's: if that was renewed meanwhile the
// service must be started again.
func TestUpgradeAfterARenewal(t *testing.T) {
	n := rehearsed(t).half(t)
	org, err := openOrganisation(n.organisation("Alpha"))
	if err != nil {
		t.Fatal(err)
	}
	if late, err := org.renew(); late || err != nil {
		t.Fatal(late, err)
	}
	n.upgraded(t, 2, "first")
}

// Killed when the channel had agreed, and nothing here said so: both services are
// started, so that calls are answered, and nobody joins before it is ended.
func TestInterruptedUpgrade(t *testing.T) {
	n := rehearsed(t).half(t)
	next := n.next()
	if err := errors.Join(next.serve(t.Context(), 1), next.define(t.Context()), down(t.Context(), n.opened())); err != nil {
		t.Fatal(err)
	}
	n = n.again(t)
	if err := n.mayJoin(true, "Delta"); !errors.Is(err, errUpgrading) {
		t.Error(err)
	}
	n.buildFirst(t)
	for i, p := range n.peers() {
		for _, r := range []*release{n.release(), n.next()} {
			if err := errors.Join(r.start(i), r.isUp(t.Context(), i)); err != nil {
				t.Fatal(err)
			}
			if got := n.says(t, r.service(p)); got != "first "+r.packages[i] {
				t.Error(got)
			}
		}
	}
	n.upgraded(t, 2, "first")
}

// buildFirst makes the program of the first release, which up makes.
func (n *network) buildFirst(t *testing.T) {
	t.Helper()
	if err := n.buildChaincode(t.Context(), n.release().program()); err != nil {
		t.Fatal(err)
	}
}

// A certificate that was revoked is not made anew: whoever else has its key could
// take the new one.
func TestWhatWasRevokedIsNotRenewed(t *testing.T) {
	n := planned(t)
	if err := n.makeMember("Alpha"); err != nil {
		t.Fatal(err)
	}
	org, err := openOrganisation(n.organisation("Alpha"))
	if err != nil {
		t.Fatal(err)
	}
	path := func(name string) string { return filepath.Join(org.dir, "nodes", name, "msp", "signcerts", "cert.pem") }
	before := map[string]string{}
	for _, name := range []string{"client", "peer"} {
		c, err := readCertificate(path(name))
		if err != nil {
			t.Fatal(err)
		}
		before[name] = c.SerialNumber.String()
		if name == "client" {
			if _, err := n.listRevoked(org.dir, c); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := org.renew(); err != nil {
		t.Fatal(err)
	}
	for name, same := range map[string]bool{"client": true, "peer": false} {
		c, err := readCertificate(path(name))
		if err != nil || (c.SerialNumber.String() == before[name]) != same {
			t.Errorf("%s: %v, %v", name, c, err)
		}
	}
}

// What is renewed is as it was but for its number and its time.
func TestRenew(t *testing.T) {
	a, err := newAuthority("Alpha identities")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "cert.pem")
	key, err := identity.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	der, err := a.certify("peer", "peer", &key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	if err := writePEM(path, "CERTIFICATE", der); err != nil {
		t.Fatal(err)
	}
	before, err := readCertificate(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.renew(path, before); err != nil {
		t.Fatal(err)
	}
	after, err := readCertificate(path)
	if err != nil {
		t.Fatal(err)
	}
	if after.SerialNumber.Cmp(before.SerialNumber) == 0 || !key.PublicKey.Equal(after.PublicKey) || after.Subject.String() != before.Subject.String() || after.CheckSignatureFrom(a.root) != nil {
		t.Errorf("%v became %v", before.Subject, after.Subject)
	}
}
