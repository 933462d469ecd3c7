package main

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
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
	// killsVariable says how often each side is killed, killSeedVariable where.
	killsVariable    = "TORRENTE_KILLS"
	killSeedVariable = "TORRENTE_KILL_SEED"
	// fewKills is how often without it.
	fewKills = 16
	// killRange is within how many hits of failpoints a process dies: a whole
	// download of killUnits has about a thousand.
	killRange = 250
	killUnits = 64
	// killPiece is the piece length: a piece has several units, killPieceUnits, so
	// that kills leave pieces that are not whole.
	killPiece      = "64KiB"
	killPieceUnits = 4
	// killPatience is how long a process may take to die or to finish.
	killPatience = 40 * time.Second
	// roundKills is how often one buyer is killed, or a seller of it. Each time
	// what is on its way is lost: one unit paid ahead, and a sixteenth of
	// killUnits that credit covers. A seller that was killed has forgotten which
	// those are, and sends sixteen a day in their place.
	roundKills = 3
	// maxStumbles is how often in a row a process may end by itself with an
	// error, because the other side is gone.
	maxStumbles = 5
)

// P4 and P5: whoever is killed, at whatever write, send or submit, buyer or
// seller: what was counted can be redeemed, what is owed is paid, and nothing
// is paid twice.
func TestKilledBuyerAndSellerOweNothing(t *testing.T) {
	t.Parallel()
	f := newFair(t, killsVariable, fewKills, killSeedVariable)
	f.found()
	for f.buyer.kills < f.wanted || f.seller.kills < f.wanted {
		r := f.newRound()
		switch {
		case f.buyer.kills < f.wanted:
			r.killBuyers(f.wanted)
		default:
			r.killSellers(f.wanted)
		}
		r.settle()
	}
	f.checkBooks()
	f.checkPoints()
}

// fair is a federation with a seller and a buyer, processes of a program that
// dies at failpoints.
type fair struct {
	*stage
	t             *testing.T
	rng           *rand.Rand
	wanted        int // kills of each side
	rounds        int
	port          string
	portal        string
	seller, buyer *victim // another buyer in each round
	funds         int     // what each buyer has, in coins; a unit costs one
	earned        uint64  // units redeemed so far
	bank          *victim // the federation, where it dies too
	listen        string  // its address
	saved         savings
}

// failpointProgram builds our program with failpoints.
func failpointProgram(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "torrente")
	if out, err := exec.Command("go", "build", "-tags", "failpoint", "-o", path, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v: %s", err, out)
	}
	return path
}

// newFair makes the place for a federation; environment variables say how many
// times each side dies, and where.
func newFair(t *testing.T, kills string, few int, seedVariable string) *fair {
	t.Helper()
	f := &fair{t: t, wanted: numberFrom(t, kills, few), funds: 2 * killUnits}
	seed := numberFrom(t, seedVariable, 1)
	f.rng = rand.New(rand.NewPCG(uint64(seed), 0))
	f.stage = &stage{ctx: t.Context(), std: stdio{err: t.Output()}, self: failpointProgram(t), dir: t.TempDir(), password: "one"}
	t.Cleanup(func() {
		if err := f.strike(); err != nil {
			t.Error(err)
		}
	})
	f.seller, f.buyer = newVictim(f, "seller"), newVictim(f, "")
	f.port = freePort(t, "127.0.0.1")
	return f
}

// end kills what still runs.
func (f *fair) end() {
	for _, v := range f.victims() {
		if v.last != nil {
			_ = v.last.cmd.Process.Kill() // it has ended already, or will
			<-v.last.says.done
		}
	}
}

func (f *fair) victims() map[string]*victim {
	all := map[string]*victim{"buyer": f.buyer, "seller": f.seller}
	if f.bank != nil {
		all["federation"] = f.bank
	}
	return all
}

func numberFrom(t *testing.T, variable string, otherwise int) int {
	t.Helper()
	s := os.Getenv(variable)
	if s == "" {
		return otherwise
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		t.Fatalf("%s=%s is no number from 1 on", variable, s)
	}
	return n
}

