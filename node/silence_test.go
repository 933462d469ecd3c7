package node

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// journal is a log that a test reads.
type journal struct {
	mu   sync.Mutex // guards the following
	text bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *journal) count(what string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Count(j.text.String(), what)
}

// A ledger that is silent for ten minutes is known to be so, in torrents that
// are open and those that come, and is heard again as soon as it answers.
func TestSilentLedger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := startDealing(t)
		log := &journal{}
		n := New(Config{Member: d.seller, Log: slog.New(slog.NewTextHandler(log, nil))})
		defer n.Close()
		expect := func(when string, silent bool, gone, back int) {
			t.Helper()
			if n.purse.isSilent() != silent || log.count("does not answer") != gone || log.count("answers again") != back {
				t.Errorf("%s: silent %v, logged %d and %d", when, n.purse.isSilent(), log.count("does not answer"), log.count("answers again"))
			}
		}
		early := add(t, n, Options{Torrent: d.goods.torrent})
		pass(time.Hour)
		expect("after an hour", false, 0, 0)
		d.moody.set(true)
		pass(silenceTime - time.Second)
		expect("before ten minutes", false, 0, 0)
		pass(attendEvery + ledgerTime)
		expect("after ten minutes", true, 1, 0)
		pass(time.Hour)
		expect("much later", true, 1, 0)
		late := add(t, n, Options{Torrent: makeGoods(t, 1<<19, d.club.price()).torrent})
		if !early.Status().Unheard || !late.Status().Unheard {
			t.Error("the torrents do not know")
		}
		d.moody.set(false)
		pass(ledgerTime + attendSoon)
		expect("when it is back", false, 1, 1)
		if early.Status().Unheard || late.Status().Unheard {
			t.Error("the torrents do not know that it is back")
		}
	})
}
