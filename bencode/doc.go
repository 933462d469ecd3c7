// Package bencode checks and reads bencoded values (BEP 3) that strangers sent,
// and writes canonical ones.
//
// It does not decode into structs. A value stays the bytes it came as, checked
// once by an iterative scanner and then read in place, so that reading costs
// little more memory than the input and a hash is always over the bytes that
// were signed for. Encoding is left to github.com/jackpal/bencode-go; its
// decoder never sees a stranger's bytes outside the tests, where it is the
// second opinion.
package bencode
