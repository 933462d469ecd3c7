// Package peerwire is the peer protocol as bytes: the handshake, every message
// of BEP 3, 6, 9, 10 and 52, the payment messages, and the limits within which
// they are accepted.
//
// A message on the wire is a u32 length, then as many bytes: an id and its
// body. All integers are big endian. Length 0 is a keep-alive.
//
//	length  4 | id 1 | body length-1
//	choke, unchoke, interested, not interested, have all, have none   -
//	have, suggest, allowed fast                        index 4
//	request, cancel, reject              index 4 | begin 4 | length 4
//	piece                                 index 4 | begin 4 | data ...
//	bitfield                                                 bits ...
//	extended                                     extension id 1 | ...
//	hash request, hash reject    root 32 | base 4 | index 4 | length 4 | proofs 4
//	hashes                                     the same | hash 32 ...
//	payment messages                                   see payment.go
//
// It does not read sockets, keep state between messages or judge whether a
// message makes sense now: that is package swarm.
package peerwire
