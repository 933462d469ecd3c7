package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"torrente/internal/control"
)

// leave writes what a process leaves behind, or what one that runs has written.
func (h home) leave(t *testing.T, at control.At, owner int) {
	t.Helper()
	b, err := json.Marshal(at)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{control.File: string(b), pidFile: strconv.Itoa(owner)} {
		if err := os.WriteFile(h.path(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// What a dead process left is replaced by whoever takes the folder, and gone
// after it.
func TestTakeReplacesWhatIsStale(t *testing.T) {
	h := home(t.TempDir())
	h.leave(t, control.At{Address: "127.0.0.1:1", Token: "stale", PID: 999}, 999)
	release, running, err := h.takeOrReach(t.Context(), offersWallet)
	if err != nil || running != nil {
		t.Fatalf("%v, %v", running, err)
	}
	if _, err := os.Stat(h.path(control.File)); !os.IsNotExist(err) {
		t.Errorf("control.json is there: %v", err)
	}
	if h.owner() != os.Getpid() {
		t.Errorf("the owner is %d", h.owner())
	}
	release()
	if h.owner() != 0 {
		t.Errorf("the owner after it is %d", h.owner())
	}
}

// A folder that is held is reached by the control.json of its holder, and by no
// other; without one it is waited for.
func TestReachTheHolder(t *testing.T) {
	for name, c := range map[string]struct {
		at      control.At
		reached bool
	}{
		"its own":         {control.At{Address: "127.0.0.1:80", PID: 7, Offers: []string{offersRouter, offersWallet}}, true},
		"another command": {control.At{Address: "127.0.0.1:80", PID: 7, Offers: []string{offersRouter}}, false},
		"another's":       {control.At{Address: "127.0.0.1:80", PID: 8, Offers: []string{offersWallet}}, false},
		"far away":        {control.At{Address: "192.0.2.1:80", PID: 7, Offers: []string{offersWallet}}, false},
		"none of any use": {control.At{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := home(t.TempDir())
				release, err := h.take()
				if err != nil {
					t.Fatal(err)
				}
				defer release()
				h.leave(t, c.at, 7)
				began := time.Now()
				_, running, err := h.takeOrReach(t.Context(), offersWallet)
				if (running != nil) != c.reached {
					t.Errorf("%v, %v", running, err)
				}
				if busy, ok := errors.AsType[*inUse](err); !c.reached && (!ok || busy.pid != 7 || !strings.Contains(err.Error(), "(process 7): stop it")) {
					t.Errorf("%v", err)
				}
				if took := time.Since(began); took > reachTime+time.Second {
					t.Errorf("it took %s", took)
				}
			})
		})
	}
}

// Who waits for a folder gets it when its holder goes.
func TestTakeAfterTheHolder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := home(t.TempDir())
		release, err := h.take()
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Second, release)
		next, running, err := h.takeOrReach(t.Context(), offersWallet)
		if err != nil || running != nil {
			t.Fatalf("%v, %v", running, err)
		}
		defer next()
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if _, _, err := h.takeOrReach(ctx, offersWallet); !errors.Is(err, context.Canceled) {
			t.Errorf("interrupted: %v", err)
		}
	})
}

// A node waits for a command that has its folder for a while, and not for another node.
func TestTakeSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := home(t.TempDir())
		release, err := h.take()
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(3*time.Second, release)
		next, err := h.takeSoon(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer next()
		began := time.Now()
		if _, err := h.takeSoon(t.Context()); !isInUse(err) || time.Since(began) < leaveTime {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		h.leave(t, control.At{Address: "127.0.0.1:80", PID: os.Getpid(), Offers: []string{offersRouter}}, os.Getpid())
		began = time.Now()
		if _, err := h.takeSoon(t.Context()); !isInUse(err) || time.Since(began) > 0 {
			t.Errorf("from a node, after %s: %v", time.Since(began), err)
		}
	})
}

func isInUse(err error) bool {
	_, busy := errors.AsType[*inUse](err)
	return busy
}
