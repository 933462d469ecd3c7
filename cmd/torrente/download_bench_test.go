package main

import (
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// benchSize is how much a benchmarked download moves: TORRENTE_BENCH_MIB, or
// 1 GiB.
func benchSize(b *testing.B) int64 {
	b.Helper()
	s := os.Getenv("TORRENTE_BENCH_MIB")
	if s == "" {
		return 1 << 30
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n <= 0 {
		b.Fatalf("TORRENTE_BENCH_MIB=%s is no number of MiB", s)
	}
	return n << 20
}

// benchBlock is a block, and a unit, in bytes.
const benchBlock = 16 << 10

// benchGoods makes one file and its torrent.
func benchGoods(b *testing.B, n int64, flags ...string) (dir, torrent string) {
	b.Helper()
	dir = b.TempDir()
	f, err := os.Create(filepath.Join(dir, "goods"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	if _, err := io.CopyN(f, rand.Reader, n); err != nil {
		b.Fatal(err)
	}
	torrent = filepath.Join(b.TempDir(), "goods.torrent")
	out, err := exec.Command("torrente", append([]string{"create", f.Name(), "-o", torrent}, flags...)...).CombinedOutput()
	if err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	return dir, torrent
}

// BenchmarkDownload is a download between two processes over loopback, from
// the start of `get` to its last verified piece, and the peak memory of both.
func BenchmarkDownload(b *testing.B) {
	n := benchSize(b)
	for _, kind := range []string{"--hybrid", "--v1", "--v2"} {
		b.Run("plain"+kind, func(b *testing.B) {
			dir, torrent := benchGoods(b, n, kind)
			seeder, at := benchSeed(b, dir, torrent)
			var took time.Duration
			var peak float64
			runs := 0
			for b.Loop() {
				d, kib := benchGet(b, torrent, at)
				took, peak, runs = took+d, max(peak, kib), runs+1
			}
			b.ReportMetric(float64(n)/(1<<20)/(took.Seconds()/float64(runs)), "MiB/s")
			b.ReportMetric(peak/1024, "get-peak-MiB")
			b.ReportMetric(peakKiB(b, seeder.Process.Pid)/1024, "seed-peak-MiB")
		})
	}
}

// BenchmarkPaidByStrangers compares a paid download with a free one of the same
// content, five times in turn: each time another buyer that the seller has never
// seen. The ratio is that of the medians.
func BenchmarkPaidByStrangers(b *testing.B) {
	n := benchSize(b)
	s, err := newStage(b.Context(), stdio{out: io.Discard, err: io.Discard})
	fine := func(err error) {
		if err != nil {
			b.Helper()
			b.Fatal(err)
		}
	}
	fine(err)
	s.self, err = exec.LookPath("torrente")
	fine(err)
	b.Cleanup(func() { s.strike() })
	funds := (n/benchBlock + 1) * 5 / 4
	portal, err := s.federation(1 + demoPairs*funds)
	fine(err)
	fine(s.enrol("seller", portal, 1))
	at, _, err := s.sell(n)
	fine(err)
	for b.Loop() { // once: it takes longer than a benchmark does
		var plain, paid []float64
		for i := range demoPairs {
			buyer := fmt.Sprintf("stranger-%d", i)
			fine(s.enrol(buyer, portal, funds))
			free, err := s.fetch(buyer, "free", i, at, "--plain")
			fine(err)
			bought, err := s.fetch(buyer, "sold", i, at, "--pay-up-to", strconv.FormatInt(funds, 10))
			fine(err)
			plain, paid = append(plain, free.Seconds), append(paid, bought.Seconds)
		}
		mib := float64(n) / (1 << 20)
		b.ReportMetric(mib/median(plain), "plain-MiB/s")
		b.ReportMetric(mib/median(paid), "paid-MiB/s")
		b.ReportMetric(median(plain)/median(paid), "paid-ratio")
	}
}

// benchSeed starts a seed and waits until it is ready.
func benchSeed(b *testing.B, dir, torrent string) (*exec.Cmd, string) {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	c := exec.Command("torrente", "seed", torrent, "--dir", dir, "--bind", "127.0.0.1", "--port", port, "--home", b.TempDir())
	said, err := c.StderrPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := c.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Process.Signal(os.Interrupt); c.Wait() })
	text, buf := "", make([]byte, 4096)
	for !strings.Contains(text, "seeding on port") {
		k, err := said.Read(buf)
		if err != nil {
			b.Fatalf("the seed said %q: %v", text, err)
		}
		text += string(buf[:k])
	}
	go io.Copy(io.Discard, said)
	return c, "127.0.0.1:" + port
}

var inTime = regexp.MustCompile(`complete, .* in (\S+) \(`)

// benchGet downloads once; it returns the time that get says and its peak
// memory in KiB.
func benchGet(b *testing.B, torrent, from string) (time.Duration, float64) {
	b.Helper()
	dir, err := os.MkdirTemp(b.TempDir(), "")
	if err != nil {
		b.Fatal(err)
	}
	defer os.RemoveAll(dir)
	c := exec.Command("torrente", "get", torrent, "--dir", dir, "--bind", "127.0.0.1", "--peer", from, "--home", filepath.Join(dir, "home"))
	out, err := c.CombinedOutput()
	if err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	m := inTime.FindSubmatch(out)
	if m == nil {
		b.Fatalf("get does not say its time: %s", out)
	}
	d, err := time.ParseDuration(string(m[1]))
	if err != nil {
		b.Fatal(err)
	}
	return d, maxRSS(c)
}

// peakKiB is the most memory that a running process has had.
func peakKiB(b *testing.B, pid int) float64 {
	b.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			if err != nil {
				b.Fatal(err)
			}
			return n
		}
	}
	b.Fatal("no VmHWM")
	return 0
}

// BenchmarkBareLoop is the least that a download of a hybrid torrent must do,
// with nothing around it: read blocks, send them over TCP, hash each twice,
// write them.
func BenchmarkBareLoop(b *testing.B) {
	const block = benchBlock
	n := benchSize(b)
	dir, _ := benchGoods(b, n)
	b.SetBytes(n)
	for b.Loop() {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		go func() {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			f, err := os.Open(filepath.Join(dir, "goods"))
			if err != nil {
				return
			}
			defer f.Close()
			buf := make([]byte, block)
			for at := int64(0); at < n; at += block {
				if _, err := f.ReadAt(buf[:min(block, n-at)], at); err != nil {
					return
				}
				if _, err := c.Write(buf[:min(block, n-at)]); err != nil {
					return
				}
			}
		}()
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		out, err := os.Create(filepath.Join(b.TempDir(), "out"))
		if err != nil {
			b.Fatal(err)
		}
		buf, sha := make([]byte, block), sha1.New()
		for at := int64(0); at < n; at += block {
			part := buf[:min(block, n-at)]
			if _, err := io.ReadFull(c, part); err != nil {
				b.Fatal(err)
			}
			sha256.Sum256(part)
			sha.Write(part)
			if _, err := out.WriteAt(part, at); err != nil {
				b.Fatal(err)
			}
		}
		c.Close()
		l.Close()
		out.Close()
		os.Remove(out.Name())
	}
}
