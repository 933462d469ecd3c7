package wallet

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"torrente/payment"
)

// Recovery is what Open found in the logs of a wallet that was not closed.
type Recovery struct {
	Links, Owed Replay
}

// Replay is what one log held.
type Replay struct {
	Records int // that were whole
	// Cut is how many bytes of a last record were written, whose rest was not:
	// whoever asked for it was never told that it is kept.
	Cut int
	// Blank is how many records a loss of power left unwritten, less than
	// SyncEvery after they were appended. Links come back with the payer's next
	// pay_resume.
	Blank int
	// Damaged is how many were left out because of Config.SkipDamaged.
	Damaged int
}

// Lost reports whether something was in the log that could not be used.
func (r Replay) Lost() bool { return r.Cut+r.Blank+r.Damaged > 0 }

// openLogs opens both logs and brings the memory up to date with them.
func (w *Wallet) openLogs(dir string) error {
	var err error
	w.sold.log = appendLog{name: linksName, record: linkBytes, wrote: w.wrote}
	if w.recovered.Links, err = w.openLog(dir, &w.sold.log, w.sold.replayer()); err != nil {
		return err
	}
	w.bought.log = appendLog{name: owedName, record: owedBytes}
	w.recovered.Owed, err = w.openLog(dir, &w.bought.log, w.bought.replayer())
	return err
}

func (w *Wallet) openLog(dir string, l *appendLog, use func(record []byte) bool) (Replay, error) {
	f, err := w.config.openFile(filepath.Join(dir, l.name))
	if err != nil {
		return Replay{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	l.f, l.limit, l.full = f, w.config.foldAt, w.full
	info, err := f.Stat()
	if err != nil {
		return Replay{}, err
	}
	l.end = info.Size()
	if err := l.checkHeader(&w.config); err != nil {
		return Replay{}, err
	}
	return l.replay(w.config.SkipDamaged, use)
}

func (l *appendLog) checkHeader(config *Config) error {
	var header [headerBytes]byte
	if _, err := l.f.ReadAt(header[:], 0); err != nil {
		return fmt.Errorf("%w (%s: its first bytes: %w)", ErrDamaged, l.name, err)
	}
	want := logHeader(l.name, config)
	switch {
	case bytes.Equal(header[:], want):
		return nil
	case whole(header[:]) && bytes.Equal(header[:8], want[:8]):
		return fmt.Errorf("%s: %w", l.name, ErrAccount)
	}
	return fmt.Errorf("%w (%s: its first bytes)", ErrDamaged, l.name)
}

// replay reads all records. use reports whether a record makes sense.
func (l *appendLog) replay(skip bool, use func(record []byte) bool) (r Replay, err error) {
	in := bufio.NewReaderSize(io.NewSectionReader(l.f, headerBytes, l.end-headerBytes), 1<<16)
	record := make([]byte, l.record)
	for at := int64(headerBytes); ; at += l.record {
		n, err := io.ReadFull(in, record)
		switch {
		case errors.Is(err, io.EOF):
			return r, nil
		case errors.Is(err, io.ErrUnexpectedEOF):
			r.Cut = n
			return r, nil
		case err != nil:
			return r, fmt.Errorf("read %s at byte %d: %w", l.name, at, err)
		case blank(record):
			r.Blank++
		case whole(record) && use(record):
			r.Records++
		case !skip:
			return r, fmt.Errorf("%w (%s: the record at byte %d)", ErrDamaged, l.name, at)
		default:
			r.Damaged++
		}
	}
}

// blank reports whether a record was never written: its checksum is not zero.
func blank(record []byte) bool {
	for _, b := range record {
		if b != 0 {
			return false
		}
	}
	return true
}

// replayer returns what takes records of links.log.
func (s *sold) replayer() func([]byte) bool {
	byShort := map[shortID]*claim{}
	for id, c := range s.claims {
		byShort[shortID(id[:])] = c
	}
	return func(record []byte) bool {
		c := byShort[shortID(record)]
		index := binary.BigEndian.Uint32(record[shortBytes:])
		if c == nil || index == 0 || index > c.Commitment.Links {
			return false
		}
		c.raise(payment.Claim{Index: index, Link: payment.Link(record[shortBytes+4:])})
		return true
	}
}

// replayer returns what takes records of owed.log.
func (b *bought) replayer() func([]byte) bool {
	byShort := map[shortID]*opening{}
	for id, o := range b.openings {
		byShort[shortID(id[:])] = o
	}
	return func(record []byte) bool {
		o := byShort[shortID(record)]
		if o == nil {
			return false
		}
		o.owe(binary.BigEndian.Uint32(record[shortBytes:]))
		return true
	}
}
