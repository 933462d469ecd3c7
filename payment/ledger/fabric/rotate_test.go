//go:build fabric

package fabric

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"torrente/payment/contract"
	"torrente/payment/ledger"
)

// rotates puts new orderers in the places of two while all transact: of the leader,
// where the command is interrupted once, and of one that is dead for good. Then any of
// the three that there are may die.
func rotates(t *testing.T, n *realNetwork, m *members) {
	l := m.begin(t, n)
	leader := orderer(n.leader(t))
	n.rotateInterrupted(t, leader)
	l.recovers(t, "the rotation of the leader", time.Now())
	dead := orderer(n.orderers(t)[0])
	n.kill(t, dead)
	for _, path := range []string{dead, filepath.Join("organisations", "orderers", "nodes", dead)} {
		if err := os.RemoveAll(filepath.Join(n.dir, path)); err != nil {
			t.Fatal(err)
		}
	}
	n.run(t, "rotate", "--orderer", dead)
	l.recovers(t, "the rotation of a dead one", time.Now())
	l.finish(t, m)
	for _, gone := range []string{leader, dead} {
		if _, err := os.Stat(filepath.Join(n.dir, gone)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s has a folder: %v", gone, err)
		}
	}
	n.survivesAny(t, m)
	n.run(t, "down")
	n.run(t, "up")
	if got := n.orderers(t); len(got) != 3 || !slices.Contains(got, 3) || !slices.Contains(got, 4) {
		t.Errorf("orderers %v run", got)
	}
	c := n.client(t, "alpha")
	if r := must[ledger.Receipt](t)(c.Submit(t.Context(), transfer(t, c, m.Rich, m.Poor))); r.Code != contract.OK {
		t.Errorf("%+v", r)
	}
	m.conserved(t, c)
}

// rotateInterrupted rotates an orderer. The command is killed when it has sent a change
// of the channel's configuration, and given once more.
func (n *realNetwork) rotateInterrupted(t *testing.T, name string) {
	t.Helper()
	half := n.start(t, "rotate", "--orderer", name)
	ended := sync.OnceValue(func() error {
		_ = half.Process.Kill() // it may have ended
		return half.Wait()
	})
	t.Cleanup(func() { _ = ended() }) // if this fails before
	until(t, "the channel's configuration is to be changed", func() bool {
		_, err := os.Stat(filepath.Join(n.dir, "channel", "rotate-"+name, "update"))
		return err == nil
	})
	if err := ended(); err == nil {
		t.Fatal("it was rotated at once")
	}
	for _, other := range [][]string{{"add-org", "--org", "Epsilon"}, {"upgrade"}, {"rotate", "--orderer", "orderer4"}} {
		if err := n.try(other[0], other[1:]...); err == nil {
			t.Errorf("%s was done while %s was half rotated", other, name)
		}
	}
	n.run(t, "rotate", "--orderer", name)
	n.run(t, "rotate", "--orderer", name) // which has nothing to do
}

// survivesAny has each of the orderers die while all transact.
func (n *realNetwork) survivesAny(t *testing.T, m *members) {
	t.Helper()
	for _, number := range n.orderers(t) {
		l := m.begin(t, n)
		at := time.Now()
		n.kill(t, orderer(number))
		l.recovers(t, fmt.Sprintf("the death of %s", orderer(number)), at)
		n.run(t, "up")
		l.finish(t, m)
	}
}
