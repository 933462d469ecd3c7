// Package natpmp asks the gateway for a port.
//
// It speaks PCP (RFC 6887), NAT-PMP (RFC 6886) and UPnP IGD 1 and 2, asks in
// all of them side by side whether the gateway listens, maps TCP and UDP by the
// best that does, and keeps the mapping until it is told to end. It opens no
// port of its own, and announces none: who runs the node does both.
//
// A Mapper has two links, one for each family of addresses. Over IPv4 a link
// asks for a mapping, over IPv6 for a pinhole in the gateway's firewall, of each
// global address of this machine. A link is one goroutine that owns its state;
// when anything is due is computed by functions that take the time as argument.
//
// # What the gateway can do to us
//
// Nothing that it says is believed further than it has to be:
//
//   - Answers are taken only of the gateway's own address, requests go only
//     there, but for SSDP's search, which is multicast on the gateway's link. No
//     name is resolved, no redirect followed, no proxy used; the address is
//     checked once more when it is dialled.
//   - Everything is bounded: packets, answers at a time, descriptions (64 KiB),
//     lifetimes (a minute to a day), text that reaches people.
//   - A start ends after ten seconds, a release after two. Mapping never delays
//     anything else.
package natpmp