func (f *fair) fine(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// run runs one of our commands to its end, without failpoints.
func (f *fair) run(args ...string) string {
	f.t.Helper()
	out, err := f.do(args...)
	f.fine(err)
	return strings.TrimSpace(string(out))
}

// found begins the federation, and has the seller enrolled in it.
func (f *fair) found() {
	f.t.Helper()
	f.initiate()
	_, line, err := f.start("tracker http", "federation", "serve", "--dir", f.ledger(), "--listen", "127.0.0.1:0", "--tracker", "127.0.0.1:0")
	f.fine(err)
	f.portal = portalIn(line)
	f.enter("seller")
}

func (f *fair) initiate() {
	f.t.Helper()
	f.run("federation", "init", "--dir", f.ledger(), "--name", "fair", "--treasury", "1000000000", "--cost", "1,16")
}

// ledger is the federation's folder.
func (f *fair) ledger() string {
	if f.bank != nil {
		return filepath.Join(f.bank.disk.at, "federation")
	}
	return f.path("federation")
}

// portalIn is the portal's URL in what a federation says when it is served.
func portalIn(line string) string {
	_, rest, _ := strings.Cut(line, ": ")
	url, _, _ := strings.Cut(rest, " ")
	return url
}

// enter enrolls a member, as soon as the portal has time for one more.
func (f *fair) enter(name string) {
	f.t.Helper()
	code := f.run("federation", "invite", "--dir", f.ledger(), name)
	for end := time.Now().Add(killPatience); ; <-time.After(time.Second / 2) {
		_, err := f.do("enroll", "--home", f.path(name), "--federation", f.portal, "--name", name, "--cost", "1,16", "--invite", code)
		if err == nil {
			return
		}
		if !strings.Contains(err.Error(), "try again in a few seconds") || time.Now().After(end) {
			f.t.Fatal(err)
		}
	}
}

// victim is the side that is killed, as it was over all its processes.
type victim struct {
	fair   *fair
	home   string
	kills  int
	hit    map[string]bool // points that were reached
	killed map[string]int  // points where it died, and how often
	aimed  map[string]int  // points where it was to die
	deaths []string        // where the last ones were, in their order
	logs   int
	last   *life
	disk   *disk // that loses power when it dies; nil: none
}

func newVictim(f *fair, home string) *victim {
	return &victim{fair: f, home: home, hit: map[string]bool{}, killed: map[string]int{}, aimed: map[string]int{}}
}

// aim chooses where the next process dies: two times of three the first time at
// a point where none has died so far, if there is one, else at any hit.
func (v *victim) aim() string {
	rng := v.fair.rng
	alive := slices.DeleteFunc(slices.Sorted(maps.Keys(v.hit)), func(p string) bool { return v.killed[p] > 0 })
	if len(alive) > 0 && rng.IntN(3) > 0 {
		slices.SortStableFunc(alive, func(a, b string) int { return v.aimed[a] - v.aimed[b] })
		point := alive[0]
		v.aimed[point]++
		return point + "@1"
	}
	return fmt.Sprintf("%d:%d", rng.Uint32(), 1+rng.IntN(killRange))
}

// life is one process of a victim.
type life struct {
	victim *victim
	plan   string // where it is to die; empty: nowhere
	log    string
	cmd    *exec.Cmd
	says   *said
}

// begin starts a process; it has said something when until is found in it.
func (v *victim) begin(plan, until string, args ...string) *life {
	v.fair.t.Helper()
	v.logs++
	l := &life{
		victim: v, plan: plan, says: newSaid(until), cmd: v.fair.command(args...),
		log: v.fair.path(fmt.Sprintf("%s-%d.log", v.home, v.logs)),
	}
	l.cmd.Env = append(l.cmd.Env, "TORRENTE_HOME="+v.fair.path(v.home), "TORRENTE_FAILPOINT="+plan, "TORRENTE_FAILPOINT_LOG="+l.log)
	l.cmd.Stdout, l.cmd.Stderr = l.says, l.says
	if v.disk != nil {
		v.disk.boots(l.cmd)
	}
	v.fair.fine(l.cmd.Start())
	go func() { l.says.ended(l.cmd.Wait()) }()
	v.last = l
	return l
}

// ended reports whether the process has ended.
func (l *life) ended() bool {
	select {
	case <-l.says.done:
		return true
	default:
		return false
	}
}

// over waits for the end and notes how it came. It reports whether the process
// was killed at a failpoint.
func (l *life) over() (killed bool) {
	t := l.victim.fair.t
	t.Helper()
	select {
	case <-l.says.done:
	case <-time.After(killPatience):
		t.Fatalf("the %s with the failpoint %q did not end:\n%s\n%s", l.victim.home, l.plan, l.said(), l.victim.fair.purses())
	}
	status := l.cmd.ProcessState.Sys().(syscall.WaitStatus)
	killed = status.Signaled() && status.Signal() == syscall.SIGKILL
	return l.victim.note(l.log) && killed
}

func (l *life) said() string {
	l.says.mu.Lock()
	defer l.says.mu.Unlock()
	return l.says.text.String()
}

// stop interrupts the process and waits for it.
func (l *life) stop() (killed bool) {
	_ = l.cmd.Process.Signal(os.Interrupt) // it has ended already, or will
	return l.over()
}

// note reads a log of failpoints, and reports whether it ends with a kill.
func (v *victim) note(log string) (killed bool) {
	raw, err := os.ReadFile(log)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		v.fair.t.Fatal(err)
	}
	for line := range bytes.Lines(raw) {
		what, rest, _ := strings.Cut(strings.TrimSpace(string(line)), " ")
		point, _, _ := strings.Cut(rest, " ")
		v.hit[point] = true
		if what == "kill" {
			v.killed[point]++
			v.kills++
			v.deaths = append(v.deaths[max(0, len(v.deaths)-roundKills):], point)
			killed = true
		}
	}
	return killed
}

