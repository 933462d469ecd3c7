package store

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"

	"github.com/google/renameio/v2"

	"torrente/internal/failpoint"
	"torrente/piece"
)

// A resume record says which pieces were verified:
//
//	"TRNTRES1" | torrent id 32 | clean 1 | boot 32 | pieces u32 | bits ... |
//	per file: size i64, modified i64 (ns) | CRC-32C of all before u32
//
// Integers are big endian. clean is 1 when the data was synced before; boot is
// the SHA-256 of the kernel's boot id.
const resumeMagic = "TRNTRES1"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrNoResume says that there is no record to believe, and why.
var ErrNoResume = errors.New("nothing to resume from")

// SaveResume writes the record of have to path, atomically. clean asks for the
// data to be synced first: after that the record is believed even if the
// machine crashed. If that fails an older record is removed: what it claims may
// be lost too. The record tells how the files looked when LoadResume looked at
// them and when we last wrote, so that what others changed since is noticed.
func (s *Store) SaveResume(path string, have *piece.Bitfield, clean bool) error {
	if clean {
		if err := s.files.sync(); err != nil {
			err = errors.Join(err, RemoveResume(path))
			return fmt.Errorf("sync %q: %w", s.info.Name, err)
		}
	}
	id, boot := s.info.ID(), s.boot
	b := append([]byte(resumeMagic), id[:]...)
	b = append(b, asByte(clean))
	b = append(b, boot[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(have.Len()))
	b = append(b, have.Wire()...)
	for i := range s.info.Files {
		l := s.seen(i)
		b = binary.BigEndian.AppendUint64(b, uint64(l.size))
		b = binary.BigEndian.AppendUint64(b, uint64(l.modified))
	}
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	failpoint.Hit("store.resume.write")
	if err := renameio.WriteFile(path, b, 0o600); err != nil {
		return fmt.Errorf("save the resume record of %q: %w", s.info.Name, err)
	}
	failpoint.Hit("store.resume.written")
	return nil
}

// RemoveResume removes the record at path, if there is one: after an error of
// the disk nothing that it claims is to be believed.
func RemoveResume(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// LoadResume reads the record at path. Without one that can be believed it
// fails with ErrNoResume: then every piece is to be checked. believed is false
// when the process was killed since: pieces that the record lacks may be on
// disk all the same, and are worth a check.
func (s *Store) LoadResume(path string) (have *piece.Bitfield, clean bool, err error) {
	s.look()
	pieces, bitLen := s.layout.Pieces(), (s.layout.Pieces()+7)/8
	want := len(resumeMagic) + 32 + 1 + 32 + 4 + bitLen + 16*len(s.info.Files) + 4
	b, err := readAtMost(path, want)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, fmt.Errorf("%w: no record", ErrNoResume)
	}
	if err != nil {
		return nil, false, err
	}
	body, sum := b[:max(0, len(b)-4)], b[max(0, len(b)-4):]
	id, boot := s.info.ID(), s.boot
	if len(b) != want || crc32.Checksum(body, castagnoli) != binary.BigEndian.Uint32(sum) ||
		string(body[:8]) != resumeMagic || [32]byte(body[8:40]) != id ||
		binary.BigEndian.Uint32(body[73:]) != uint32(pieces) {
		return nil, false, fmt.Errorf("%w: the record is damaged", ErrNoResume)
	}
	clean = body[40] == 1
	if !clean && (boot == [32]byte{} || [32]byte(body[41:73]) != boot) {
		return nil, false, fmt.Errorf("%w: the machine stopped without warning", ErrNoResume)
	}
	have, err = piece.ParseBitfield(body[77:77+bitLen], pieces)
	if err != nil {
		return nil, false, fmt.Errorf("%w: %w", ErrNoResume, err)
	}
	if !s.unchanged(body[77+bitLen:], clean) {
		return nil, false, fmt.Errorf("%w: a file changed since", ErrNoResume)
	}
	return have, clean, nil
}

// unchanged compares the files with the stats of the record. After a kill the
// files may have grown since the record, but not shrunk.
func (s *Store) unchanged(stats []byte, clean bool) bool {
	for i, f := range s.info.Files {
		if f.Pad {
			continue
		}
		now := s.seen(i)
		was := int64(binary.BigEndian.Uint64(stats[16*i:]))
		wasModified := int64(binary.BigEndian.Uint64(stats[16*i+8:]))
		if now.size < was || clean && (now.size != was || now.modified != wasModified) {
			return false
		}
	}
	return true
}

// look remembers how all files look, before anything is read from them.
func (s *Store) look() {
	for i := range s.info.Files {
		l := s.stat(i)
		s.files.mu.Lock()
		s.files.seen[i] = l
		s.files.mu.Unlock()
	}
}

// seen is how a file looked last, or looks if we never looked.
func (s *Store) seen(i int) look {
	s.files.mu.Lock()
	l, ok := s.files.seen[i]
	s.files.mu.Unlock()
	if !ok {
		l = s.stat(i)
	}
	return l
}

// stat is how a file looks now.
func (s *Store) stat(i int) look {
	if s.info.Files[i].Pad {
		return look{}
	}
	st, err := s.files.root.Stat(s.files.name(i))
	if err != nil {
		return look{size: -1}
	}
	return look{st.Size(), st.ModTime().UnixNano()}
}

// Empty reports whether no file of the torrent with data exists yet: then
// there is nothing to check.
func (s *Store) Empty() bool {
	for i, f := range s.info.Files {
		if !f.Pad && f.Length > 0 && s.stat(i).size > 0 {
			return false
		}
	}
	return true
}

func readAtMost(path string, n int) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, int64(n)+1))
}

// bootID tells this run of the machine from others; zero where the system does
// not say.
func bootID() [32]byte {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return [32]byte{}
	}
	return sha256.Sum256(b)
}

func isAbsent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, io.ErrUnexpectedEOF)
}

func asByte(b bool) byte {
	if b {
		return 1
	}
	return 0
}
