// Package swarm decides for one torrent: whom to dial, what to ask and of
// whom, whom to serve, what to announce.
//
// It is a state machine without I/O. Inputs are methods named for what
// happened; Take returns what is to be done about it. Time is an argument. One
// goroutine of package node drives it over real sockets, and an event queue
// may drive many of them in virtual time: the same inputs give the same
// outputs.
//
// A block of data passes through by reference and is never looked into.
package swarm
