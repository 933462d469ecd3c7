package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	"torrente/metainfo"
	"torrente/node"
)

// getFlags are the choices of `get`.
type getFlags struct {
	at    address
	dir   string
	peers []string
	plain bool
	payUp uint64
	seed  bool
	json  bool
}

// getFacts is what `get --json` says of a download.
type getFacts struct {
	Name       string  `json:"name"`
	ID         string  `json:"torrent_id"`
	Bytes      int64   `json:"bytes"`      // of the torrent
	Downloaded int64   `json:"downloaded"` // in this run; less than bytes if it was resumed
	Uploaded   int64   `json:"uploaded"`
	Wasted     int64   `json:"wasted"`     // came twice or false
	Paid       uint64  `json:"links_paid"` // units
	Seconds    float64 `json:"seconds"`
}

func newGet(std stdio) *cobra.Command {
	var f getFlags
	c := &cobra.Command{
		Use:   "get FILE.torrent|MAGNET --dir D",
		Short: "download a torrent",
		Args:  exactArgs("a torrent file or magnet link"),
		RunE: func(c *cobra.Command, args []string) error {
			return get(c, std, &f, args[0])
		},
	}
	f.at.flags(c)
	c.Flags().StringVar(&f.dir, "dir", ".", "the folder into which the data goes")
	c.Flags().StringArrayVar(&f.peers, "peer", nil, "a peer to connect to, HOST:PORT (may be repeated)")
	c.Flags().BoolVar(&f.plain, "plain", false, "be an ordinary BitTorrent client: pay nothing")
	passwordFlag(c)
	c.Flags().Uint64Var(&f.payUp, "pay-up-to", 0, "how many coins this torrent may cost (default: the wallet's limit)")
	c.Flags().BoolVar(&f.json, "json", false, "print one JSON object when complete")
	c.Flags().BoolVar(&f.seed, "seed", false, "go on giving to others when complete")
	return c
}

func get(c *cobra.Command, std stdio, f *getFlags, arg string) (err error) {
	t, m, err := source(arg)
	if err != nil {
		return err
	}
	peers, err := resolvePeers(c.Context(), f.peers)
	if err != nil {
		return err
	}
	s, err := openSession(c, std, &f.at, wanted{anyFree: true, member: f.asMember(c, t)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	var consent node.Consent
	if t != nil && s.member != nil {
		if consent, err = f.allowance(c, std, s, []string{arg}, t.Info); err != nil {
			return interrupted(c.Context(), err)
		}
	}
	n, err := s.node.Add(node.Options{
		Torrent: t, Magnet: m, Dir: f.dir, Resume: s.home.resume(resumeName(t, m)),
		Peers: append(peers, magnetPeers(m)...), Plain: f.plain, Consent: consent, AskFirst: t == nil,
	})
	if err != nil {
		return err
	}
	if t == nil {
		if err := f.agree(c, std, s, []string{arg}, n); err != nil {
			return interrupted(c.Context(), err)
		}
	}
	started := time.Now() // a question may take its time
	if err := watch(c.Context(), std, n, n.Complete()); err != nil {
		return interrupted(c.Context(), err)
	}
	took := time.Since(started)
	sayComplete(std, n, took)
	settle(c.Context(), std, n)
	if f.json {
		if err := printGot(std, n, took); err != nil {
			return err
		}
	}
	if f.seed {
		<-c.Context().Done()
		return context.Canceled
	}
	return nil
}

// resumeName names the torrent in the state folder, before its metadata is
// known by the hash of its link.
func resumeName(t *metainfo.Torrent, m *metainfo.Magnet) [20]byte {
	switch {
	case t != nil:
		return shortID(t.Info)
	case m.V1 != nil:
		return *m.V1
	}
	return [20]byte(m.V2[:20])
}

// magnetPeers are the addresses that a link names; names are not looked up, a
// stranger wrote them.
func magnetPeers(m *metainfo.Magnet) (out []netip.AddrPort) {
	if m == nil {
		return nil
	}
	for _, p := range m.Peers {
		if a, err := netip.ParseAddrPort(p); err == nil {
			out = append(out, a)
		}
	}
	return out
}

// watch shows the progress until what is waited for has come, or the torrent has
// stopped.
func watch(ctx context.Context, std stdio, t *node.Torrent, done <-chan struct{}) error {
	p := newProgress(std.err)
	defer p.end()
	var stuck standstill
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Canceled
		case <-done:
			return nil
		case <-t.Ended():
			if err := t.Err(); err != nil {
				return err
			}
			return context.Canceled
		case <-tick.C:
			if err := t.PaymentTrouble(); err != nil && t.Status().DownRate == 0 {
				return err
			}
			if err := t.Shortage(); stuck.after(time.Now(), t.Status().Downloaded) && err != nil {
				return err
			}
			if err := t.Refusal(); err != nil && t.Status().Peers == 0 {
				return err
			}
			p.show(t)
		}
	}
}

// standstillTime is how long nothing comes before a want of coins is why.
const standstillTime = 15 * time.Second

// standstill notices that nothing has come for a while.
type standstill struct {
	bytes int64
	since time.Time
}

// after reports whether nothing has come for standstillTime.
func (s *standstill) after(now time.Time, bytes int64) bool {
	if s.since.IsZero() || bytes != s.bytes {
		s.bytes, s.since = bytes, now
	}
	return now.Sub(s.since) >= standstillTime
}

// settleTime is how long the sellers' closes are waited for.
const settleTime = 5 * time.Second

// settle takes back what was frozen and not spent. The download is complete
// all the same if it cannot be done now.
func settle(ctx context.Context, std stdio, t *node.Torrent) {
	if !t.Pays() || t.Info().Pay == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	if _, err := t.Settle(ctx); err != nil {
		fmt.Fprintf(std.err, "%s: coins that were frozen and not spent stay frozen: %v; take them back with torrente wallet reclaim\n", printable(t.Name()), err)
	}
}

func sayComplete(std stdio, t *node.Torrent, took time.Duration) {
	st := t.Status()
	rate := float64(st.Downloaded) / max(took.Seconds(), 1e-3)
	fmt.Fprintf(std.err, "%s: complete, %s in %s (%s/s)\n",
		printable(t.Name()), formatSize(st.Bytes), took.Round(time.Millisecond), formatSize(int64(rate)))
}

func printGot(std stdio, t *node.Torrent, took time.Duration) error {
	st, id := t.Status(), t.Info().ID()
	return printJSON(std.out, getFacts{
		Name: t.Name(), ID: hex.EncodeToString(id[:]), Bytes: st.Bytes, Downloaded: st.Downloaded,
		Uploaded: st.Uploaded, Wasted: st.Wasted, Paid: st.Paid, Seconds: took.Seconds(),
	})
}
