package ledger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"slices"

	"torrente/internal/failpoint"
	"torrente/payment/contract"
)

// The log is one file, which needs no other to be read, big endian:
//
//	tag 8 | length u32 | genesis document | CRC-32C of all before u32
//	then for each block: length u32 | CRC-32C of length u32 | block | CRC-32C of block u32
//
// The length has a checksum of its own, so that a flipped bit in it is not
// taken for a block that was cut off by a crash.
const (
	logTag     = "TRNTLOG1"
	headBytes  = 8 // of a frame, before the block
	tailBytes  = 4 // after it
	frameBytes = headBytes + tailBytes
	// sector is the unit in which disks write: after a power loss each one is
	// there or is not.
	sector = 512
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// file is what the log needs of an *os.File.
type file interface {
	io.ReaderAt
	io.WriterAt
	Truncate(size int64) error
	Sync() error
	Close() error
}

// blockLog is a log that is open for appending. The committer alone uses it.
type blockLog struct {
	f   file
	end int64 // where the next frame goes
}

// errTorn means that the last frame was not written whole.
var errTorn = errors.New("the last block was not written whole")

func appendLogHeader(b, genesis []byte) []byte {
	b = binary.BigEndian.AppendUint32(append(b, logTag...), uint32(len(genesis)))
	b = append(b, genesis...)
	return binary.BigEndian.AppendUint32(b, checksum(b))
}

func appendFrame(b, payload []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
	b = binary.BigEndian.AppendUint32(b, checksum(b[len(b)-4:]))
	b = append(b, payload...)
	return binary.BigEndian.AppendUint32(b, checksum(payload))
}

// logReader walks the frames of a log from the front.
type logReader struct {
	r    io.ReaderAt
	at   int64 // of the next frame
	size int64
}

// newLogReader reads the header and returns the genesis document.
func newLogReader(r io.ReaderAt, size int64) (*logReader, []byte, error) {
	head := make([]byte, len(logTag)+4)
	if _, err := io.ReadFull(io.NewSectionReader(r, 0, size), head); err != nil {
		return nil, nil, fmt.Errorf("%w (its first bytes: %w)", ErrDamaged, err)
	}
	length := int64(binary.BigEndian.Uint32(head[len(logTag):]))
	if string(head[:len(logTag)]) != logTag || length > contract.MaxGenesis {
		return nil, nil, fmt.Errorf("%w (its first bytes)", ErrDamaged)
	}
	rest := make([]byte, length+4)
	if _, err := io.ReadFull(io.NewSectionReader(r, int64(len(head)), size-int64(len(head))), rest); err != nil {
		return nil, nil, fmt.Errorf("%w (the genesis document: %w)", ErrDamaged, err)
	}
	genesis := rest[:length:length]
	if checksum(append(head, genesis...)) != binary.BigEndian.Uint32(rest[length:]) {
		return nil, nil, fmt.Errorf("%w (the genesis document)", ErrDamaged)
	}
	return &logReader{r, int64(len(head) + len(rest)), size}, genesis, nil
}

// next returns the next block's bytes, io.EOF at the end, errTorn if the rest
// of the file is the beginning of a block whose writing a crash cut off, or
// ErrDamaged for anything else that is not a frame.
func (l *logReader) next() ([]byte, error) {
	left := l.size - l.at
	if left == 0 {
		return nil, io.EOF
	}
	if left < headBytes {
		return nil, errTorn
	}
	var head [headBytes]byte
	if _, err := l.r.ReadAt(head[:], l.at); err != nil {
		return nil, fmt.Errorf("read the block log at byte %d: %w", l.at, err)
	}
	length := int64(binary.BigEndian.Uint32(head[:]))
	switch {
	case checksum(head[:4]) != binary.BigEndian.Uint32(head[4:]):
		return nil, l.tornOrDamaged(left)
	case length > maxBlockBytes:
		return nil, fmt.Errorf("%w (a block of %d bytes at byte %d)", ErrDamaged, length, l.at)
	case left < frameBytes+length:
		return nil, errTorn
	}
	body := make([]byte, length+tailBytes)
	if _, err := l.r.ReadAt(body, l.at+headBytes); err != nil {
		return nil, fmt.Errorf("read the block log at byte %d: %w", l.at, err)
	}
	payload := body[:length:length]
	if checksum(payload) != binary.BigEndian.Uint32(body[length:]) {
		if left > frameBytes+length {
			return nil, fmt.Errorf("%w (the block at byte %d)", ErrDamaged, l.at)
		}
		return nil, l.tornOrDamaged(left)
	}
	l.at += frameBytes + length
	return payload, nil
}

// tornOrDamaged tells a last block that a power loss left with sectors never
// written, which read as zeros, from one that was changed later. left is how
// many bytes of the file begin at it, headBytes at least.
func (l *logReader) tornOrDamaged(left int64) error {
	damaged := fmt.Errorf("%w (the block at byte %d)", ErrDamaged, l.at)
	if left > frameBytes+maxBlockBytes {
		return damaged
	}
	rest := make([]byte, left)
	if _, err := l.r.ReadAt(rest, l.at); err != nil {
		return fmt.Errorf("read the block log at byte %d: %w", l.at, err)
	}
	if slices.ContainsFunc(l.sectors(rest), func(s []byte) bool { return len(s) >= minBlank && blank(s) }) || l.tornAtAnEnd(rest) {
		return errTorn
	}
	return damaged
}

// minBlank is how many zeros make a sector one that was never written: fewer
// may be anybody's.
const minBlank = 4

// sectors cuts what follows the last good block where the disk does.
func (l *logReader) sectors(rest []byte) (all [][]byte) {
	for at := l.at; len(rest) > 0; {
		n := min(int64(len(rest)), sector-at%sector)
		all = append(all, rest[:n])
		at, rest = at+n, rest[n:]
	}
	return all
}

// tornAtAnEnd reports whether all that is wrong with the rest of the file, taken
// for one frame, is that a sector with the first or last few bytes of it was
// never written. Those are of the length or of the block's checksum, which the
// block tells again.
func (l *logReader) tornAtAnEnd(rest []byte) bool {
	if len(rest) < frameBytes {
		return false
	}
	whole := l.sectors(appendFrame(make([]byte, 0, len(rest)), rest[headBytes:len(rest)-tailBytes]))
	for i, s := range l.sectors(rest) {
		if !bytes.Equal(s, whole[i]) && !(len(s) < minBlank && blank(s)) {
			return false
		}
	}
	return true
}

func blank(b []byte) bool { return bytes.Count(b, []byte{0}) == len(b) }

// append writes a block and returns when it is on the disk. An error that is
// ErrBroken ends the log; after another nothing was written.
func (l *blockLog) append(payload []byte) error {
	frame := appendFrame(make([]byte, 0, len(payload)+frameBytes), payload)
	failpoint.Hit("ledger.block.write")
	if _, err := l.f.WriteAt(frame, l.end); err != nil {
		if undo := l.f.Truncate(l.end); undo != nil {
			return fmt.Errorf("%w (%w)", ErrBroken, errors.Join(err, undo))
		}
		return fmt.Errorf("write a block: %w", err)
	}
	failpoint.Hit("ledger.block.sync")
	// After a failed sync nobody knows what is on the disk, and a second sync
	// would not say so.
	if err := l.f.Sync(); err != nil {
		return fmt.Errorf("%w (%w)", ErrBroken, err)
	}
	failpoint.Hit("ledger.block.synced")
	l.end += int64(len(frame))
	return nil
}

// cut removes a torn last block.
func (l *blockLog) cut(end int64) error {
	l.end = end
	failpoint.Hit("ledger.log.cut")
	if err := l.f.Truncate(end); err != nil {
		return fmt.Errorf("cut the block log: %w", err)
	}
	return l.f.Sync()
}

// createLog writes a new log that holds a genesis document and no block.
func createLog(path string, genesis []byte) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.Write(appendLogHeader(nil, genesis)); err != nil {
		return err
	}
	return f.Sync()
}
