package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// cluster is a network that has joined the channel, whose programs are pretended. Ten
// of other numbers may run at once.
func cluster(t *testing.T, number int) *network {
	t.Helper()
	source := t.TempDir()
	bin := filepath.Join(source, "deploy", "fabric", "bin")
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(bin, "all"), read(own))
	for _, name := range fabricTools {
		if err := os.Link(filepath.Join(bin, "all"), filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	n, _, err := openNetwork(&options{dir: t.TempDir(), source: source, port: 30000 + number/5*1000 + number%5*100})
	if err != nil {
		t.Fatal(err)
	}
	n.Joined = true
	config := `{"channel_group":{"groups":{"Orderer":{"values":{"ConsensusType":{"value":{"metadata":{"consenters":[],"options":{"tick_interval":"100ms"}}}}},
		"groups":{"Orderers":{"values":{"Endpoints":{"value":{"addresses":[]}},"MSP":{"value":{"config":{"revocation_list":[]}}}}}}}}}}`
	for _, o := range n.consenters() {
		config = with(t, config, func(c map[string]any) (bool, error) { return addConsenter(c, o.Port, []byte(o.Name)) })
	}
	write(t, filepath.Join(bin, "config.json"), config)
	if err := errors.Join(n.make(t.Context()), n.save()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := down(context.Background(), n.opened()); err != nil {
			t.Error(err)
		}
	})
	if err := n.startAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	return n
}

// with is a configuration after a change.
func with(t *testing.T, config string, change func(map[string]any) (bool, error)) string {
	t.Helper()
	after, err := applied([]byte(config), change)
	if err != nil || after == nil {
		t.Fatal(string(after), err)
	}
	return string(after)
}

// An interrupted rotation is gone on with, wherever it was. In some of the states in
// which that makes a difference the orderer is dead.
func TestRotateGoesOn(t *testing.T) {
	steps := []struct {
		name string
		do   func(n *network) error
	}{
		{"at the beginning", func(*network) error { return nil }},
		{"keys are made", func(n *network) error { return n.makeComing() }},
		{"it is written down", func(n *network) error {
			return n.keep(n.makeComing, func() { n.Orderers, n.Leaving = n.Orderers+1, "orderer2" })
		}},
		{"the new one runs", func(n *network) error { return n.startAll(context.Background()) }},
		{"it reads blocks", func(n *network) error { return n.follow(context.Background(), n.coming()) }},
		{"both are consenters", func(n *network) error { return n.addConsenter(context.Background(), n.coming()) }},
		{"the old one is none", func(n *network) error { return n.removeConsenter(context.Background(), n.leaving()) }},
		{"the old one has ended", func(n *network) error { return n.stop("orderer2") }},
		{"its keys are gone", func(n *network) error { return os.RemoveAll(n.leaving().Dir) }},
		{"its folder is gone", func(n *network) error { return os.RemoveAll(n.path("orderer2")) }},
	}
	for i := range steps {
		t.Run(steps[i].name, func(t *testing.T) {
			t.Parallel()
			n := cluster(t, i)
			if i%2 == 0 && i < 5 {
				n.dies(t)
			}
			for _, step := range steps[:i+1] {
				if err := step.do(n); err != nil {
					t.Fatal(err)
				}
			}
			n.rotated(t)
		})
	}
}

// Taken out before the new one is in: what a dead orderer's rotation is in the middle.
func TestRotateGoesOnWithTwo(t *testing.T) {
	n := cluster(t, 0)
	n.dies(t)
	if err := n.keep(n.makeComing, func() { n.Orderers, n.Leaving = n.Orderers+1, "orderer2" }); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(n.startAll(t.Context()), n.removeConsenter(t.Context(), n.leaving())); err != nil {
		t.Fatal(err)
	}
	n.rotated(t)
}

// dies ends orderer2 for good: its disk is dead.
func (n *network) dies(t *testing.T) {
	t.Helper()
	if err := errors.Join(n.stop("orderer2"), os.RemoveAll(n.path("orderer2")), os.RemoveAll(n.orderer(1).Dir)); err != nil {
		t.Fatal(err)
	}
}

// rotated rotates orderer2, and checks that orderer4 is in its place everywhere.
func (n *network) rotated(t *testing.T) {
	t.Helper()
	for range 2 { // the second time there is nothing to do
		if err := rotate(t.Context(), &options{dir: n.dir, source: n.source, orderer: "orderer2"}); err != nil {
			t.Fatal(err)
		}
	}
	m := n.again(t)
	if m.Orderers != 4 || m.Leaving != "" || !slices.Equal(m.Gone, []string{"orderer2"}) || namesOf(m.consenters()) != "orderer1, orderer3, orderer4" {
		t.Errorf("%+v", m)
	}
	for _, path := range []string{m.path("orderer2"), m.orderer(1).Dir, m.pidFile("orderer2")} {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is there: %v", path, err)
		}
	}
	for _, o := range m.consenters() {
		if pid, err := m.running(o.Name); pid == 0 || err != nil {
			t.Errorf("%s does not run: %v", o.Name, err)
		}
	}
	m.channelKnows(t, n.Port, n.Port+40, n.Port+60)
	if text := read(m.path("peer-beta", "core.yaml")); !strings.Contains(text, fmt.Sprintf(`{from: "127.0.0.1:%d", to: "127.0.0.1:%d"`, n.Port+20, n.Port)) {
		t.Error(text)
	}
}

