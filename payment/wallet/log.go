package wallet

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"torrente/internal/failpoint"
)

// A log is a header of 64 bytes and records of one length, big endian:
//
//	header     tag 8 | SHA-256(account 32, ledger 32) 32 | zeros 20 | CRC-32C of all before u32
//	links.log  commitment id, its first 24 bytes | index u32 | link 32 | CRC-32C u32
//	owed.log   commitment id, its first 24 bytes | unit u32 | CRC-32C u32
//
// No record lies across the boundary of a sector of the disk, so a power loss
// leaves each one whole, blank, or beyond the end of the file.
const (
	headerBytes = 64
	linkBytes   = 64
	owedBytes   = 32
	shortBytes  = 24
)

var logTags = map[string]string{linksName: "TRNTLNK1", owedName: "TRNTOWE1"}

// shortID is how a log names a commitment: 192 bits of a hash are as good as
// 256, and fit the record.
type shortID [shortBytes]byte

// file is what a log needs of an *os.File.
type file interface {
	io.ReaderAt
	io.WriterAt
	Truncate(size int64) error
	Sync() error
	Close() error
	Stat() (os.FileInfo, error)
}

func openFile(path string) (file, error) { return os.OpenFile(path, os.O_RDWR, 0) }

// appendLog is a log that is open for appending. Its owner's lock is held
// around every call, also during the write: it is what puts records in order.
type appendLog struct {
	name   string
	f      file
	record int64 // bytes
	end    int64 // where the next record goes
	limit  int64 // full is told when the log reaches this size
	buf    []byte
	// unsynced is set by the first write after a sync; wrote is told then. It
	// is nil for a log that needs no syncs.
	unsynced    bool
	wrote, full chan<- struct{}
	broken      error // nothing is written any more
}

func logHeader(name string, config *Config) []byte {
	owner := sha256.Sum256(append(config.Account[:], config.Ledger[:]...))
	b := append(make([]byte, 0, headerBytes), logTags[name]...)
	b = append(b, owner[:]...)
	return seal4(b[:headerBytes-sumBytes])
}

// seal4 appends the CRC-32C of b.
func seal4(b []byte) []byte {
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// whole reports whether b ends with its own CRC-32C.
func whole(b []byte) bool {
	n := len(b) - sumBytes
	return n >= 0 && crc32.Checksum(b[:n], castagnoli) == binary.BigEndian.Uint32(b[n:])
}

// begin starts a batch of records in buf.
func (l *appendLog) begin() { l.buf = l.buf[:0] }

func (l *appendLog) addLink(id *[32]byte, index uint32, link *[32]byte) {
	at := len(l.buf)
	l.buf = append(l.buf, id[:shortBytes]...)
	l.buf = binary.BigEndian.AppendUint32(l.buf, index)
	l.buf = append(l.buf, link[:]...)
	l.buf = binary.BigEndian.AppendUint32(l.buf, crc32.Checksum(l.buf[at:], castagnoli))
}

func (l *appendLog) addOwed(id *[32]byte, unit uint32) {
	at := len(l.buf)
	l.buf = append(l.buf, id[:shortBytes]...)
	l.buf = binary.BigEndian.AppendUint32(l.buf, unit)
	l.buf = binary.BigEndian.AppendUint32(l.buf, crc32.Checksum(l.buf[at:], castagnoli))
}

// commit writes the batch with one write. After an error nothing of it counts,
// nor will when the log is read again; if that cannot be had, the log is broken.
func (l *appendLog) commit() error {
	if l.broken != nil {
		return l.broken
	}
	if len(l.buf) == 0 {
		return nil
	}
	if _, err := l.f.WriteAt(l.buf, l.end); err != nil {
		if undo := l.f.Truncate(l.end); undo != nil {
			return l.fail(errors.Join(err, undo))
		}
		return fmt.Errorf("write %s: %w", l.name, err)
	}
	l.end += int64(len(l.buf))
	if !l.unsynced {
		l.unsynced = true
		tell(l.wrote)
	}
	if l.end >= l.limit {
		tell(l.full)
	}
	return nil
}

// tell wakes the keeper, unless it was told already or there is no such bell.
func tell(bell chan<- struct{}) {
	select {
	case bell <- struct{}{}:
	default:
	}
}

// fail breaks the log for good.
func (l *appendLog) fail(err error) error {
	l.broken = fmt.Errorf("%s: %w (%w)", l.name, ErrBroken, err)
	return l.broken
}

func (l *appendLog) empty() bool { return l.end == headerBytes }

// reset drops all records: they are in wallet.db. It syncs, or a power loss
// could mix old records with new ones.
func (l *appendLog) reset(foldAt int64) error {
	if l.empty() {
		return nil
	}
	if err := l.f.Truncate(headerBytes); err != nil {
		return fmt.Errorf("cut %s: %w", l.name, err)
	}
	failpoint.Hit("wallet.log.cut")
	l.end, l.limit, l.unsynced = headerBytes, foldAt, false
	if err := l.f.Sync(); err != nil {
		return l.fail(err)
	}
	failpoint.Hit("wallet.log.synced")
	return nil
}
