package main

import (
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/term"
)

// percent shows on a terminal how far something is; elsewhere it is silent.
type percent struct {
	w     io.Writer
	what  string
	total int64

	mu sync.Mutex // guards the following
	// done is in the unit of total; shown is the percentage on the screen.
	done, shown int64
}

func newPercent(w io.Writer, what string, total int64) *percent {
	if f, ok := w.(*os.File); !ok || !term.IsTerminal(int(f.Fd())) {
		w = nil
	}
	return &percent{w: w, what: what, total: max(total, 1), shown: -1}
}

// add counts n more. It may be called from several goroutines.
func (p *percent) add(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += n
	if now := int64(float64(p.done) / float64(p.total) * 100); p.w != nil && now != p.shown {
		p.shown = now
		fmt.Fprintf(p.w, "\r%s %d %%", p.what, now)
	}
}

// end clears the line.
func (p *percent) end() {
	if p.w != nil {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
