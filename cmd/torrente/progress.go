package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"torrente/node"
	"torrente/swarm"
)

// progress shows how a download goes: one line that is rewritten on a
// terminal, a line now and then elsewhere.
type progress struct {
	w        io.Writer
	terminal bool
	last     time.Time
	width    int
}

// lineInterval is how often a line is written where none can be rewritten.
const lineInterval = 10 * time.Second

func newProgress(w io.Writer) *progress {
	f, ok := w.(*os.File)
	return &progress{w: w, terminal: ok && term.IsTerminal(int(f.Fd())), last: time.Now()}
}

func (p *progress) show(t *node.Torrent) {
	line := describe(t)
	switch {
	case p.terminal:
		pad := max(0, p.width-len(line))
		fmt.Fprintf(p.w, "\r%s%s", line, strings.Repeat(" ", pad))
		p.width = len(line)
	case time.Since(p.last) >= lineInterval:
		p.last = time.Now()
		fmt.Fprintln(p.w, line)
	}
}

func (p *progress) end() {
	if p.terminal && p.width > 0 {
		fmt.Fprintln(p.w)
	}
}

func describe(t *node.Torrent) string {
	if c := t.Checking(); c != nil {
		return fmt.Sprintf("checking the files: piece %d of %d", c.Done, c.Pieces)
	}
	st := t.Status()
	if !st.MetadataKnown {
		return fmt.Sprintf("fetching the metadata: %s", peersOf(t, st))
	}
	if st.Pieces == 0 {
		return "opening the files"
	}
	done := st.Bytes - st.Left
	paid := ""
	if st.Paid > 0 {
		paid = fmt.Sprintf("  %d links paid", st.Paid)
	}
	return fmt.Sprintf("%5.1f%%  %s of %s  %s/s  %s%s  %s",
		100*float64(done)/float64(max(1, st.Bytes)), formatSize(done), formatSize(st.Bytes), formatSize(int64(st.DownRate)), peersOf(t, st), paid, eta(st))
}

// peersOf says how many peers there are, and if none gives anything, why.
func peersOf(t *node.Torrent, st swarm.Status) string {
	if st.Peers == 0 && st.Dialing == 0 {
		why := t.TrackerTrouble()
		if why != nil && st.Sold && !t.Pays() {
			return fmt.Sprintf("0 peers because you are not enrolled in %s, where this is sold, and %s",
				printable(t.Info().Pay.Federation), printable(why.Error()))
		}
		if why != nil {
			return "0 peers because " + printable(why.Error())
		}
	}
	if st.Sold && st.Peers > 0 && st.WantPayment == st.Peers {
		if !t.Pays() {
			return fmt.Sprintf("%s, all want payment, you are not enrolled", count(st.Peers, "peer"))
		}
		if st.Authenticated == 0 {
			return fmt.Sprintf("%s, none of which sells now", count(st.Peers, "peer"))
		}
		if st.Paid == 0 {
			return fmt.Sprintf("%s, opening payments", count(st.Peers, "peer"))
		}
	}
	switch {
	case st.Peers == 0 && st.Known == 0:
		return "0 peers because nobody has named one yet: give --peer HOST:PORT or a tracker"
	case st.Peers == 0 && st.Dialing > 0:
		return fmt.Sprintf("0 peers, connecting to %d", st.Dialing)
	case st.Peers == 0:
		return fmt.Sprintf("0 peers because none of the %d known addresses answers", st.Known)
	case st.MetadataKnown && st.ChokingUs == st.Peers && st.DownRate == 0:
		return fmt.Sprintf("%s, waiting for a turn", count(st.Peers, "peer"))
	case st.MetadataKnown && st.ChokingUs == 0 && st.DownRate == 0 && st.Left > 0:
		return fmt.Sprintf("%s, none with what is missing", count(st.Peers, "peer"))
	}
	return count(st.Peers, "peer")
}

func eta(st swarm.Status) string {
	if st.DownRate < 1 {
		return "ETA unknown"
	}
	d := time.Duration(float64(st.Left) / st.DownRate * float64(time.Second))
	return "ETA " + d.Round(time.Second).String()
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
