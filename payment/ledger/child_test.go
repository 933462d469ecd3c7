package ledger

import (
	"bufio"
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"torrente/payment/contract"
)

// childDir names the environment variable that turns the test program into a
// process that submits transactions until it is killed.
const childDir = "TORRENTE_LEDGER_CHILD"

// child writes its rows down often, so that kills hit that too. It submits the transactions of its standard input, many at once, and
// prints each that was acknowledged.
func child() {
	e, err := Open(os.Getenv(childDir), Config{Now: fixed(today), flushAt: 20})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	fmt.Println("ready")
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	slots := make(chan struct{}, 16)
	for lines.Scan() {
		raw, _ := hex.DecodeString(lines.Text())
		s, err := contract.ParseSigned(raw)
		if err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		slots <- struct{}{}
		go func() {
			r, err := e.Submit(context.Background(), s)
			if err != nil || r.Code != contract.OK {
				fmt.Println("error", err, r.Code)
			} else {
				fmt.Println(r.Tx)
			}
			<-slots
		}()
	}
	os.Exit(0)
}

// P4's half of the ledger: SIGKILL at whatever instruction loses nothing that
// was acknowledged, and what was not may be sent again.
func TestKilledProcessLosesNothing(t *testing.T) {
	dir := created(t)
	ledger := contract.GenesisID(crowd().genesis)
	var all []*contract.Signed
	acknowledged := map[string]bool{}
	for round := range 6 {
		var batch []*contract.Signed
		for range 300 {
			batch = append(batch, sign(t, crowd().alice, ledger, today, transfer(crowd().bob, 1)))
		}
		all = append(all, batch...)
		before := len(acknowledged)
		killAfter(t, dir, batch, 10+round*37, acknowledged)
		if len(acknowledged)-before < 10+round*37 {
			t.Fatalf("round %d: %d acknowledged", round, len(acknowledged)-before)
		}
		if r, err := Verify(dir); err != nil || r.Transactions < uint64(len(acknowledged)) {
			t.Fatalf("round %d: %d acknowledged, %+v, %v", round, len(acknowledged), r, err)
		}
	}
	e := opened(t, dir)
	for id := range acknowledged {
		var tx contract.TxID
		if err := tx.UnmarshalText([]byte(id)); err != nil {
			t.Fatal(err)
		}
		if _, found, err := e.receipt(tx); err != nil || !found {
			t.Errorf("%s was acknowledged and is gone: %v", id, err)
		}
	}
	for _, s := range all {
		if r := submit(t, e, s); r.Code != contract.OK {
			t.Errorf("sent again: %+v", r)
		}
	}
	if a := account(t, e, crowd().bob); int(a.Unswept) != len(all) {
		t.Errorf("%d transactions, %s coins", len(all), a.Unswept)
	}
	t.Logf("%d acknowledged before a kill, of %d", len(acknowledged), len(all))
}

// killAfter runs a child and kills it when it has acknowledged n transactions.
func killAfter(t *testing.T, dir string, batch []*contract.Signed, n int, acknowledged map[string]bool) {
	t.Helper()
	var input strings.Builder
	for _, s := range batch {
		fmt.Fprintf(&input, "%x\n", s.Append(nil))
	}
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	cmd.Stdin = strings.NewReader(input.String())
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var killed atomic.Bool
	timer := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	lines := bufio.NewScanner(out)
	for count := -1; lines.Scan(); count++ {
		if line := lines.Text(); strings.HasPrefix(line, "error") {
			t.Errorf("the child says: %s", line)
		} else if line != "ready" {
			acknowledged[line] = true
		}
		if count+1 == n && !killed.Swap(true) {
			_ = cmd.Process.Kill()
		}
	}
	if err := cmd.Wait(); !killed.Load() {
		t.Fatalf("the child ended by itself: %v", err)
	}
}
