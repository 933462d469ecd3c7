package fabric

import (
	"slices"
	"strings"

	"torrente/payment/contract"
)

// memory is a contract.State in memory, with what was written to it since it was
// asked last.
type memory struct {
	rows   map[string][]byte
	keys   []string          // sorted; nil: not up to date
	writes map[string][]byte // nil values are deleted rows
}

var _ contract.State = (*memory)(nil)

func newMemory() *memory {
	return &memory{rows: map[string][]byte{}, writes: map[string][]byte{}}
}

// taken returns what was written, and forgets it.
func (m *memory) taken() map[string][]byte {
	w := m.writes
	m.writes = map[string][]byte{}
	return w
}

func (m *memory) Get(key string) ([]byte, error) { return m.rows[key], nil }

func (m *memory) GetMany(keys []string) ([][]byte, error) {
	values := make([][]byte, len(keys))
	for i, key := range keys {
		values[i] = m.rows[key]
	}
	return values, nil
}

func (m *memory) Put(key string, value []byte) error {
	if m.rows[key] == nil {
		m.keys = nil
	}
	value = slices.Clone(value)
	m.rows[key], m.writes[key] = value, value
	return nil
}

func (m *memory) Delete(key string) error {
	delete(m.rows, key)
	m.keys, m.writes[key] = nil, nil
	return nil
}

func (m *memory) Range(prefix, after string, limit int) (found []contract.Row, err error) {
	if m.keys == nil {
		m.keys = make([]string, 0, len(m.rows))
		for key := range m.rows {
			m.keys = append(m.keys, key)
		}
		slices.Sort(m.keys)
	}
	from := max(prefix, after)
	i, exact := slices.BinarySearch(m.keys, from)
	if exact && from == after {
		i++
	}
	for ; i < len(m.keys) && len(found) < limit && strings.HasPrefix(m.keys[i], prefix); i++ {
		found = append(found, contract.Row{Key: m.keys[i], Value: m.rows[m.keys[i]]})
	}
	return found, nil
}
