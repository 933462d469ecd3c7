// Package control lets commands reach the process that has a folder open.
//
// That process answers on a loopback port, and writes address, token and its
// pid to a file of the folder that only its owner can read: whoever can read it
// could as well open the folder. What the commands are is the caller's: each is
// a function from one JSON value to another.
//
// The package locks no folder and does not notice that a process is gone: its
// caller compares the pid with whoever holds the folder's lock.
package control
