//go:build fabric

package fabric

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// ticks is how many parts of a second Linux counts processor time in.
const ticks = 100

// usage is the processor time that kinds of processes have used.
type usage map[string]time.Duration

// usage adds up the network's processes by kind, and this one, the client.
func (n *realNetwork) usage(t testing.TB) usage {
	t.Helper()
	u := usage{}
	for _, f := range must[[]os.DirEntry](t)(os.ReadDir(filepath.Join(n.dir, "pids"))) {
		stat := must[[]byte](t)(os.ReadFile(fmt.Sprintf("/proc/%d/stat", n.pid(t, f.Name()))))
		_, after, _ := strings.Cut(string(stat), ") ")
		fields := strings.Fields(after)
		kind := strings.TrimRight(f.Name(), "123")
		kind, _, _ = strings.Cut(kind, "-")
		for _, i := range []int{11, 12} { // utime, stime
			u[kind] += time.Duration(must[int](t)(strconv.Atoi(fields[i]))) * time.Second / ticks
		}
	}
	var own syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &own); err != nil {
		t.Fatal(err)
	}
	u["client"] = time.Duration(own.Utime.Nano() + own.Stime.Nano())
	return u
}

// each says what was used since, by each of so many transactions.
func (u usage) each(before usage, count int) string {
	var all []string
	for _, kind := range []string{"peer", "chaincode", "orderer", "client"} {
		all = append(all, fmt.Sprintf("%s %.1f", kind, float64((u[kind]-before[kind]).Microseconds())/1000/float64(count)))
	}
	return "CPU ms a transaction: " + strings.Join(all, ", ")
}
