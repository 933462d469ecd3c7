//go:build fabric

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	faultGoods = 384 << 20 // bytes: a download lasts for some commits
	faultUnits = faultGoods >> 14
	// faultPatience is how long a download may take in which the ledger was away.
	faultPatience = 90 * time.Second
	// demoNetworkPort is the first of the ports of a demonstration's network.
	demoNetworkPort = 17000
)

// Whatever part of the network dies in the middle of a paid download, the
// download ends whole and paid, and no coin is lost.
func TestDownloadsThroughFaultsOnFabric(t *testing.T) {
	f := newFaulty(t)
	for i, one := range []struct {
		what string
		kill func() []string
		// stops says that nothing is committed before it is repaired.
		stops bool
	}{
		{"nothing", func() []string { return nil }, false},
		{"the orderers' leader", func() []string { return []string{f.leader(t)} }, false},
		{"the portal's own peer", func() []string { return []string{"peer-alpha"} }, false},
		{"another organisation's peer", func() []string { return []string{"peer-beta"} }, false},
		{"an organisation's chaincode", func() []string { return []string{"chaincode-gamma"} }, false},
		{"two of three orderers", func() []string { return []string{"orderer1", "orderer2"} }, true},
		{"all", f.everything, true},
	} {
		t.Run(one.what, func(t *testing.T) { f.download(t, fmt.Sprintf("buyer-%d", i), one.kill, one.stops) })
	}
	f.verify(t)
}

// faulty is a federation on a network parts of which die, and its seller.
type faulty struct {
	*stage
	at   string // the seller's address
	sold uint64 // units so far
}

func newFaulty(t *testing.T) *faulty {
	t.Chdir(filepath.Join("..", ".."))
	s, err := newStage(t.Context(), stdio{out: io.Discard, err: io.Discard})
	fine := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	fine(err)
	s.self, err = exec.LookPath("torrente")
	fine(err)
	s.network, err = newFabricNetwork(s)
	fine(err)
	t.Cleanup(func() { // the test's context is done by then
		if err := s.strike(); err != nil {
			t.Error(err)
		}
	})
	portal, err := s.federation(1_000_000)
	fine(err)
	fine(s.enrol("seller", portal, 1))
	for i := range 7 {
		fine(s.enrol(fmt.Sprintf("buyer-%d", i), portal, 2*faultUnits))
	}
	f := &faulty{stage: s}
	f.at, _, err = s.sell(faultGoods)
	fine(err)
	return f
}

// download buys the goods, and has parts die while it does, which are started
// again when something was committed without them or, if that stops everything,
// when nobody leads the orderers any more.
func (f *faulty) download(t *testing.T, buyer string, kill func() []string, stops bool) {
	dir := f.path(buyer + "-got")
	c := f.command("get", f.path("sold.torrent"), "--home", f.path(buyer), "--dir", dir, "--bind", "127.0.0.1", "--port", "0",
		"--peer", f.at, "--pay-up-to", strconv.Itoa(2*faultUnits), "--json")
	var said strings.Builder
	c.Stderr = &said
	ended := make(chan error, 1)
	var out []byte
	go func() {
		var err error
		out, err = c.Output()
		ended <- err
	}()
	f.until(t, "a tenth of the goods is there", func() bool { return allocated(filepath.Join(dir, "goods")) > faultGoods/10 })
	parts := kill()
	for _, name := range parts {
		f.kill(t, name)
	}
	began := time.Now()
	if stops {
		f.until(t, "nobody leads", func() bool { return leads() == "" })
	} else if len(parts) > 0 {
		f.recovers(t, began)
	}
	if len(parts) > 0 {
		if err := f.network.run(t.Context(), "up"); err != nil {
			t.Fatal(err)
		}
	}
	if stops {
		f.recovers(t, began)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Fatalf("the download: %v: %s", err, said.String())
		}
	case <-time.After(faultPatience):
		t.Fatalf("the download does not end: %s", said.String())
	}
	var got getFacts
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	same, err := sameFiles(f.path("goods"), filepath.Join(dir, "goods"))
	if err != nil || !same || got.Paid != faultUnits {
		t.Errorf("the same: %v, %v; %d links paid, of %d", same, err, got.Paid, faultUnits)
	}
	f.sold += got.Paid
	t.Logf("%d MiB in %.2f s", faultGoods>>20, got.Seconds)
	if err := os.RemoveAll(dir); err != nil {
		t.Error(err)
	}
}

