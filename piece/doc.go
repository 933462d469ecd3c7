// Package piece is a torrent as pieces and blocks: which exist, which we have,
// and which to ask for next.
//
// It holds no data and reads no file: package piece/store does. It knows
// nothing of who is choked or paid: package swarm does.
package piece
