package swarm

// byPiece is a map by piece that remembers what it was asked for last: blocks
// of one piece come one after the other.
type byPiece[V any] struct {
	all map[uint32]V

	known bool // that the following are in all
	index uint32
	value V
}

func newByPiece[V any]() byPiece[V] { return byPiece[V]{all: map[uint32]V{}} }

func (m *byPiece[V]) get(index uint32) (value V, ok bool) {
	if m.known && m.index == index {
		return m.value, true
	}
	if value, ok = m.all[index]; ok {
		m.known, m.index, m.value = true, index, value
	}
	return value, ok
}

func (m *byPiece[V]) has(index uint32) bool {
	_, ok := m.all[index]
	return ok
}

func (m *byPiece[V]) put(index uint32, value V) {
	m.all[index] = value
	m.known, m.index, m.value = true, index, value
}

func (m *byPiece[V]) delete(index uint32) {
	delete(m.all, index)
	if m.index == index {
		*m = byPiece[V]{all: m.all}
	}
}
