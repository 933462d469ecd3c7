package bencode

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"slices"
)

// Kind is the type of a value.
type Kind uint8

// The four types of bencoding, and the end of a list or dictionary, which only
// a Cursor meets.
const (
	Integer Kind = iota + 1
	String
	List
	Dictionary
	End
)

func (k Kind) String() string {
	switch k {
	case Integer:
		return "an integer"
	case String:
		return "a string"
	case List:
		return "a list"
	case Dictionary:
		return "a dictionary"
	case End:
		return "an end"
	}
	return "nothing"
}

// What reading a checked value can still meet.
var (
	ErrMissing = errors.New("is missing")
	ErrType    = errors.New("has the wrong type")
)

// Value is a checked value, as the bytes it came as. The zero Value is nothing,
// of no kind. Values share the memory of the input, which must not change while
// they are used.
type Value struct{ raw []byte }

// Parse checks that b is exactly one value.
func Parse(b []byte, lim Limits) (Value, error) {
	if err := Check(b, lim); err != nil {
		return Value{}, err
	}
	return Value{b}, nil
}

// ParsePrefix checks the one value at the start of b, and returns what follows
// it: the data of a ut_metadata message (BEP 9), or the bytes that some
// programs leave after a torrent's dictionary.
func ParsePrefix(b []byte, lim Limits) (v Value, rest []byte, err error) {
	n, err := Span(b, lim)
	if err != nil {
		return Value{}, nil, err
	}
	return Value{b[:n:n]}, b[n:], nil
}

// Raw is the value's own bytes.
func (v Value) Raw() []byte { return v.raw }

// Clone is the value in memory of its own.
func (v Value) Clone() Value { return Value{slices.Clip(bytes.Clone(v.raw))} }

// Kind is the value's type, or 0 for nothing.
func (v Value) Kind() Kind {
	if len(v.raw) == 0 {
		return 0
	}
	return kind(v.raw[0])
}

// kind is told by the first byte.
func kind(c byte) Kind {
	switch c {
	case 'i':
		return Integer
	case 'l':
		return List
	case 'd':
		return Dictionary
	case 'e':
		return End
	}
	return String
}

// want distinguishes what is not there from what is not what it should be.
func (v Value) want(k Kind) error {
	switch have := v.Kind(); have {
	case k:
		return nil
	case 0:
		return ErrMissing
	default:
		return fmt.Errorf("%w: %v, not %v", ErrType, have, k)
	}
}

// Int is the value of an integer. Errors: ErrMissing, ErrType.
func (v Value) Int() (int64, error) {
	if err := v.want(Integer); err != nil {
		return 0, err
	}
	n, _ := number(v.raw, 1)
	return n, nil
}

// Bytes is the content of a string, in the memory of the input. Errors:
// ErrMissing, ErrType.
func (v Value) Bytes() ([]byte, error) {
	if err := v.want(String); err != nil {
		return nil, err
	}
	n, colon := number(v.raw, 0)
	return v.raw[colon+1 : colon+1+int(n)], nil
}

// Text is the content of a string as a Go string, whether it is UTF-8 or not.
func (v Value) Text() (string, error) {
	b, err := v.Bytes()
	return string(b), err
}

// Elements are the values of a list; of anything else there are none.
func (v Value) Elements() iter.Seq[Value] {
	return func(yield func(Value) bool) {
		if v.Kind() != List {
			return
		}
		for at := 1; v.raw[at] != 'e'; {
			next := skip(v.raw, at)
			if !yield(Value{v.raw[at:next:next]}) {
				return
			}
			at = next
		}
	}
}

// number reads the digits, with a minus perhaps, from at on, and returns where
// they end. The scanner has checked them.
func number(b []byte, at int) (n int64, end int) {
	negative := b[at] == '-'
	if negative {
		at++
	}
	for ; b[at] >= '0' && b[at] <= '9'; at++ {
		n = n*10 + int64(b[at]-'0')
	}
	if negative {
		n = -n // of -2^63 too: the sum has wrapped to it already
	}
	return n, at
}

// skip returns where the checked value at at ends.
func skip(b []byte, at int) int {
	depth := 0
	for {
		switch b[at] {
		case 'l', 'd':
			depth++
			at++
		case 'e':
			depth--
			at++
		case 'i':
			_, at = number(b, at+1)
			at++
		default:
			n, colon := number(b, at)
			at = colon + 1 + int(n)
		}
		if depth == 0 {
			return at
		}
	}
}
