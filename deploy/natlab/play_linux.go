package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"torrente/internal/netlab"
)

const (
	port = 9003
	// unreachable is for how long two homes that cannot meet try.
	unreachable = 25 * time.Second
	// patience bounds a download: a seller that nobody can connect to learns of the
	// buyer at its next announce, which is within a minute and a half.
	patience = 4 * time.Minute
)

// result is what came of a path.
type result struct {
	complete   bool
	firstByte  time.Duration // from when the buyer's node was started
	mib        float64       // a second, of the whole download
	router     string        // the seller's node about its router
	doctor     []finding     // what torrente doctor finds where the seller is, before
	buyer      string        // what the buyer's node said last
	redeemable string        // the seller's, after the download
	redeemed   string
}

// play builds a path's lab, and has the seller sell to the buyer in it.
func (o *options) play(ctx context.Context, p path, say *told) (r *result, err error) {
	dir, err := os.MkdirTemp("", "torrente-natlab-")
	if err != nil {
		return nil, err
	}
	lab, err := netlab.New()
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	s := &stage{ctx: ctx, lab: lab, dir: dir, path: p, say: say, verbose: o.verbose}
	defer func() { err = errors.Join(err, s.strike()) }()
	if s.torrente, err = filepath.Abs(o.torrente); err != nil {
		return nil, err
	}
	if _, err := os.Stat(s.torrente); err != nil {
		return nil, fmt.Errorf("%w: build it with make build, or name it with --torrente", err)
	}
	say.line("two homes behind their routers: %s", p.about)
	if err := build(lab, p, dir); err != nil {
		return nil, err
	}
	return s.sell(int64(o.mib) << 20)
}

// sell is the demonstration: federation, seller, buyer, and what the seller earned.
func (s *stage) sell(size int64) (*result, error) {
	units := (size + 16<<10 - 1) / (16 << 10)
	funds := units*5/4 + 1
	portal, err := s.federation(funds)
	if err != nil {
		return nil, err
	}
	s.say.line("the federation and its tracker are on the public side: %s", portal)
	for _, name := range []string{"seller", "buyer"} {
		if err := s.enrol(name, portal); err != nil {
			return nil, err
		}
	}
	if _, err := s.do("net", "federation", "fund", "--dir", s.file("federation"), "buyer", strconv.FormatInt(funds, 10)); err != nil {
		return nil, err
	}
	s.say.line("seller and buyer are enrolled, the buyer with %d coins", funds)
	r := &result{}
	if r.doctor, err = s.examine(); err != nil {
		return nil, err
	}
	for _, f := range r.doctor {
		s.say.line("doctor at the seller's: %-8s %-8s %s", f.Verdict, f.About, f.Says)
	}
	seller, err := s.seed(size)
	if err != nil {
		return nil, err
	}
	r.router = seller.line("port " + strconv.Itoa(port) + " ")
	s.say.line("the seller: %s", r.router)
	if err := s.get(r, size, funds); err != nil {
		return nil, err
	}
	if !r.complete {
		s.say.line("the buyer: %s", r.buyer)
		return r, nil
	}
	s.say.line("the buyer has %d MiB, the first byte after %.1f s, at %.0f MiB/s", size>>20, r.firstByte.Seconds(), r.mib)
	return r, s.redeem(r)
}

func (s *stage) federation(funds int64) (portal string, err error) {
	at := net.JoinHostPort(public[s.path.v6], "9443")
	portal = "https://" + at
	_, err = s.do("net", "federation", "init", "--dir", s.file("federation"), "--name", "natlab", "--url", portal, "--price", "1",
		"--treasury", strconv.FormatInt(funds, 10), "--cost", "1,16")
	if err != nil {
		return "", err
	}
	_, err = s.start("net", "tracker http", "federation", "serve", "--dir", s.file("federation"), "--listen", at,
		"--tracker", net.JoinHostPort(public[s.path.v6], "9080"))
	return portal, err
}

func (s *stage) enrol(name, portal string) error {
	code, err := s.do("net", "federation", "invite", "--dir", s.file("federation"), name)
	if err != nil {
		return err
	}
	_, err = s.do(name, "enroll", "--home", s.file(name), "--federation", portal, "--invite", strings.TrimSpace(code), "--cost", "1,16")
	return err
}

// finding is a line of torrente doctor.
type finding struct{ About, Verdict, Says string }

// examine has doctor tell what it finds where the seller is.
func (s *stage) examine() (found []finding, err error) {
	out, err := s.do("seller", "doctor", "--home", s.file("seller"), "--dir", s.dir, "--portmap", s.path.seller.portmap, "--json")
	if err != nil {
		return nil, err
	}
	return found, json.Unmarshal([]byte(out), &found)
}

