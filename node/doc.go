// Package node runs swarms: it gives them sockets, clocks, disks and
// goroutines.
//
// A connection has a reader and a writer. A torrent has one goroutine, which
// drains a mailbox, tells the Swarm what happened and performs its effects,
// and as many workers as there are cores, which verify and write blocks. A
// block buffer has one owner at a time: reader, swarm, worker, pool. The pool
// is bounded; a reader without a buffer waits, and TCP makes the peer wait.
//
// What to ask, serve or announce is decided in package swarm, not here.
package node
