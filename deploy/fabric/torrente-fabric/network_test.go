package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"torrente/payment"
)

func planned(t *testing.T) *network {
	t.Helper()
	n, made, err := openNetwork(&options{dir: t.TempDir(), source: "../../..", port: 17000})
	if err != nil || made {
		t.Fatal(made, err)
	}
	return n
}

func TestPortsAreDistinct(t *testing.T) {
	n := planned(t)
	used := map[int]string{}
	for _, one := range append(n.consenters(), n.peers()...) {
		for _, after := range []int{0, 1, adminPort, operations, chaincodePort, chaincodePort + 1} {
			port := one.Port + after
			if other, twice := used[port]; twice || port >= n.Port+1000 {
				t.Errorf("port %d is of %s and %s", port, one.Name, other)
			}
			used[port] = one.Name
		}
	}
}

func TestNetworksAreKept(t *testing.T) {
	n := planned(t)
	n.Ledger, n.Packages = "abc", []string{"a", "b", "c"}
	if err := n.save(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := openNetwork(&options{dir: n.dir, source: "../../..", port: 18000}); err == nil || !strings.Contains(err.Error(), "has the ports from 17000 on, not 18000: leave --port out") {
		t.Errorf("other ports: %v", err)
	}
	if _, _, err := openNetwork(&options{dir: t.TempDir(), source: "../../..", port: 65000}); err == nil || !strings.HasSuffix(err.Error(), "give --port from 1 to 64536") {
		t.Errorf("ports that there are not: %v", err)
	}
	again, made, err := openNetwork(&options{dir: n.dir, source: "../../.."})
	if err != nil || !made || again.Ledger != "abc" || again.Port != 17000 || len(again.Packages) != 3 {
		t.Errorf("%+v, %v, %v", again, made, err)
	}
	again.Begun, again.Joining = true, "Delta"
	again.Members = append(again.Members, "Delta")
	for name, says := range map[string]string{
		"Delta": "", "Epsilon": "Delta has not joined wholly: give add-org --org Delta once more, and go on then",
	} {
		if err := again.mayJoin(true, name); (err == nil) != (says == "") || err != nil && err.Error() != says {
			t.Errorf("%s: %v", name, err)
		}
	}
	again.Joining = ""
	for _, name := range []string{"delta", "Orderers", "", "D-1"} {
		if err := again.mayJoin(true, name); err == nil {
			t.Errorf("%q may join", name)
		}
	}
	if err := again.name(payment.LedgerID{1}); err == nil || !strings.Contains(err.Error(), "for the ledger abc") {
		t.Errorf("another ledger: %v", err)
	}
	if err := os.WriteFile(n.path(networkFile), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := openNetwork(&options{dir: n.dir}); err == nil || !strings.Contains(err.Error(), "is damaged") {
		t.Errorf("damaged: %v", err)
	}
}

// All files are made, and no value of a template is left out.
func TestConfigurationsAreComplete(t *testing.T) {
	n := planned(t)
	for _, err := range []error{n.makeOrganisations(), n.writeBuilder(), n.configureChannel(), n.configureOrderer(n.orderer(1)), n.configurePeer(n.peer(2))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{n.path("channel", "configtx.yaml"), n.path("orderer2", "orderer.yaml"), n.path("peer-gamma", "core.yaml")} {
		text, err := os.ReadFile(path)
		if err != nil || strings.Contains(string(text), "no value") || strings.ContainsAny(string(text), "@") {
			t.Errorf("%s: %v\n%s", path, err, text)
		}
		for _, line := range strings.Split(string(text), "\n") {
			for _, word := range strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" {}[],", r) }) {
				if _, err := os.Stat(word); strings.HasPrefix(word, n.organisation("")) && err != nil {
					t.Errorf("%s names %s: %v", path, word, err)
				}
			}
		}
	}
}

// A node's certificates are of its own organisation's authorities.
func TestOrganisationsAreApart(t *testing.T) {
	a, err := newAuthority("a")
	if err != nil {
		t.Fatal(err)
	}
	b, err := newAuthority("b")
	if err != nil {
		t.Fatal(err)
	}
	p, err := a.issue("peer", "")
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(p.certificate)
	if err != nil {
		t.Fatal(err)
	}
	for who, good := range map[*authority]bool{a: true, b: false} {
		roots := x509.NewCertPool()
		roots.AddCert(who.root)
		if _, err := c.Verify(x509.VerifyOptions{Roots: roots, DNSName: "127.0.0.1"}); (err == nil) != good {
			t.Errorf("%s: %v", who.root.Subject.CommonName, err)
		}
	}
}

