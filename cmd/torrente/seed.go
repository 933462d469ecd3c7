package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"torrente/metainfo"
	"torrente/node"
	"torrente/payment"
	"torrente/payment/ledger"
)

func newSeed(std stdio) *cobra.Command {
	var at address
	var dir string
	var above uint64
	c := &cobra.Command{
		Use:   "seed FILE.torrent... --dir D",
		Short: "give the data of torrents to others",
		Args:  atLeastOne("a torrent file"),
		RunE: func(c *cobra.Command, args []string) error {
			return seed(c, std, &at, dir, payment.Amount(above), args)
		},
	}
	at.flags(c)
	passwordFlag(c)
	c.Flags().StringVar(&dir, "dir", ".", "the folder in which the data is")
	c.Flags().Uint64Var(&above, "redeem-above", 0, "redeem when more coins than this are earned (default: the price of 4 GiB)")
	return c
}

func seed(c *cobra.Command, std stdio, at *address, dir string, above payment.Amount, files []string) (err error) {
	torrents := make([]*metainfo.Torrent, len(files))
	for i, f := range files {
		if torrents[i], err = readTorrent(f); err != nil {
			return err
		}
	}
	sold := slices.ContainsFunc(torrents, func(t *metainfo.Torrent) bool { return t.Info.Pay != nil })
	s, err := openSession(c, std, at, wanted{member: sold, redeemAbove: above})
	if errors.Is(err, errNotEnrolled) {
		return fmt.Errorf("a torrent of these is sold, and is not given away: %w", err)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	open := make([]*node.Torrent, len(torrents))
	for i, t := range torrents {
		if open[i], err = s.seedOne(c.Context(), std, t, dir); err != nil {
			return err
		}
	}
	fmt.Fprintf(std.err, "seeding on port %d\n", s.node.Port())
	complain(c.Context(), std, open)
	return context.Canceled
}

// complain tells why no tracker names us to others, each reason once, until ctx
// ends.
func complain(ctx context.Context, std stdio, open []*node.Torrent) {
	said := map[*node.Torrent]string{}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, t := range open {
			trouble := ""
			if err := t.TrackerTrouble(); err != nil {
				trouble = printable(err.Error())
			}
			if trouble != "" && trouble != said[t] {
				fmt.Fprintf(std.err, "%s: others do not learn of it: %s\n", printable(t.Name()), trouble)
			}
			said[t] = trouble
		}
	}
}

// seedOne opens a torrent whose data must be complete.
func (s *session) seedOne(ctx context.Context, std stdio, t *metainfo.Torrent, dir string) (*node.Torrent, error) {
	if err := s.register(ctx, t); err != nil {
		return nil, err
	}
	n, err := s.node.Add(node.Options{Torrent: t, Dir: dir, SeedOnly: true, Resume: s.home.resume(shortID(t.Info))})
	if err != nil {
		return nil, err
	}
	select {
	case <-ctx.Done():
		return nil, context.Canceled
	case <-n.Ended():
		return nil, n.Err()
	case <-n.Opened():
	}
	if st := n.Status(); st.Have < st.Pieces {
		return nil, fmt.Errorf("%s: %d of %d pieces in %s are missing or differ from the torrent: fetch them with torrente get --seed, or name the right folder with --dir",
			t.Info.Name, st.Pieces-st.Have, st.Pieces, dir)
	}
	fmt.Fprintf(std.err, "%s: complete, %d pieces\n", printable(t.Info.Name), t.Info.NumPieces())
	return n, nil
}

// register makes a sold torrent known to its ledger, which must be ours.
func (s *session) register(ctx context.Context, t *metainfo.Torrent) error {
	switch {
	case t.Info.Pay == nil:
		return nil
	case t.Info.Pay.Ledger != s.member.Ledger.ID().Short():
		return fmt.Errorf("%s is sold in the federation %s: enroll there, with a --home of its own", printable(t.Info.Name), printable(t.Info.Pay.Federation))
	}
	ctx, cancel := context.WithTimeout(ctx, registerTime)
	defer cancel()
	err := s.node.Register(ctx, t.Info.Raw)
	if _, wrong := errors.AsType[*ledger.WrongClock](err); wrong {
		return nil // it was said, and is done when the clock is right; free torrents go on
	}
	return err
}

// shortID names a torrent in the state folder.
func shortID(i *metainfo.Info) [20]byte {
	id := i.ID()
	return [20]byte(id[:20])
}
