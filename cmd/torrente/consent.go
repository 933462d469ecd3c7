package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"torrente/metainfo"
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

// allowance is how many coins may be frozen for a download: what the user said,
// or the wallet's limit; if that is too little a terminal is asked.
func (f *getFlags) allowance(c *cobra.Command, std stdio, s *session, t *metainfo.Torrent) (payment.Amount, error) {
	if s.member == nil {
		return 0, nil
	}
	allowed, err := s.member.Wallet.Limit()
	if err != nil {
		return 0, err
	}
	if c.Flags().Changed("pay-up-to") { // what was said now is what counts, less than the limit too
		allowed = payment.Amount(f.payUp)
	}
	if t == nil {
		return allowed, nil // what it costs is known when the metadata is
	}
	q, err := s.node.Quote(c.Context(), t.Info.Units())
	if wrong, ok := errors.AsType[*ledger.WrongClock](err); ok {
		return 0, wrong
	}
	if err != nil {
		return 0, fmt.Errorf("what %s costs is not known: %w", printable(t.Info.Name), err)
	}
	fmt.Fprintf(std.err, "%s: %d units at %s each: %s, at most %s frozen\n",
		printable(t.Info.Name), q.Units, coins(q.Price), coins(q.Cost), coins(q.Highest))
	if q.Highest <= allowed {
		return allowed, nil
	}
	if yes, asked := consents(std); asked && yes {
		return q.Highest, nil
	} else if asked {
		return 0, errors.New("not bought")
	}
	return 0, fmt.Errorf("%s costs up to %s, and %s are allowed: add --pay-up-to %s to this command, or raise the wallet's limit",
		printable(t.Info.Name), coins(q.Highest), coins(allowed), q.Highest)
}

// consents asks on a terminal whether to pay.
func consents(std stdio) (yes, asked bool) {
	in, ok := std.in.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return false, false
	}
	fmt.Fprint(std.err, "buy it? [y/N] ")
	line, err := bufio.NewReader(in).ReadString('\n')
	return err == nil && strings.EqualFold(strings.TrimSpace(line), "y"), true
}
