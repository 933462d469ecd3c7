package node

import (
	"net/http/httptest"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"torrente/metainfo"
	"torrente/tracker"
	"torrente/tracker/server"
)

// When a router forwards another port than the one on which we listen, the tracker is
// told at once; tracker and peers say which address of ours they see.
func TestMoved(t *testing.T) {
	s := httptest.NewServer(server.New(server.Config{}))
	t.Cleanup(s.Close)
	g := makeGoods(t, 1<<20, metainfo.Options{V1: true})
	g.torrent.Trackers = [][]string{{s.URL + "/announce"}}
	var sights sights
	seeder := listening(t, Config{Trackers: tracker.NewClient(tracker.Config{}), Seen: sights.note})
	seed := add(t, seeder, Options{Torrent: g.torrent, Dir: g.dir, SeedOnly: true})
	within(t, "opening", seed.Opened())

	told := func() []netip.AddrPort {
		hash := infoHashes(g.torrent.Info)[0]
		a, err := tracker.NewClient(tracker.Config{}).Announce(t.Context(), s.URL+"/announce", tracker.Announce{InfoHash: hash, PeerID: [20]byte{9}, Port: 1, Left: 1, NumWant: 50})
		if err != nil {
			t.Fatal(err)
		}
		return a.Peers
	}
	eventually(t, "the announce", func() bool { return slices.Contains(told(), at(seeder)) })
	const forwarded = 41234
	seeder.Moved(forwarded)
	eventually(t, "the announce of the other port", func() bool {
		all := told()
		return slices.Contains(all, netip.AddrPortFrom(at(seeder).Addr(), forwarded)) && !slices.Contains(all, at(seeder))
	})

	here := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	before := sights.count(here, here) // what the tracker said
	peer := add(t, startNode(t, nil), Options{Torrent: g.torrent, Peers: []netip.AddrPort{at(seeder)}, AskFirst: true})
	within(t, "opening", peer.Opened())
	eventually(t, "the peer's word", func() bool { return sights.count(here, here) > before })
	seeder.Moved(0)
	if got := seeder.External(); got != seeder.Port() {
		t.Errorf("without a mapping others reach us by %d", got)
	}
}

// sights are addresses of ours that others saw.
type sights struct {
	mu  sync.Mutex // guards the following
	all [][2]netip.Addr
}

func (s *sights) note(from, ours netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, [2]netip.Addr{from, ours})
}

func (s *sights) count(from, ours netip.Addr) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.all {
		if one == [2]netip.Addr{from, ours} {
			n++
		}
	}
	return n
}