// round is one torrent that is sold and downloaded.
type round struct {
	*fair
	name     string // of the goods
	v1       bool   // units are judged with their pieces
	kills    int
	deserted bool // the seller died when the buyer was through
	memory   memory
	cut      losses // by power
}

func (f *fair) newRound() *round {
	f.t.Helper()
	f.rounds++
	r := &round{fair: f, name: fmt.Sprintf("goods-%d", f.rounds), v1: f.rounds%3 == 0, memory: newMemory()}
	f.buyer.home = fmt.Sprintf("buyer-%d", f.rounds)
	if f.buyer.disk != nil {
		if f.buyer.disk != f.seller.disk {
			f.buyer.disk.unmount() // of the last round
		}
		f.buyer.disk = newDisk(f, f.buyer.home)
	}
	f.enter(f.buyer.home)
	f.run("federation", "fund", "--dir", f.ledger(), f.buyer.home, strconv.Itoa(f.funds))
	f.fine(makeGoodsFile(f.path(r.name), killUnits<<14))
	kind := "--hybrid"
	if r.v1 {
		kind = "--v1"
	}
	f.run("create", f.path(r.name), "--home", f.path("seller"), "-o", r.torrent(), "--paid", kind, "--piece-length", killPiece)
	return r
}

// mayLose is how many units may be paid, or on the disk, and be on no record
// after each kill: one, or in v1 torrents those of a piece that is not judged.
func (r *round) mayLose() uint64 {
	if r.v1 {
		return killPieceUnits + 1
	}
	return 1
}

func (r *round) torrent() string { return r.path(r.name + ".torrent") }

// bought is the buyer's download folder.
func (r *round) bought() string { return r.path(r.buyer.home, "bought") }

// died looks at what a side that was killed has left.
func (r *round) died(v *victim) {
	r.t.Helper()
	r.look(v)
	if v.disk != nil {
		r.losePower(v)
	}
}

// sell starts a seller; nil if it died before it sold anything.
func (r *round) sell(plan string) *life {
	r.t.Helper()
	for range maxStumbles {
		l := r.seller.begin(plan, "seeding on port", "seed", r.torrent(), "--dir", r.dir, "--bind", "127.0.0.1", "--port", r.port)
		select {
		case <-l.says.found:
			return l
		case <-l.says.done:
		case <-time.After(killPatience):
			r.t.Fatalf("the seller does not begin:\n%s", l.said())
		}
		if l.over() {
			r.kills++
			r.died(r.seller)
			return nil
		}
		r.t.Logf("the seller ended: %s", l.said())
	}
	r.t.Fatal("the seller cannot begin")
	return nil
}

