package crashfs

import (
	"bytes"
	"os"
	"slices"
)

// history is a file's durable content, and what was done since.
type history struct {
	durable []byte
	at      int64 // when the durable content was modified
	changes []change
}

// change is a write, or a change of the length.
type change struct {
	data     []byte // nil: only the length
	from     int64
	size     int64 // of the file afterwards
	modified int64
}

func newHistory(f *os.File) (*history, error) {
	h := &history{}
	return h, h.sync(f)
}

func (h *history) sync(f *os.File) error {
	now, err := os.ReadFile(f.Name())
	if err == nil {
		h.durable, h.at, h.changes = now, modified(f), nil
	}
	return err
}

// size is the length after the first n changes.
func (h *history) size(n int) int64 {
	if n == 0 {
		return int64(len(h.durable))
	}
	return h.changes[n-1].size
}

func (h *history) wrote(b []byte, at, modified int64) {
	if len(b) == 0 {
		return
	}
	size := max(h.size(len(h.changes)), at+int64(len(b)))
	h.changes = append(h.changes, change{b, at, size, modified})
}

func (h *history) cut(size, modified int64) {
	h.changes = append(h.changes, change{size: size, modified: modified})
}

// lose chooses a state: the length after the first changes only, which are
// those that reached the journal, and each sector at some moment.
func (h *history) lose(choose func(n int) int) Left {
	kept := choose(len(h.changes) + 1)
	left := Left{Data: make([]byte, h.size(kept)), Modified: h.at}
	if kept > 0 {
		left.Modified = h.changes[kept-1].modified
	}
	for at := int64(0); at < int64(len(left.Data)); at += Sector {
		versions := h.versions(at, kept)
		copy(left.Data[at:], versions[choose(len(versions))])
	}
	return left
}

// versions are all that a sector may hold when the journal has kept a number of
// changes, the oldest first. Where those cut the file, what was there before is
// gone; where later ones cut it, their sectors were given back and what was
// written there after went elsewhere.
func (h *history) versions(at int64, kept int) [][]byte {
	now := make([]byte, Sector)
	if at < int64(len(h.durable)) {
		copy(now, h.durable[at:])
	}
	all := [][]byte{slices.Clone(now)}
	for i, c := range h.changes {
		switch {
		case c.data == nil && c.size < at+Sector && c.size < h.size(i): // cuts the sector
			if i >= kept {
				return all
			}
			clear(now[max(0, c.size-at):])
			all = nil
		case c.data == nil || c.from >= at+Sector || c.from+int64(len(c.data)) <= at:
			continue
		default:
			copy(now[max(0, c.from-at):], c.data[max(0, at-c.from):])
		}
		if len(all) == 0 || !bytes.Equal(all[len(all)-1], now) {
			all = append(all, slices.Clone(now))
		}
	}
	return all
}