// A list names all that were revoked, and none of another organisation's.
func TestRevokedStayRevoked(t *testing.T) {
	n := planned(t)
	o, err := makeOrganisation(n.organisation("Alpha"), "Alpha")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(o.makeNode("one", "client"), o.makeNode("two", "client")); err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"one", "two", "one"} {
		c, err := readCertificate(filepath.Join(o.dir, "nodes", name, "msp", "signcerts", "cert.pem"))
		if err != nil {
			t.Fatal(err)
		}
		text, err := n.listRevoked(o.dir, c)
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(text)
		list, err := x509.ParseRevocationList(block.Bytes)
		if err != nil || len(list.RevokedCertificateEntries) != min(i+1, 2) || list.Number.Int64() != int64(i+1) || list.CheckSignatureFrom(o.identities.root) != nil {
			t.Errorf("%s: %+v, %v", name, list, err)
		}
	}
	other, err := newAuthority("other")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.listRevoked(o.dir, other.root); err == nil || !strings.Contains(err.Error(), "name the organisation that issued it") {
		t.Errorf("another's: %v", err)
	}
}

// A pid that another program has by now is left alone.
func TestOtherProcessesAreLeftAlone(t *testing.T) {
	n := planned(t)
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	if sleep, err = filepath.EvalSymlinks(sleep); err != nil {
		t.Fatal(err)
	}
	if err := n.start("one", nil, nil, sleep, "60"); err != nil {
		t.Fatal(err)
	}
	pid, err := n.running("one")
	if pid == 0 || err != nil {
		t.Fatal(pid, err)
	}
	if err := n.start("one", nil, nil, sleep, "60"); err != nil { // it runs already
		t.Fatal(err)
	}
	if again, _ := n.running("one"); again != pid {
		t.Errorf("process %d, then %d", pid, again)
	}
	began, err := beganAt(pid)
	if err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string]string{
		"another program": began + " /usr/bin/other", "another process of the same program": began + "1 " + sleep, "no time": sleep,
	} {
		if err := os.WriteFile(n.pidFile("other"), []byte(strconv.Itoa(pid)+" "+text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, _ := n.running("other"); got != 0 {
			t.Errorf("%s: process %d is taken for another", what, got)
		}
		if err := n.stop("other"); err != nil {
			t.Fatal(err)
		}
	}
	if got, _ := n.running("one"); got != pid {
		t.Error("it was ended")
	}
	if err := n.stop("one"); err != nil {
		t.Fatal(err)
	}
	if got, _ := n.running("one"); got != 0 {
		t.Errorf("process %d goes on", got)
	}
}

// A port that another has is taken for no success, and neither is a process that
// has ended.
func TestTakenPortsAreSaid(t *testing.T) {
	n := planned(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	err = n.start("one", []int{port}, nil, "/bin/sleep", "60")
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("one cannot start: port %d is taken", port)) || !strings.Contains(err.Error(), "another --port") {
		t.Errorf("%v", err)
	}
	if pid, err := n.running("one"); pid != 0 || err != nil {
		t.Errorf("process %d runs: %v", pid, err)
	}
	if err := n.start("two", nil, nil, "/bin/cat"); err != nil { // which ends, having nothing to read
		t.Fatal(err)
	}
	if err := listens(os.Getpid(), port); err != nil {
		t.Error(err)
	}
	if err := n.waitUntilUp(t.Context(), "two", port); err == nil || !strings.Contains(err.Error(), "two does not start, see "+n.path("log", "two")) {
		t.Errorf("a port of another: %v", err)
	}
}

// Networks of one source have chaincodes of their own.
func TestChaincodesAreApart(t *testing.T) {
	if a, b := planned(t), planned(t); a.release().program() == b.release().program() {
		t.Errorf("both have %s", a.release().program())
	}
}

// An archive is whole: both files come out of it.
func TestArchive(t *testing.T) {
	packed, err := archive("a", []byte("first"), "b", "second")
	if err != nil {
		t.Fatal(err)
	}
	plain, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	files, got := tar.NewReader(plain), ""
	for {
		h, err := files.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(files)
		if err != nil {
			t.Fatal(err)
		}
		got += h.Name + "=" + string(content) + " "
	}
	if got != "a=first b=second " {
		t.Errorf("%q", got)
	}
}