func (r *round) buy(plan string) *life {
	r.t.Helper()
	return r.buyer.begin(plan, "complete", "get", r.torrent(), "--dir", r.bought(), "--bind", "127.0.0.1",
		"--port", "0", "--peer", "127.0.0.1:"+r.port, "--pay-up-to", strconv.Itoa(r.funds))
}

// killBuyers downloads with buyers that die, until one lives to the end.
func (r *round) killBuyers(most int) {
	r.t.Helper()
	seller := r.sell("")
	for stumbles := 0; ; {
		plan := ""
		if r.buyer.kills < most && r.kills < roundKills {
			plan = r.buyer.aim()
		}
		b := r.buy(plan)
		switch {
		case b.over():
			r.kills, stumbles = r.kills+1, 0
			r.died(r.buyer)
			continue
		case b.cmd.ProcessState.Success():
			seller.stop()
			return
		}
		r.t.Logf("the buyer ended: %s", b.said())
		if stumbles++; stumbles == maxStumbles {
			r.t.Fatal("the buyer cannot go on")
		}
	}
}

// killSellers downloads from sellers that die. Mostly the buyer is started again
// too, which takes less time than the five seconds after which it calls a
// seller again; sometimes it has to do that.
func (r *round) killSellers(most int) {
	r.t.Helper()
	for stumbles := 0; ; {
		plan := ""
		if r.seller.kills < most && r.kills < roundKills {
			plan = r.seller.aim()
		}
		seller := r.sell(plan)
		if seller == nil {
			continue
		}
		b := r.buy("")
		if r.together(seller, b) {
			return
		}
		if r.waitForDeath(seller, b) {
			r.kills, stumbles = r.kills+1, 0
			r.died(r.seller)
			if r.seller.kills%max(8, most/10) == 0 && r.reunite(b) {
				return
			}
		} else if stumbles++; stumbles == maxStumbles {
			r.t.Fatal("the buyer cannot go on")
		}
		b.stop()
	}
}

// together waits until the download is complete, or one of the two has ended.
func (r *round) together(seller, b *life) (complete bool) {
	r.t.Helper()
	select {
	case <-b.says.done:
	case <-seller.says.done:
	case <-time.After(killPatience):
		r.t.Fatalf("neither ends; the buyer says %s\n%s", b.said(), r.purses())
	}
	if !b.ended() || !b.cmd.ProcessState.Success() {
		return false
	}
	b.over()
	if seller.stop() {
		r.kills, r.deserted = r.kills+1, true
		r.died(r.seller)
	}
	return true
}

// waitForDeath reports whether the seller was killed. If it is the buyer that
// has ended, the seller is stopped.
func (r *round) waitForDeath(seller, b *life) bool {
	r.t.Helper()
	if seller.ended() {
		return seller.over()
	}
	r.t.Logf("the buyer ended: %s", b.said())
	return seller.stop()
}

// reunite starts a seller for a buyer that goes on living, and reports whether
// the download was completed.
func (r *round) reunite(b *life) bool {
	r.t.Helper()
	seller := r.sell("")
	complete := r.together(seller, b)
	if !complete {
		r.t.Logf("the buyer did not go on: %s", b.said())
		seller.stop()
	}
	return complete
}

// killRedeems has the seller die once while it redeems: whatever is submitted a
// second time has the effect of once.
func (r *round) killRedeems() {
	r.t.Helper()
	points := []string{"remote.submit", "remote.submitted", "wallet.redeemed.write", "wallet.redeemed.written"}
	point := points[r.rounds%len(points)]
	if r.seller.begin(point+"@1", "redeemed", "wallet", "redeem").over() {
		r.kills++
		r.died(r.seller)
	}
}

// checkPoints wants every point that was reached to be one where a side died,
// if there were kills enough.
func (f *fair) checkPoints() {
	f.t.Helper()
	for side, v := range f.victims() {
		alive := slices.DeleteFunc(slices.Sorted(maps.Keys(v.hit)), func(p string) bool { return v.killed[p] > 0 })
		f.t.Logf("the %s was killed %d times at %d points, never at %q", side, v.kills, len(v.killed), alive)
		if v.kills < f.wanted {
			f.t.Errorf("the %s was killed %d times, of %d wanted", side, v.kills, f.wanted)
		}
		if len(alive) > 0 && v.kills >= 8*len(v.hit) {
			f.t.Errorf("the %s was never killed at %q", side, alive)
		}
	}
}
