package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"torrente/metainfo"
	"torrente/node"
	"torrente/payment"
	"torrente/payment/ledger"
)

// asMember tells whether a download needs the identity: if it is sold, or may
// be, and the user is enrolled and has not asked to be plain.
func (f *getFlags) asMember(c *cobra.Command, t *metainfo.Torrent) bool {
	h, err := homeOf(c)
	if err != nil || f.plain || t != nil && t.Info.Pay == nil {
		return false
	}
	_, err = os.Stat(h.path(federationFile))
	return err == nil
}

// allowance is what may be paid for a download: the coins that the user said, or
// the wallet's limit; if that is too little a terminal is asked. The price is the
// one that is printed here.
func (f *getFlags) allowance(c *cobra.Command, std stdio, s *session, args []string, info *metainfo.Info) (none node.Consent, _ error) {
	allowed, err := s.member.Wallet.Limit()
	if err != nil {
		return none, err
	}
	if c.Flags().Changed("pay-up-to") { // what was said now is what counts, less than the limit too
		allowed = payment.Amount(f.payUp)
	}
	asking, cancel := context.WithTimeout(c.Context(), quoteTime)
	defer cancel()
	q, err := s.node.QuoteOf(asking, payment.TorrentID(info.ID()), info.Units())
	if wrong, ok := errors.AsType[*ledger.WrongClock](err); ok {
		return none, wrong
	}
	if err != nil {
		return none, fmt.Errorf("what %s costs is not known: %w", printable(info.Name), err)
	}
	fmt.Fprintf(std.err, "%s: %d units at %s each: %s, at most %s frozen\n",
		printable(info.Name), q.Units, coins(q.Price), coins(q.Cost), coins(q.Highest))
	if q.Highest <= allowed {
		return node.Consent{Coins: allowed, Price: q.Price}, nil
	}
	switch yes, asked, err := consents(c.Context(), std); {
	case err != nil:
		return none, err
	case yes:
		return node.Consent{Coins: q.Highest, Price: q.Price}, nil
	case asked:
		return none, errors.New("not bought")
	}
	return none, fmt.Errorf("%s costs up to %s, and %s are allowed: run %s, or raise the wallet's limit",
		printable(info.Name), coins(q.Highest), coins(allowed), again(c, args, "pay-up-to", q.Highest.String()))
}

// quoteTime is how long the ledger is asked what a download costs: nothing is
// lost by trying again later, and the user waits.
const quoteTime = 10 * time.Second

// agree waits for the metadata of a link, and then does what allowance does for
// a torrent file. Nothing is bought before.
func (f *getFlags) agree(c *cobra.Command, std stdio, s *session, args []string, t *node.Torrent) error {
	if err := watch(c.Context(), std, t, t.Opened()); err != nil {
		return err
	}
	info := t.Info()
	if s.member == nil || info.Pay == nil || !t.Pays() || t.Status().Left == 0 {
		return nil
	}
	consent, err := f.allowance(c, std, s, args, info)
	if err == nil {
		t.Allow(consent)
	}
	return err
}

// consents asks on a terminal whether to pay. An interrupt only cancels the
// context, so the read is left behind: the process ends next.
func consents(ctx context.Context, std stdio) (yes, asked bool, err error) {
	in, ok := std.in.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return false, false, nil
	}
	fmt.Fprint(std.err, "buy it? [y/N] ")
	answers := make(chan bool, 1)
	go func() {
		line, err := bufio.NewReader(io.LimitReader(in, maxAnswer)).ReadString('\n')
		answers <- err == nil && strings.EqualFold(strings.TrimSpace(line), "y")
	}()
	select {
	case <-ctx.Done():
		fmt.Fprintln(std.err)
		return false, true, context.Canceled
	case yes = <-answers:
		return yes, true, nil
	}
}

// maxAnswer is how many bytes of an answer are read.
const maxAnswer = 4096
