package store

import "sync/atomic"

// Room is how many blocks may be held, out of order, by all the Intakes that
// share it. They hold buffers of one pool: a bound for each of them would not
// keep many torrents together from holding the whole pool.
type Room struct{ left atomic.Int64 }

// NewRoom makes room for n blocks.
func NewRoom(n int) *Room {
	r := &Room{}
	r.left.Store(int64(n))
	return r
}

// take reports whether there was room for one more.
func (r *Room) take() bool {
	if r.left.Add(-1) < 0 {
		r.left.Add(1)
		return false
	}
	return true
}

func (r *Room) give() { r.left.Add(1) }
