//go:build fabric

package main

import (
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"
)

// BenchmarkPaidOnFabric compares paid downloads with free ones of the same content
// while the ledger is on Fabric: by strangers, whom the seller has never seen, and
// by a buyer that it has. On loopback a block of the ledger takes 100 ms; over a
// line of 100 Mbit/s it takes 2 s. The targets are of the times: a stranger's at
// most plain / 0.96 + 4 commits, an acquainted buyer's plain / 0.98 + 1 commit.
func BenchmarkPaidOnFabric(b *testing.B) {
	for _, one := range []struct {
		name      string
		size      int64 // bytes
		line      int64 // bytes a second; 0: loopback
		blockTime string
		pairs     int
	}{
		{"loopback", 4 << 30, 0, "100ms", 6},
		{"100Mbit", 1 << 30, 100e6 / 8, "2s", 1},
	} {
		b.Run(one.name, func(b *testing.B) { benchFabric(b, benchSizeOr(b, one.size), one.line, one.blockTime, one.pairs) })
	}
}

// benchSizeOr is what TORRENTE_BENCH_MIB says, or n.
func benchSizeOr(b *testing.B, n int64) int64 {
	if m := benchSize(b); m != 1<<30 {
		return m
	}
	return n
}

func benchFabric(b *testing.B, size, line int64, blockTime string, pairs int) {
	b.Chdir(filepath.Join("..", ".."))
	fine := func(err error) {
		if err != nil {
			b.Helper()
			b.Fatal(err)
		}
	}
	s, err := newStage(b.Context(), stdio{out: io.Discard, err: io.Discard})
	fine(err)
	s.self, err = exec.LookPath("torrente")
	fine(err)
	s.network, err = newFabricNetwork(s)
	fine(err)
	s.network.blockTime = blockTime
	defer func() { fine(s.strike()) }()
	funds := (size/benchBlock + 1) * 5 / 4
	portal, err := s.federation(1 + int64(pairs)*(2*funds+1))
	fine(err)
	fine(s.enrol("seller", portal, 1))
	at, _, err := s.sell(size)
	fine(err)
	if line > 0 {
		at = startLine(b, at, line)
	}
	for b.Loop() { // once: it takes longer than a benchmark does
		times := map[string][]float64{}
		note := func(kind string, f func() (float64, error)) {
			seconds, err := f()
			fine(err)
			times[kind] = append(times[kind], seconds)
		}
		get := func(buyer, what string, i int, more ...string) func() (float64, error) {
			return func() (float64, error) {
				f, err := s.fetch(buyer, what, i, at, more...)
				return f.Seconds, err
			}
		}
		payUp := []string{"--pay-up-to", strconv.FormatInt(funds, 10)}
		for i := range pairs {
			buyer := fmt.Sprintf("buyer-%d", i)
			fine(s.enrol(buyer, portal, 2*funds))
			note("commit", func() (float64, error) {
				began := time.Now()
				_, err := s.do("federation", "fund", "--dir", s.path("federation"), "seller", "1")
				return time.Since(began).Seconds(), err
			})
			if i%2 == 0 { // the first and the last of three are not as fast
				note("plain", get(buyer, "free", i, "--plain"))
			}
			note("stranger", get(buyer, "sold", i, payUp...))
			note("acquainted", get(buyer, "sold", i, payUp...))
			if i%2 == 1 {
				note("plain", get(buyer, "free", i, "--plain"))
			}
		}
		plain, commit := median(times["plain"]), median(times["commit"])
		for _, kind := range []string{"plain", "stranger", "acquainted", "commit"} {
			b.Logf("%s: %.2f s", kind, times[kind])
		}
		b.ReportMetric(plain, "plain-s")
		b.ReportMetric(commit, "commit-s")
		b.ReportMetric(median(times["stranger"]), "stranger-s")
		b.ReportMetric(plain/0.96+4*commit, "stranger-target-s")
		b.ReportMetric(median(times["acquainted"]), "acquainted-s")
		b.ReportMetric(plain/0.98+commit, "acquainted-target-s")
	}
}

// startLine relays connections to an address at so many bytes a second, all
// together, each way.
func startLine(b *testing.B, to string, rate int64) string {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ways := [2]*line{{rate: rate}, {rate: rate}}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			d, err := net.Dial("tcp", to)
			if err != nil {
				c.Close()
				continue
			}
			all.Go(func() { ways[0].carry(c, d) })
			all.Go(func() { ways[1].carry(d, c) })
		}
	})
	b.Cleanup(func() { l.Close(); all.Wait() })
	return l.Addr().String()
}

// lateness is by how much a line makes up for timers that come late.
const lateness = 20 * time.Millisecond

// line is one way of a line: it carries rate bytes a second.
type line struct {
	rate int64

	mu   sync.Mutex // guards the following
	free time.Time  // when it has carried what it took
}

func (l *line) carry(from, to net.Conn) {
	defer from.Close()
	defer to.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		l.mu.Lock()
		l.free = time.Now().Add(max(-lateness, time.Until(l.free))).Add(time.Duration(int64(n) * int64(time.Second) / l.rate))
		wait := time.Until(l.free)
		l.mu.Unlock()
		timer := time.NewTimer(wait)
		<-timer.C
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}