// recovers waits until the ledger commits again, by a transfer from the treasury,
// and prints how long that took.
func (f *faulty) recovers(t *testing.T, since time.Time) {
	t.Helper()
	if _, err := f.do("federation", "fund", "--dir", f.path("federation"), "seller", "1"); err != nil {
		t.Errorf("a transfer through the fault: %v", err)
	}
	t.Logf("the first commit after it came after %.2f s", time.Since(since).Seconds())
}

// verify redeems, and finds every link redeemed and every coin in its place.
func (f *faulty) verify(t *testing.T) {
	t.Helper()
	var redeemed redeemFacts
	var balance balanceFacts
	if err := errors.Join(
		f.doJSON(&redeemed, "wallet", "redeem", "--home", f.path("seller")),
		f.doJSON(&balance, "wallet", "balance", "--home", f.path("seller")),
	); err != nil {
		t.Fatal(err)
	}
	const funded = 1 + 6 // at the beginning, and through each fault
	if got := uint64(balance.Available); got != f.sold+funded || balance.Redeemable != 0 {
		t.Errorf("the seller has %d coins, and sold %d units and was given %d; %v are left to be redeemed", got, f.sold, funded, balance.Redeemable)
	}
	var books struct {
		Transactions uint64 `json:"transactions"`
		Minted       uint64 `json:"minted"`
		Frozen       uint64 `json:"frozen"`
		Conserved    bool   `json:"conserved"`
	}
	if err := f.doJSON(&books, "ledger", "verify", "--dir", f.path("federation")); err != nil {
		t.Fatal(err)
	}
	if !books.Conserved || books.Minted != 1_000_000 || books.Frozen != 0 {
		t.Errorf("%+v", books)
	}
	t.Logf("%d downloads of %d units: %d transactions", f.sold/faultUnits, faultUnits, books.Transactions)
}

// until waits for something that happens soon.
func (f *faulty) until(t *testing.T, what string, happened func() bool) {
	t.Helper()
	end := time.After(faultPatience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !happened() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("not within %s: %s", faultPatience, what)
		}
	}
}

// allocated is how much of a sparse file is on the disk, in bytes.
func allocated(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Sys().(*syscall.Stat_t).Blocks * 512
}

// pid is that of a process of the network.
func (f *faulty) pid(t *testing.T, name string) int {
	t.Helper()
	text, err := os.ReadFile(f.path("network", "pids", name))
	if err != nil {
		t.Fatal(err)
	}
	number, _, _ := strings.Cut(string(text), " ")
	pid, err := strconv.Atoi(number)
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// kill ends a process of the network, and waits until it is gone with its files
// and ports.
func (f *faulty) kill(t *testing.T, name string) {
	t.Helper()
	pid := f.pid(t, name)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatalf("kill %s: %v", name, err)
	}
	f.until(t, name+" is gone", func() bool {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		threads, gone := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		return err != nil || gone != nil || len(threads) <= 1 && strings.Contains(string(text), ") Z ")
	})
}

func (f *faulty) everything() (names []string) {
	all, err := filepath.Glob(f.path("network", "pids", "*"))
	if err != nil {
		return nil
	}
	for _, path := range all {
		names = append(names, filepath.Base(path))
	}
	return slices.Clip(names)
}

// leader is the orderer that leads, when one does.
func (f *faulty) leader(t *testing.T) (leader string) {
	t.Helper()
	f.until(t, "an orderer leads", func() bool {
		leader = leads()
		return leader != ""
	})
	return leader
}

// leads asks the orderers once who leads; nobody may at a moment.
func leads() string {
	web := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for i := range 3 {
		answer, err := web.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", demoNetworkPort+20*i+4))
		if err != nil {
			continue
		}
		text, _ := io.ReadAll(answer.Body) // a part of it leads nobody
		answer.Body.Close()
		if strings.Contains(string(text), `consensus_etcdraft_is_leader{channel="torrente"} 1`) {
			return fmt.Sprintf("orderer%d", i+1)
		}
	}
	return ""
}
