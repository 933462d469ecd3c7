// Package identity makes a node's key and certificate, keeps them sealed on
// disk, and proves them to other nodes of its federation.
//
// A key is an ECDSA key on P-256, made by NewKey and stored by CreateKeyFile
// under a password: Lyra2 stretches the password, AES-256-CFB hides the key,
// HMAC-SHA-256 notices any change. A federation's Authority answers the key's
// request with a certificate, and Load joins the two to an Identity. A Trust
// holds what a federation says of certificates: roots of each organisation,
// roots removed, keys and serial numbers revoked; its Verify turns a chain into
// a Principal, or into the reason why not, in words that a user can act on.
//
// A Session authenticates both ends of a connection by a TLS 1.3 handshake that
// is carried in messages of the caller, and seals what they say afterwards. It
// binds both to the bytes that were exchanged before it, the transcript, so
// that nobody can relay one connection's proof into another.
//
// The formats are in docs/protocol.md, "Key file" and "Session", with vectors
// in testdata.
//
// The package opens no connection, reads no clock and knows no peer message:
// bytes, time and transcript are arguments. It does not know accounts, which
// payment derives from a Principal, nor how a federation hands out invites,
// roots and revocations.
package identity
