package bencode

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
)

// What the scanner refuses. Errors wrap one of these and say at which byte.
var (
	ErrSyntax    = errors.New("not bencoding")
	ErrShort     = errors.New("ends in the middle of a value")
	ErrLimit     = errors.New("exceeds a limit")
	ErrOrder     = errors.New("keys out of order")
	ErrDuplicate = errors.New("a key that comes twice")
)

// Span scans the one value at the start of b and returns its length. It does
// not recurse, looks at each byte once, and allocates nothing unless
// lim.Unsorted, when it remembers the keys of the dictionaries that are open,
// at eight bytes a key. Every number it lets pass fits an int64, and numbers
// and string lengths have one spelling only.
func Span(b []byte, lim Limits) (int, error) {
	if len(b) > lim.Size {
		return 0, fmt.Errorf("%d bytes, %d is the most allowed: %w", len(b), lim.Size, ErrLimit)
	}
	s := scanner{b: b, lim: lim}
	s.lim.Depth = min(lim.Depth, MaxDepth)
	for {
		if err := s.token(); err != nil {
			return 0, fmt.Errorf("byte %d: %w", s.at, err)
		}
		if s.depth == 0 {
			return s.at, nil
		}
	}
}

// Check requires that b is exactly one value.
func Check(b []byte, lim Limits) error {
	n, err := Span(b, lim)
	if err == nil && n != len(b) {
		err = fmt.Errorf("byte %d: something follows the value: %w", n, ErrSyntax)
	}
	return err
}

// scanner walks over the input once. What is open is on a stack of fixed size,
// since a stack that grows with the input, Go's own too, is what bombs aim at.
type scanner struct {
	b      []byte
	at     int // next byte to look at; where an error is
	lim    Limits
	tokens int
	depth  int
	stack  [MaxDepth]frame
	keys   []span // of all open dictionaries, outermost first; only if lim.Unsorted
}

// frame is a list or dictionary that has not ended yet.
type frame struct {
	dict      bool
	wantValue bool // a key came, its value did not
	haveKey   bool
	unsorted  bool
	last      span // the key that came last
	firstKey  int  // index into scanner.keys
}

// span is a part of the input. Inputs are far below 4 GiB.
type span struct{ from, to uint32 }

func (s *scanner) bytes(p span) []byte { return s.b[p.from:p.to] }

// token takes one token of the input. After the last one depth is 0.
func (s *scanner) token() error {
	if s.at >= len(s.b) {
		return ErrShort
	}
	c := s.b[s.at]
	if c == 'e' && s.depth > 0 {
		return s.end()
	}
	if s.tokens++; s.tokens > s.lim.Tokens {
		return fmt.Errorf("more than %d values: %w", s.lim.Tokens, ErrLimit)
	}
	// In a dictionary keys and values alternate. The value counts as come when
	// it begins: if it is a list or dictionary, the next key is read after its end.
	if s.depth > 0 {
		if f := &s.stack[s.depth-1]; f.dict {
			if !f.wantValue {
				return s.key(f)
			}
			f.wantValue = false
		}
	}
	switch {
	case c >= '0' && c <= '9':
		_, err := s.str()
		return err
	case c == 'i':
		return s.integer()
	case c == 'l', c == 'd':
		return s.open(c == 'd')
	}
	return ErrSyntax
}

// open begins a list or dictionary.
func (s *scanner) open(dict bool) error {
	if s.depth >= s.lim.Depth {
		return fmt.Errorf("nested deeper than %d: %w", s.lim.Depth, ErrLimit)
	}
	s.stack[s.depth] = frame{dict: dict, firstKey: len(s.keys)}
	s.depth++
	s.at++
	return nil
}

// end closes the innermost list or dictionary. If keys of a dictionary were
// out of order, only now is it known whether one came twice.
func (s *scanner) end() error {
	f := &s.stack[s.depth-1]
	if f.wantValue {
		return fmt.Errorf("a key without a value: %w", ErrSyntax)
	}
	if f.unsorted {
		keys := s.keys[f.firstKey:]
		compare := func(a, b span) int { return bytes.Compare(s.bytes(a), s.bytes(b)) }
		slices.SortFunc(keys, compare)
		for i := 1; i < len(keys); i++ {
			if compare(keys[i-1], keys[i]) == 0 {
				return fmt.Errorf("%w: %.40q", ErrDuplicate, s.bytes(keys[i]))
			}
		}
	}
	s.keys = s.keys[:f.firstKey]
	s.depth--
	s.at++
	return nil
}

// key takes a key. It must be a string, and not have come before.
func (s *scanner) key(f *frame) error {
	if c := s.b[s.at]; c < '0' || c > '9' {
		return fmt.Errorf("a key must be a string: %w", ErrSyntax)
	}
	k, err := s.str()
	if err != nil {
		return err
	}
	if f.haveKey {
		if err := s.order(f, k); err != nil {
			return err
		}
	}
	f.last, f.haveKey, f.wantValue = k, true, true
	if s.lim.Unsorted {
		s.keys = append(s.keys, k)
	}
	return nil
}

// order compares a key with the one before. Sorted keys tell at once whether
// one comes twice; of others that is known at the end.
func (s *scanner) order(f *frame, k span) error {
	switch c := bytes.Compare(s.bytes(f.last), s.bytes(k)); {
	case c == 0:
		return fmt.Errorf("%w: %.40q", ErrDuplicate, s.bytes(k))
	case c > 0 && !s.lim.Unsorted:
		return fmt.Errorf("%w: %.40q after %.40q", ErrOrder, s.bytes(k), s.bytes(f.last))
	case c > 0:
		f.unsorted = true
	}
	return nil
}

// str takes a string. Its length is checked against the limit and what is left
// digit by digit, so it cannot overflow.
func (s *scanner) str() (span, error) {
	n, j := 0, s.at
	for ; j < len(s.b) && s.b[j] >= '0' && s.b[j] <= '9'; j++ {
		n = n*10 + int(s.b[j]-'0')
		if n > s.lim.String {
			return span{}, fmt.Errorf("a string longer than %d bytes: %w", s.lim.String, ErrLimit)
		}
		if n > len(s.b) {
			return span{}, ErrShort
		}
	}
	switch {
	case j == len(s.b):
		return span{}, ErrShort
	case s.b[j] != ':', s.b[s.at] == '0' && j != s.at+1:
		return span{}, ErrSyntax
	case len(s.b)-j-1 < n:
		return span{}, ErrShort
	}
	s.at = j + 1 + n
	return span{uint32(j + 1), uint32(s.at)}, nil
}

// integer takes an integer: no leading zero, no minus zero, within 64 bits.
func (s *scanner) integer() error {
	j := s.at + 1
	negative := j < len(s.b) && s.b[j] == '-'
	if negative {
		j++
	}
	first := j
	var v uint64
	for ; j < len(s.b) && s.b[j] >= '0' && s.b[j] <= '9'; j++ {
		if j-first >= 19 { // 19 digits fit a uint64, 20 may not
			return fmt.Errorf("an integer beyond 64 bits: %w", ErrLimit)
		}
		v = v*10 + uint64(s.b[j]-'0')
	}
	switch {
	case j == len(s.b):
		return ErrShort
	case j == first, s.b[j] != 'e', s.b[first] == '0' && (negative || j != first+1):
		return ErrSyntax
	case v > 1<<63-1 && (!negative || v > 1<<63):
		return fmt.Errorf("an integer beyond 64 bits: %w", ErrLimit)
	}
	s.at = j + 1
	return nil
}