// seed has the seller sell, and waits until its node knows what the router does.
func (s *stage) seed(size int64) (*child, error) {
	if err := writeGoods(s.file("goods"), size); err != nil {
		return nil, err
	}
	if _, err := s.do("seller", "create", s.file("goods"), "--home", s.file("seller"), "-o", s.file("goods.torrent"), "--paid"); err != nil {
		return nil, err
	}
	c, err := s.start("seller", "seeding on port", "seed", s.file("goods.torrent"), "--home", s.file("seller"), "--dir", s.dir,
		"--portmap", s.path.seller.portmap)
	if err != nil {
		return nil, err
	}
	return c, c.says(s.ctx, "open", 20*time.Second)
}

// get downloads without being told where the seller is.
func (s *stage) get(r *result, size, funds int64) error {
	limit := patience
	if !s.path.meets {
		limit = unreachable
	}
	ctx, end := context.WithTimeout(s.ctx, limit)
	defer end()
	began := time.Now()
	c, err := s.begin(ctx, "buyer", "get", s.file("goods.torrent"), "--home", s.file("buyer"), "--dir", s.file("bought"),
		"--portmap", s.path.buyer.portmap, "--pay-up-to", strconv.FormatInt(funds, 10))
	if err != nil {
		return err
	}
	if err := s.firstData(c); err == nil {
		r.firstByte = time.Since(began)
	}
	<-c.ended
	took := time.Since(began)
	r.buyer = c.last()
	if c.err != nil {
		if ctx.Err() != nil && s.ctx.Err() == nil {
			return nil // it would try on
		}
		return fmt.Errorf("get: %w: %s", c.err, c.last())
	}
	same, err := sameFiles(s.file("goods"), filepath.Join(s.file("bought"), "goods"))
	if err == nil && !same {
		err = errors.New("what was bought differs from what is sold")
	}
	r.complete, r.mib = true, float64(size>>20)/(took-r.firstByte).Seconds()
	return err
}

// someData is more than an announce and a handshake are, in bytes.
const someData = 256 << 10

// firstData waits until data come to the buyer's home. The error is that the node has
// ended before.
func (s *stage) firstData(c *child) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-c.ended:
			return errors.New("no data came")
		case <-tick.C:
		}
		out, err := s.lab.In(s.ctx, "buyer", "cat", "/sys/class/net/eth/statistics/rx_bytes").Output()
		if err != nil {
			return err
		}
		if n, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64); err != nil || n > someData {
			return err
		}
	}
}

// redeem shows what the seller can redeem, and has it redeemed.
func (s *stage) redeem(r *result) error {
	var before, after struct {
		Available  json.Number `json:"available"`
		Redeemable json.Number `json:"redeemable"`
	}
	for _, step := range []struct {
		into any
		args []string
	}{
		{&before, []string{"wallet", "balance"}}, {nil, []string{"wallet", "redeem"}}, {&after, []string{"wallet", "balance"}},
	} {
		out, err := s.do("seller", append(step.args, "--home", s.file("seller"), "--json")...)
		if err != nil {
			return err
		}
		if step.into == nil {
			continue
		}
		if err := json.Unmarshal([]byte(out), step.into); err != nil {
			return err
		}
	}
	r.redeemable, r.redeemed = before.Redeemable.String(), after.Available.String()
	s.say.line("the seller can redeem %s coins", r.redeemable)
	s.say.line("it has redeemed them: it has %s coins on the ledger", r.redeemed)
	return nil
}

// line is the path's line of the table.
func (r *result) line(p path) string {
	how, first, rate := "not met", "-", "-"
	if r.complete {
		how, first, rate = "complete", fmt.Sprintf("%.1f", r.firstByte.Seconds()), fmt.Sprintf("%.0f", r.mib)
	}
	return fmt.Sprintf("%-10s  %-9s  %14s  %8s  %s", p.name, how, first, rate, r.router)
}

// asExpected compares with what the path is to show.
func (r *result) asExpected(p path) error {
	switch {
	case r.complete != p.meets:
		return fmt.Errorf("%s: the download is complete: %v, and should be: %v; the buyer said: %s", p.name, r.complete, p.meets, r.buyer)
	case !strings.Contains(r.router, p.says):
		return fmt.Errorf("%s: the seller's node said %q, which lacks %q", p.name, r.router, p.says)
	case !slices.ContainsFunc(r.doctor, func(f finding) bool { return f.About == "router" && strings.Contains(f.Says, p.says) }):
		return fmt.Errorf("%s: doctor found %v, which lacks %q", p.name, r.doctor, p.says)
	case r.complete && (r.redeemable == "0" || r.redeemable != r.redeemed):
		return fmt.Errorf("%s: %s coins were redeemable, and the seller has %s", p.name, r.redeemable, r.redeemed)
	}
	return nil
}