// channelKnows checks whom a channel has as orderers, and that it has a list of those
// that were revoked.
func (n *network) channelKnows(t *testing.T, ports ...int) {
	t.Helper()
	var config map[string]any
	if err := json.Unmarshal([]byte(read(n.tool("config.json"))), &config); err != nil {
		t.Fatal(err)
	}
	consenters, endpoints, err := orderersIn(config)
	if err != nil || len(consenters.list()) != len(ports) || len(endpoints.list()) != len(ports) {
		t.Fatal(consenters, endpoints, err)
	}
	for _, port := range ports {
		if !slices.ContainsFunc(consenters.list(), at(port)) || !slices.Contains(endpoints.list(), any(endpoint(port))) {
			t.Errorf("%d: %v, %v", port, consenters, endpoints)
		}
	}
	list, err := listOf(n.organisation(ordererMSP))
	if err != nil || len(list.RevokedCertificateEntries) != 1 || strings.Contains(read(n.tool("config.json")), `"revocation_list":[]`) {
		t.Errorf("%v, %v", list, err)
	}
}

func TestRotateIsRefused(t *testing.T) {
	n := planned(t)
	n.Joined, n.Begun, n.Packages = true, true, make([]string, 3)
	for name, says := range map[string]string{
		"orderer2": "", "orderer4": `"orderer4" is no orderer of the network, which are orderer1, orderer2, orderer3: name one with --orderer`,
	} {
		if err := n.mayRotate(true, name); (err == nil) != (says == "") || err != nil && err.Error() != says {
			t.Errorf("%s: %v", name, err)
		}
	}
	n.Orderers, n.Leaving = 4, "orderer2"
	half := "orderer2 was not rotated wholly: give rotate --orderer orderer2 once more, and go on then"
	for what, err := range map[string]error{"another": n.mayRotate(true, "orderer3"), "the new one": n.mayRotate(true, "orderer4"), "a member": n.mayJoin(true, "Delta")} {
		if err == nil || err.Error() != half {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := n.mayRotate(true, "orderer2"); err != nil {
		t.Error(err)
	}
	if err := n.save(); err != nil {
		t.Fatal(err)
	}
	if err := upgrade(t.Context(), n.opened()); err == nil || err.Error() != half {
		t.Errorf("an upgrade: %v", err)
	}
	n.Orderers, n.Leaving = maxOrderers, ""
	if err := n.mayRotate(true, "orderer2"); err == nil || !strings.Contains(err.Error(), "has had 1000 orderers, and can have no other") {
		t.Errorf("too many: %v", err)
	}
}

// No two orderers have a port, however often others were rotated.
func TestPortsAreUsedOnceMore(t *testing.T) {
	n := planned(t)
	for range 100 {
		n.passOver()
		n.Gone, n.Orderers = append(n.Gone, n.consenters()[2].Name), n.Orderers+1
		used := map[int]bool{}
		for _, o := range n.consenters() {
			used[o.Port] = true
		}
		if len(n.consenters()) != 3 || len(used) != 3 || n.consenters()[1].Name != "orderer2" {
			t.Fatal(namesOf(n.consenters()))
		}
	}
}

// An orderer is there once, whatever its certificate is, and nothing else is changed.
func TestConsentersAreChanged(t *testing.T) {
	empty := `{"channel_group":{"groups":{"Orderer":{"values":{"ConsensusType":{"value":{"metadata":{"consenters":[],"options":{"n":18446744073709551615}}}}},
		"groups":{"Orderers":{"values":{"Endpoints":{"value":{"addresses":[]}}}}}}}}}`
	one := with(t, empty, func(c map[string]any) (bool, error) { return addConsenter(c, 7050, []byte("a")) })
	two := with(t, one, func(c map[string]any) (bool, error) { return addConsenter(c, 7051, []byte("b")) })
	const of = `{"client_tls_cert":"YQ==","host":"127.0.0.1","port":7050,"server_tls_cert":"YQ=="}`
	if !strings.Contains(one, `"consenters":[`+of+`],"options":{"n":18446744073709551615}`) || !strings.Contains(two, `"addresses":["127.0.0.1:7050","127.0.0.1:7051"]`) {
		t.Errorf("%s\n%s", one, two)
	}
	if back := with(t, two, func(c map[string]any) (bool, error) { return removeConsenter(c, 7051) }); back != one {
		t.Errorf("%s became %s", one, back)
	}
	for what, change := range map[string]func(map[string]any) (bool, error){
		"added twice":     func(c map[string]any) (bool, error) { return addConsenter(c, 7050, []byte("c")) },
		"removed, absent": func(c map[string]any) (bool, error) { return removeConsenter(c, 7052) },
	} {
		if after, err := applied([]byte(two), change); after != nil || err != nil {
			t.Errorf("%s: %s, %v", what, after, err)
		}
		if _, err := applied([]byte(`{"channel_group":{}}`), change); err == nil || !strings.Contains(err.Error(), "has no groups") {
			t.Errorf("%s, of another network: %v", what, err)
		}
	}
}

// All certificates of an orderer are revoked, those before a renewal, too.
func TestAnOrdererIsRevokedWholly(t *testing.T) {
	n := planned(t)
	org, err := makeOrganisation(n.organisation(ordererMSP), ordererMSP)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(org.makeNode("orderer1", "orderer"), org.makeNode("orderer10", "orderer")); err != nil {
		t.Fatal(err)
	}
	if _, err := org.renew(); err != nil {
		t.Fatal(err)
	}
	config := map[string]any{}
	if err := json.Unmarshal([]byte(`{"channel_group":{"groups":{"Orderer":{"groups":{"Orderers":{"values":{"MSP":{"value":{"config":{}}}}}}}}}}`), &config); err != nil {
		t.Fatal(err)
	}
	if does, err := n.revokeOrderer(config, n.orderer(0)); !does || err != nil {
		t.Fatal(does, err)
	}
	list, err := listOf(org.dir)
	if err != nil || len(list.RevokedCertificateEntries) != 2 {
		t.Errorf("%v, %v", list, err)
	}
}
