package bencode

import (
	"bytes"
	"fmt"
	"iter"
	"slices"
	"sort"
)

// Dict finds the values of a dictionary by key. Keys are compared byte by byte:
// "Name" is not "name". It costs twelve bytes an entry. The zero Dict is empty.
type Dict struct {
	raw     []byte
	entries []entry // by key
}

// entry is a key, and the value from the key's end on.
type entry struct{ key, value, end uint32 }

// ParseDict checks that b is exactly one dictionary.
func ParseDict(b []byte, lim Limits) (Dict, error) {
	v, err := Parse(b, lim)
	if err != nil {
		return Dict{}, err
	}
	return v.Dict()
}

// Dict indexes a dictionary. Errors: ErrMissing, ErrType.
func (v Value) Dict() (Dict, error) {
	var d Dict
	err := d.Index(v)
	return d, err
}

// Index makes d the index of v, in the memory of the index it was before: for
// lists of many dictionaries.
func (d *Dict) Index(v Value) error {
	d.raw, d.entries = nil, d.entries[:0]
	if err := v.want(Dictionary); err != nil {
		return err
	}
	d.raw = v.raw
	// Counted first: a slice that grows leaves several times its length behind.
	d.entries = slices.Grow(d.entries, d.count())
	sorted := true
	for at := 1; d.raw[at] != 'e'; {
		n, colon := number(d.raw, at)
		e := entry{key: uint32(colon + 1), value: uint32(colon + 1 + int(n))}
		at = skip(d.raw, int(e.value))
		e.end = uint32(at)
		if len(d.entries) > 0 {
			sorted = sorted && d.compare(d.entries[len(d.entries)-1], e) < 0
		}
		d.entries = append(d.entries, e)
	}
	// Only where Limits.Unsorted let it pass.
	if !sorted {
		slices.SortFunc(d.entries, d.compare)
	}
	return nil
}

// count is the number of entries of d.raw.
func (d Dict) count() (n int) {
	for at := 1; d.raw[at] != 'e'; n++ {
		at = skip(d.raw, skip(d.raw, at))
	}
	return n
}

func (d Dict) compare(a, b entry) int { return bytes.Compare(d.key(a), d.key(b)) }

func (d Dict) key(e entry) []byte  { return d.raw[e.key:e.value] }
func (d Dict) value(e entry) Value { return Value{d.raw[e.value:e.end:e.end]} }

// Len is the number of entries.
func (d Dict) Len() int { return len(d.entries) }

// Get is the value of a key, or nothing.
func (d Dict) Get(key string) Value {
	i, ok := sort.Find(len(d.entries), func(i int) int {
		return compareString(key, d.key(d.entries[i]))
	})
	if !ok {
		return Value{}
	}
	return d.value(d.entries[i])
}

// compareString is bytes.Compare without a copy of the string.
func compareString(a string, b []byte) int {
	switch {
	case a < string(b):
		return -1
	case a > string(b):
		return 1
	}
	return 0
}

// Has tells whether the key is there, whatever its value is.
func (d Dict) Has(key string) bool { return d.Get(key).Kind() != 0 }

// All are the entries, in the order of their keys, whatever order they came in.
func (d Dict) All() iter.Seq2[[]byte, Value] {
	return func(yield func([]byte, Value) bool) {
		for _, e := range d.entries {
			if !yield(d.key(e), d.value(e)) {
				return
			}
		}
	}
}

// Int is the integer under key. Errors name the key; they are ErrMissing or
// ErrType, as for all that follow.
func (d Dict) Int(key string) (int64, error) {
	n, err := d.Get(key).Int()
	return n, named(key, err)
}

// Bytes is the string under key, in the memory of the input.
func (d Dict) Bytes(key string) ([]byte, error) {
	b, err := d.Get(key).Bytes()
	return b, named(key, err)
}

// Text is the string under key as a Go string, UTF-8 or not.
func (d Dict) Text(key string) (string, error) {
	s, err := d.Get(key).Text()
	return s, named(key, err)
}

// List is the list under key.
func (d Dict) List(key string) (Value, error) {
	v := d.Get(key)
	return v, named(key, v.want(List))
}

// Dict is the index of the dictionary under key.
func (d Dict) Dict(key string) (Dict, error) {
	sub, err := d.Get(key).Dict()
	return sub, named(key, err)
}

// named adds to an error which value it is about.
func named(key string, err error) error {
	if err != nil {
		return fmt.Errorf("%q %w", key, err)
	}
	return nil
}
