package identity

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Cost says how much work and memory it takes to try one password.
type Cost struct {
	Time    uint32 // passes over the matrix (T)
	Rows    uint32 // rows of the matrix (R); one is Columns x 96 bytes
	Columns uint32 // columns of a row (C)
}

// DefaultCost needs 96 MiB and about a second of one core.
var DefaultCost = Cost{Time: 21, Rows: 4096, Columns: 256}

// Bounds of what a key file may ask for: a file from elsewhere must not be
// able to take all memory, or hours. 49,152 rows of 256 columns are 1.1 GiB.
const (
	minRows    = 3 // Lyra2's setup is defined from three rows on
	maxTime    = 21
	maxRows    = 49152
	maxColumns = 256

	maxPasswordBytes = 4096
)

// ErrCost means that a key file asks for a derivation outside the bounds.
var ErrCost = errors.New("the key file asks for more work than this program accepts: it was not made by it, use another copy")

func (c Cost) check() error {
	if c.Time < 1 || c.Time > maxTime || c.Rows < minRows || c.Rows > maxRows || c.Columns < 1 || c.Columns > maxColumns {
		return fmt.Errorf("%w (time %d, rows %d, columns %d)", ErrCost, c.Time, c.Rows, c.Columns)
	}
	return nil
}

// lyra2 fills out from password and salt. It is Lyra2 as its authors' public
// code has it (one thread, BLAKE2b sponge, one reduced round, blocks of 12
// words), pinned by testdata/lyra2_vectors.json. The cost was checked.
func lyra2(out, password, salt []byte, cost Cost) error {
	matrix, release, err := mapMatrix(cost)
	if err != nil {
		return err
	}
	defer release()
	var s sponge
	defer clear(s[:])
	s.absorbInput(password, salt, len(out), cost)
	last := s.wander(matrix, s.setup(matrix, cost), cost)
	for j := range last {
		s[j] ^= last[j]
	}
	s.permute()
	s.squeeze(out)
	return nil
}

// absorbInput absorbs password, salt and all lengths and costs, padded with
// 10*1 to whole blocks of half the state.
func (s *sponge) absorbInput(password, salt []byte, outLen int, cost Cost) {
	n := len(password) + len(salt) + 24
	input := make([]byte, (n/safeBytes+1)*safeBytes)
	defer clear(input)
	head := append(append(input[:0], password...), salt...)
	for _, v := range [...]uint32{uint32(outLen), uint32(len(password)), uint32(len(salt)), cost.Time, cost.Rows, cost.Columns} {
		head = binary.LittleEndian.AppendUint32(head, v)
	}
	input[n] = 0x80
	input[len(input)-1] ^= 0x01

	copy(s[8:], blakeIV[:])
	for i := 0; i < len(input); i += safeBytes {
		for j := range safeWords {
			s[j] ^= binary.LittleEndian.Uint64(input[i+8*j:])
		}
		s.permute()
	}
}

// rows cuts the matrix into its rows.
type rows struct {
	cells   []column
	columns int
}

func (m rows) row(i uint64) []column {
	return m.cells[int(i)*m.columns:][:m.columns:m.columns]
}

// setup fills the matrix, each row from earlier ones, and returns the last two
// rows it wrote: new and revisited.
func (s *sponge) setup(m rows, cost Cost) [2]uint64 {
	s.squeezeRow(m.row(0))
	s.copyRow(m.row(1), m.row(0))
	s.copyRow(m.row(2), m.row(1))
	// The revisited row walks through a window of earlier rows, which doubles
	// when all of it was visited. The step is root, a power of two near the
	// window's square root, plus or minus one: odd, so it visits each row once.
	var (
		prev, before uint64 = 2, 0
		again        uint64 = 1
		window, step uint64 = 2, 1
		root         uint64 = 2
		gap          int64  = 1
	)
	for next := uint64(3); next < uint64(cost.Rows); next++ {
		s.fillRow(m.row(next), m.row(prev), m.row(again), m.row(before))
		prev, before = next, again
		again = (again + step) & (window - 1)
		if again == 0 {
			window *= 2
			step = uint64(int64(root) + gap)
			gap = -gap
			if gap < 0 {
				root *= 2
			}
		}
	}
	return [2]uint64{prev, before}
}

// wander overwrites rows that the state chooses, Time times as many as there
// are, and returns the first column of the last one.
func (s *sponge) wander(m rows, last [2]uint64, cost Cost) *column {
	n := uint64(cost.Rows)
	p, q := last[0], last[1]
	for range uint64(cost.Time) * n {
		a, b := s[0]%n, s[2]%n
		s.wanderRow(m.row(a), m.row(b), m.row(p), m.row(q))
		p, q = a, b
	}
	return &m.row(p)[0]
}

// squeeze writes the state's rate to out, permuting between full blocks.
func (s *sponge) squeeze(out []byte) {
	var block [rateBytes]byte
	defer clear(block[:])
	for {
		for j := range rateWords {
			binary.LittleEndian.PutUint64(block[8*j:], s[j])
		}
		if copy(out, block[:]) == len(out) {
			return
		}
		out = out[rateBytes:]
		s.permute()
	}
}

// mapMatrix takes the matrix straight from the kernel and gives it back with
// release, so that 96 MiB do not stay in the heap of a node that runs on.
func mapMatrix(cost Cost) (m rows, release func(), err error) {
	cells := int(cost.Rows) * int(cost.Columns)
	size := cells * int(unsafe.Sizeof(column{}))
	mem, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return rows{}, nil, fmt.Errorf("take %d bytes of memory to check the password: %w", size, err)
	}
	// A mapping is page aligned, which is more than a word needs.
	all := unsafe.Slice((*column)(unsafe.Pointer(unsafe.SliceData(mem))), cells)
	// Unmapping what Mmap has just returned, whole and once, cannot fail.
	return rows{all, int(cost.Columns)}, func() { _ = unix.Munmap(mem) }, nil
}
