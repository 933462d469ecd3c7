package contract

import (
	"fmt"
	"maps"
	"slices"

	"golang.org/x/crypto/cryptobyte"
)

// Row is one entry of a State.
type Row struct {
	Key   string
	Value []byte
}

// Reader reads committed rows. Values are not changed by either side.
type Reader interface {
	// Get returns nil for a row that does not exist.
	Get(key string) ([]byte, error)
	// GetMany returns as many values as keys, in their order.
	GetMany(keys []string) ([][]byte, error)
	// Range returns at most limit rows whose key begins with prefix and is
	// greater than after, in order of their keys. Only queries use it.
	Range(prefix, after string, limit int) ([]Row, error)
}

// State is where the ledger's rows live. Writes need not be seen by reads of
// the same transaction, as on Fabric; an empty value is never written.
type State interface {
	Reader
	Put(key string, value []byte) error
	Delete(key string) error
}

// overlay shows a transaction the rows it has written, on any backend, and
// keeps all writes back until commit. The first error of the backend sticks:
// reads give nothing after it, and commit returns it.
type overlay struct {
	base    State
	rows    map[string]cell // read or written
	journal []change        // writes, for rollback
	err     error
}

type cell struct {
	value   []byte // nil: no such row
	written bool
}

type change struct {
	key    string
	before cell
}

func newOverlay(base State) *overlay {
	return &overlay{base: base, rows: map[string]cell{}}
}

// load reads rows that will be needed in one go.
func (o *overlay) load(keys ...string) {
	missing := make([]string, 0, len(keys))
	for _, k := range keys {
		if _, known := o.rows[k]; !known {
			o.rows[k] = cell{}
			missing = append(missing, k)
		}
	}
	if o.err != nil || len(missing) == 0 {
		return
	}
	values, err := o.base.GetMany(missing)
	if err == nil && len(values) != len(missing) {
		err = fmt.Errorf("read %d rows: the state gave %d", len(missing), len(values))
	}
	if err != nil {
		o.err = err
		return
	}
	for i, k := range missing {
		o.rows[k] = cell{value: values[i]}
	}
}

func (o *overlay) get(key string) []byte {
	if c, known := o.rows[key]; known {
		return c.value
	}
	if o.err != nil {
		return nil
	}
	value, err := o.base.Get(key)
	if err != nil {
		o.err = fmt.Errorf("read %s: %w", key, err)
		return nil
	}
	o.rows[key] = cell{value: value}
	return value
}

func (o *overlay) has(key string) bool { return o.get(key) != nil }

// read decodes the row into dst and reports whether it exists. A row that does
// not decode was never written by this package: the backend broke.
func (o *overlay) read(key string, dst rowReader) bool {
	value := o.get(key)
	if value == nil {
		return false
	}
	if err := decodeRow(key, value, dst); err != nil {
		o.err = err
		return false
	}
	return true
}

func (o *overlay) set(key string, value []byte) {
	before, known := o.rows[key]
	if !known {
		o.get(key) // every row written has been read: Fabric then notices conflicts (see Unwritten)
		before = o.rows[key]
	}
	o.journal = append(o.journal, change{key, before})
	o.rows[key] = cell{value, true}
}

func (o *overlay) put(key string, row rowWriter) { o.set(key, row.append(nil)) }

func (o *overlay) delete(key string) { o.set(key, nil) }

// mark and rollback undo the writes of one item of a list.
func (o *overlay) mark() int { return len(o.journal) }

func (o *overlay) rollback(mark int) {
	for _, c := range slices.Backward(o.journal[mark:]) {
		o.rows[c.key] = c.before
	}
	o.journal = o.journal[:mark]
}

// commit hands the writes to the backend, in order of their keys, so that all
// endorsers write the same sequence. It reports whether there were any.
func (o *overlay) commit() (bool, error) {
	if o.err != nil {
		return false, o.err
	}
	wrote := false
	for _, key := range slices.Sorted(maps.Keys(o.rows)) {
		c := o.rows[key]
		if !c.written {
			continue
		}
		wrote = true
		if err := o.write(key, c.value); err != nil {
			return wrote, fmt.Errorf("write %s: %w", key, err)
		}
	}
	return wrote, nil
}

func (o *overlay) write(key string, value []byte) error {
	if value == nil {
		return o.base.Delete(key)
	}
	return o.base.Put(key, value)
}

type rowWriter interface{ append(b []byte) []byte }

type rowReader interface {
	read(in *cryptobyte.String) bool
}

func decodeRow(key string, value []byte, dst rowReader) error {
	in := cryptobyte.String(value)
	if !dst.read(&in) || !in.Empty() {
		return fmt.Errorf("row %s: %w", key, ErrDamaged)
	}
	return nil
}
