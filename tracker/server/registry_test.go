package server

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var epoch = time.Unix(1_800_000_000, 0)

func addr(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, byte(n >> 8), byte(n)}), 6881)
}

// check is what holds of a registry at all times.
func (r *registry) check(t interface{ Fatalf(string, ...any) }) {
	peers, entries := 0, map[netip.Addr]int{}
	for hash, s := range r.swarms {
		if s.hash != hash || len(s.byAddr) == 0 || len(s.byAddr) > r.peers || len(s.byAddr) != len(s.seeds)+len(s.leechers) {
			t.Fatalf("swarm of %d peers: %d seeds, %d leechers", len(s.byAddr), len(s.seeds), len(s.leechers))
		}
		for _, seed := range []bool{false, true} {
			for i, p := range *s.of(seed) {
				if p.at != i || p.seed != seed || p.swarm != s || s.byAddr[p.addr] != p || p.place.Value != p {
					t.Fatalf("peer %v is misplaced", p.addr)
				}
				entries[network(p.addr.Addr())]++
				peers++
			}
		}
	}
	if len(r.swarms) > r.torrents || r.queue.Len() != peers || len(r.entries) != len(entries) {
		t.Fatalf("%d swarms, %d in the queue, %d peers", len(r.swarms), r.queue.Len(), peers)
	}
	for n, count := range entries {
		if r.entries[n] != count || count > r.perAddress {
			t.Fatalf("%v has %d entries, counted as %d", n, count, r.entries[n])
		}
	}
	var last time.Time
	for e := r.queue.Front(); e != nil; e = e.Next() {
		if p := e.Value.(*peer); p.until.Before(last) {
			t.Fatalf("the queue is out of order")
		} else {
			last = p.until
		}
	}
}

// Whatever peers do, the registry is consistent, within its bounds, and agrees
// with a model that knows nothing but last announces.
func TestRegistryAgainstModel(t *testing.T) {
	type key struct {
		hash byte
		addr netip.AddrPort
	}
	type entry struct {
		until time.Time
		seed  bool
	}
	rapid.Check(t, func(t *rapid.T) {
		s := New(Config{Torrents: 3, Peers: 4, PerAddress: 5, Interval: time.Minute})
		r := &s.reg
		now, model := epoch, map[key]entry{}
		for range rapid.IntRange(0, 60).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 50).Draw(t, "seconds")) * time.Second)
			k := key{byte(rapid.IntRange(0, 3).Draw(t, "hash")), netip.AddrPortFrom(
				addr(rapid.IntRange(0, 3).Draw(t, "address")).Addr(), uint16(rapid.IntRange(1, 3).Draw(t, "port")))}
			a := &announce{infoHash: [20]byte{k.hash}, left: int64(rapid.IntRange(0, 1).Draw(t, "left"))}
			r.expire(now)
			for k, e := range model {
				if !now.Before(e.until) {
					delete(model, k)
				}
			}
			if rapid.IntRange(0, 5).Draw(t, "stops") == 0 {
				r.leave(k.addr, a.infoHash)
				delete(model, k)
			} else if w, err := r.update(now, k.addr, a); err == nil && w.byAddr[k.addr] != nil {
				model[k] = entry{now.Add(2 * time.Minute), a.left == 0}
			} else if _, known := model[k]; known {
				t.Fatalf("a known peer is not renewed: %v", err)
			}
			r.check(t)
			if r.queue.Len() != len(model) {
				t.Fatalf("%d peers, the model has %d", r.queue.Len(), len(model))
			}
			for k, e := range model {
				if p := r.swarms[[20]byte{k.hash}].byAddr[k.addr]; p == nil || p.seed != e.seed || !p.until.Equal(e.until) {
					t.Fatalf("%v is not as announced", k)
				}
			}
		}
	})
}

func fill(seeds, leechers int) *swarm {
	s := &swarm{byAddr: map[netip.AddrPort]*peer{}}
	for i := range seeds + leechers {
		p := &peer{swarm: s, addr: addr(i), seed: i < seeds}
		s.byAddr[p.addr] = p
		s.insert(p)
	}
	return s
}

func TestSampleIsWhatWasAskedFor(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seeds, leechers := rapid.IntRange(0, 6).Draw(t, "seeds"), rapid.IntRange(0, 6).Draw(t, "leechers")
		s := fill(seeds, leechers)
		n := rapid.IntRange(0, 14).Draw(t, "n")
		asks := rapid.IntRange(0, 13).Draw(t, "asks") // may be nobody in the swarm
		asSeed := rapid.Bool().Draw(t, "as a seed")
		rnd := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "random"), 0))
		got := s.sample(n, addr(asks), asSeed, rnd.IntN)
		possible := leechers
		if !asSeed {
			possible += seeds
		}
		if self := s.byAddr[addr(asks)]; self != nil && (!asSeed || !self.seed) {
			possible--
		}
		if len(got) != min(n, possible) {
			t.Fatalf("%d peers of %d, %d were wanted", len(got), possible, n)
		}
		seen := map[netip.AddrPort]bool{}
		for _, p := range got {
			if seen[p.addr] || p.addr == addr(asks) || asSeed && p.seed {
				t.Fatalf("%v does not belong there", p.addr)
			}
			seen[p.addr] = true
		}
		for _, p := range s.byAddr {
			if (*s.of(p.seed))[p.at] != p {
				t.Fatalf("%v has the wrong place after the draw", p.addr)
			}
		}
	})
}

// Each pair of peers must be drawn about equally often: 100,000 draws of 3 of 2
// seeds and 5 leechers, one of whom asks. Of 6, each of 15 pairs is in a draw
// with probability 3*2/(6*5) = 1/5; 5 standard deviations are 633.
func TestSampleHasNoBias(t *testing.T) {
	const draws = 100_000
	s, rnd := fill(2, 5), rand.New(rand.NewPCG(7, 7))
	pairs := map[[2]netip.AddrPort]int{}
	for range draws {
		got := s.sample(3, addr(4), false, rnd.IntN)
		for i, p := range got {
			for _, q := range got[i+1:] {
				k := [2]netip.AddrPort{p.addr, q.addr}
				if k[0].Compare(k[1]) > 0 {
					k[0], k[1] = k[1], k[0]
				}
				pairs[k]++
			}
		}
	}
	if len(pairs) != 15 {
		t.Errorf("%d pairs, not 15", len(pairs))
	}
	for k, n := range pairs {
		if n < draws/5-633 || n > draws/5+633 {
			t.Errorf("%v: %d times, not about %d", k, n, draws/5)
		}
	}
}

func TestOneNetworkIsOneAddress(t *testing.T) {
	for _, c := range []struct{ a, want string }{
		{"192.0.2.7", "192.0.2.7"},
		{"2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"},
		{"::1", "::"},
	} {
		if got := network(netip.MustParseAddr(c.a)); got != netip.MustParseAddr(c.want) {
			t.Errorf("%s is of %v, not %s", c.a, got, c.want)
		}
	}
}

func BenchmarkAnnounce(b *testing.B) {
	for _, n := range []int{50, 2000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := New(Config{})
			a := &announce{left: 1, numWant: 50, compact: true}
			for i := range n {
				if _, err := s.record(epoch, addr(i), a); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, err := s.record(epoch, addr(i%n), a); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
