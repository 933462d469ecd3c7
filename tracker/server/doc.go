// Package server is a BitTorrent tracker over HTTP: it answers announces and
// scrapes (BEP 3, 7, 23, 24, 31, 48) from memory.
//
// It does not listen: it is an http.Handler, and whoever serves it sets the
// server's timeouts. It starts no goroutine and keeps nothing on disk: peers
// announce again. It decides which torrents are tracked only through a function
// that it is given.
//
// A peer is known by the address its connection comes from and the port it
// names, never by an address in the query: nobody can list another machine.
// Memory is bounded: by torrents, by peers of a torrent, and by entries of one
// address, so that one machine cannot use up the room of all.
package server
