package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"torrente/payment/wallet"
)

func newHistory(std stdio) *cobra.Command {
	var newest int
	c := &cobra.Command{
		Use:   "history",
		Short: "print what happened to the account's coins",
		Long: "Print what happened to the account's coins, the newest last: coins frozen (declared, added), payments opened,\n" +
			"released and reclaimed, links redeemed or expired. With --json whole ids and the newest first.",
		Args: noArgs,
	}
	c.Flags().IntVar(&newest, "newest", 100, "how many events")
	question := func([]string) (historyRequest, error) {
		if newest < 1 || newest > wallet.MaxHistory {
			return historyRequest{}, usageError{fmt.Errorf("--newest %d is not between 1 and %d", newest, wallet.MaxHistory)}
		}
		return historyRequest{newest}, nil
	}
	return walletCommand(std, c, opening{}, question, walletAccount.History, sayHistory)
}

func sayHistory(w io.Writer, events []wallet.Event) error {
	for i := range events {
		if _, err := fmt.Fprintln(w, sayEvent(&events[len(events)-1-i])); err != nil {
			return err
		}
	}
	return nil
}

// sayEvent is a line of the history. Ids are cut: their first eight digits are
// enough to find them.
func sayEvent(e *wallet.Event) string {
	line := fmt.Sprintf("%s  %-9s  %s", e.At.Local().Format(time.DateTime), e.Kind, coins(e.Coins))
	if e.Units > 0 {
		line += fmt.Sprintf(" for %s", count(int(e.Units), "unit"))
	}
	for _, id := range []struct {
		name string
		id   [32]byte
	}{{"torrent", e.Torrent}, {"account", e.Account}, {"payment", e.Commitment}} {
		if id.id != [32]byte{} {
			line += fmt.Sprintf("  %s %.4x", id.name, id.id[:4])
		}
	}
	if e.Text != "" {
		line += "  " + printable(e.Text)
	}
	return strings.TrimRight(line, " ")
}
