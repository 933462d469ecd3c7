package wallet

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"

	"torrente/payment"
)

// childDir names the environment variable that turns the test program into a
// process that fills a wallet until it is killed.
const childDir = "TORRENTE_WALLET_CHILD"

// child prints each thing after the wallet said that it is kept. It syncs and
// folds as often as it can, so that kills hit those too.
func child() {
	config := testConfig()
	config.SyncEvery, config.foldAt = time.Millisecond, 2048
	w, err := Open(os.Getenv(childDir), config)
	say := func(err error, format string, args ...any) {
		if err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		fmt.Printf(format+"\n", args...)
	}
	say(err, "ready")
	for n := len(w.Claims()); ; n++ {
		in, out := commitment(n, false), commitment(n, true)
		say(w.SaveClaim(in, payment.Signature{}), "claim %d 0", n)
		say(w.Reserve(Reservation{
			Request: payment.RequestID{byte(n >> 8), byte(n), 1}, Signed: []byte("open"), Openings: []Opening{openingOf(out, 9)},
		}), "open %d 9", n)
		for i := range uint32(40) {
			say(w.Link(in.ID(), linkOf(in, i+1)), "link %d %d", n, i+1)
			_, err := w.Owed(out.ID(), i)
			say(err, "owed %d %d", n, i)
		}
		say(w.SetCap(out.ID(), 20), "open %d 20", n)
		say(w.SignedClose(closeOf(in, 40)), "close %d 40", n)
	}
}

// kept is what children said, by number of chain: what is the most of each, and
// how many units.
type kept struct{ claims, opens, links, owed, closes map[int]uint32 }

func newKept() *kept {
	return &kept{map[int]uint32{}, map[int]uint32{}, map[int]uint32{}, map[int]uint32{}, map[int]uint32{}}
}

func (k *kept) note(t *testing.T, line string) {
	var what string
	var n int
	var value uint32
	if _, err := fmt.Sscan(line, &what, &n, &value); err != nil {
		t.Fatalf("the child says %q", line)
	}
	switch what {
	case "claim":
		k.claims[n] = value
	case "open":
		k.opens[n] = value
	case "link":
		k.links[n] = value
	case "owed":
		k.owed[n] = value + 1
	case "close":
		k.closes[n] = value
	}
}

// check looks for everything in a wallet. What was in the making when the child
// died may be there as well.
func (k *kept) check(t *testing.T, w *Wallet) {
	t.Helper()
	for n := range k.claims {
		c, held := w.Claim(commitment(n, false).ID())
		if !held || c.Best.Index < k.links[n] || c.Best.Index > k.links[n]+1 || c.Best != linkOf(&c.Commitment, c.Best.Index) {
			t.Errorf("claim %d: %v, %+v of %d", n, held, c.Best, k.links[n])
		}
		if k.closes[n] != 0 && (c.Close == nil || c.Close.Final != k.closes[n]) {
			t.Errorf("claim %d is not closed", n)
		}
	}
	for n, units := range k.opens {
		id := commitment(n, true).ID()
		o, held := w.Opening(id)
		if !held || o.Cap < units || o.Owed < k.owed[n] || o.Owed > k.owed[n]+1 {
			t.Errorf("opening %d: %v, %+v, %d owed", n, held, o, k.owed[n])
		}
		for i, unit := range must[[]uint32](t)(w.OwedUnits(id)) {
			if unit != uint32(i) {
				t.Errorf("opening %d: unit %d in place of %d", n, unit, i)
			}
		}
	}
	if pending := must[[]Submission](t)(w.PendingSubmissions()); len(pending) < len(k.opens) {
		t.Errorf("%d submissions of %d", len(pending), len(k.opens))
	}
}

// P4: SIGKILL at whatever instruction loses nothing that was acknowledged.
func TestKilledProcessLosesNothing(t *testing.T) {
	t.Parallel()
	dir, k := t.TempDir(), newKept()
	said := 0
	for round := range 60 {
		said += killAfter(t, dir, 1+round*round%197, k)
		w := must[*Wallet](t)(Open(dir, testConfig()))
		k.check(t, w)
		// What a child did not live to say is known now.
		for n := range k.claims {
			c, _ := w.Claim(commitment(n, false).ID())
			o, _ := w.Opening(commitment(n, true).ID())
			k.links[n], k.owed[n] = c.Best.Index, o.Owed
		}
		ok(t, w.Close())
		if t.Failed() {
			t.Fatalf("in round %d", round)
		}
	}
	t.Logf("%d things were acknowledged before 60 kills", said)
}

// killAfter runs a child and kills it when it has said n things. It returns how
// many it said before it died.
func killAfter(t *testing.T, dir string, n int, k *kept) (said int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	cmd.Stderr = os.Stderr
	out := must[io.ReadCloser](t)(cmd.StdoutPipe())
	ok(t, cmd.Start())
	timer := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if lines.Text() == "ready" {
			continue
		}
		k.note(t, lines.Text())
		if said++; said == n {
			_ = cmd.Process.Kill()
		}
	}
	_ = cmd.Wait() // killed
	if said < n {
		t.Fatalf("the child ended after %d lines, by itself", said)
	}
	return said
}
