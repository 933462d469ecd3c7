// Package throttle limits how often an address may do something that costs us
// work before we know who asks.
//
// It knows nobody by name: members are told apart by their keys, elsewhere.
package throttle
