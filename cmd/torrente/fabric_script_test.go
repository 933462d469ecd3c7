//go:build fabric

package main

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// onFabric are the scripts that are about a federation and its members, wherever
// its ledger is. clock.txt and renew.txt are not among them: they move the
// federation's clock, and a ledger on Fabric has its endorsers'.
var onFabric = []string{"consent", "federation_roots", "member_tracker", "paid", "paid_swarm", "paid_v1", "wallet"}

// firstPort is the first of the ports of the scripts' networks, a thousand each:
// below those that the kernel gives to whoever asks for any (from 32768 on), and
// apart from the demonstration's (17000) and those of payment/ledger/fabric's tests.
const firstPort = 18000

// mostNetworks are below the latter, which begin at 27000.
const mostNetworks = 9

// TestScriptsOnFabric runs scripts with a ledger on a real network: each has one
// of its own, of three orderers and three organisations.
func TestScriptsOnFabric(t *testing.T) {
	tool := filepath.Join(t.TempDir(), "torrente-fabric")
	source, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-o", tool, "./deploy/fabric/torrente-fabric")
	build.Dir = source
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var networks atomic.Int64
	// network brings one up for a genesis document, until the script ends.
	network := func(ts *testscript.TestScript, genesis string) {
		number := int(networks.Add(1) - 1)
		if number >= mostNetworks {
			ts.Fatalf("there are ports for %d networks", mostNetworks)
		}
		port := firstPort + 1000*number
		run := func(command string) error {
			return ts.Exec(tool, command, "--dir", ts.MkAbs("network"), "--source", source, "--port", strconv.Itoa(port), "--genesis", ts.MkAbs(genesis))
		}
		ts.Defer(func() { ts.Check(run("down")) })
		ts.Check(run("up"))
	}
	p := scripts(func(ts *testscript.TestScript, neg bool, args []string) {
		if neg {
			ts.Fatalf("usage: begin FLAGS")
		}
		ts.Check(ts.Exec("torrente", append([]string{
			"federation", "init", "--dir", "fed", "--ledger", "fabric", "--profile", ts.MkAbs("network/profiles/alpha.json"),
		}, args...)...))
		network(ts, "fed/genesis")
	})
	p.Cmds["network"] = func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) != 1 {
			ts.Fatalf("usage: network GENESIS")
		}
		network(ts, args[0])
	}
	// restart ends a network's processes and starts them with the script's clock.
	p.Cmds["restart"] = func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) > 0 {
			ts.Fatalf("usage: restart")
		}
		for _, command := range []string{"down", "up"} {
			ts.Check(ts.Exec(tool, command, "--dir", ts.MkAbs("network"), "--source", source))
		}
	}
	p.Files = append(p.Files, filepath.Join("testdata", "fabric", "council.txt"), filepath.Join("testdata", "fabric", "refund.txt"))
	for _, name := range onFabric {
		p.Files = append(p.Files, filepath.Join("testdata", "script", name+".txt"))
	}
	// Go's own caches are where the user has them: a script's HOME is no folder.
	for _, name := range []string{"HOME", "GOCACHE", "GOMODCACHE", "GOFLAGS", "GOPATH"} {
		if value, set := os.LookupEnv(name); set {
			setup := p.Setup
			p.Setup = func(e *testscript.Env) error {
				e.Setenv(name, value)
				return setup(e)
			}
		}
	}
	testscript.Run(t, p)
}

// What is interrupted while its network begins leaves no process.
func TestInterruptedNetworkOnFabric(t *testing.T) {
	t.Chdir(filepath.Join("..", ".."))
	ctx, interrupt := context.WithCancel(t.Context())
	s, err := newStage(ctx, stdio{out: io.Discard, err: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	if s.network, err = newFabricNetwork(s); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.network.up(s.path("genesis")) }()
	pids := s.path("network", "pids")
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for begun := false; !begun; {
		select {
		case <-tick.C:
			all, _ := os.ReadDir(pids) // there are none yet
			begun = len(all) > 0
		case err := <-ended:
			t.Fatal(err)
		}
	}
	began := time.Now()
	interrupt()
	if err := <-ended; err == nil || time.Since(began) > 10*time.Second {
		t.Errorf("%v, after %s", err, time.Since(began))
	}
	if err := s.network.down(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(pids); err != nil || len(left) > 0 {
		t.Errorf("%v are left: %v", left, err)
	}
	if err := s.strike(); err != nil {
		t.Error(err)
	}
}

// The demonstration, as a user runs it in the folder of the source.
func TestDemoOnFabric(t *testing.T) {
	c := exec.Command("torrente", "demo", "--size", "2MiB", "--ledger", "fabric", "--json")
	c.Dir = filepath.Join("..", "..")
	var said strings.Builder
	c.Stderr = &said
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, said.String())
	}
	var got demoFacts
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	if !got.Conserved || got.LinksPaid != 128 || got.Redeemed != 128 || got.Payer.Frozen != 0 || got.Minted != 161 {
		t.Errorf("%s", out)
	}
}
