// Package netlab makes networks on one machine: hosts and routers in network
// namespaces, with Debian's miniupnpd and nftables, for tests and demonstrations.
//
// Nothing leaves the namespaces, whatever their addresses look like. All of it is gone
// after Close; daemons end with this process, should that be killed.
package netlab
