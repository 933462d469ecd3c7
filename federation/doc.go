// Package federation runs a federation's services: the ledger, the portal that
// enrols members, and the tracker.
//
// Init makes the federation's folder; Open opens it for this process alone;
// Serve answers on two addresses. The portal speaks TLS 1.3: a stranger with an
// invite gets a certificate for the key that it made itself (POST /v1/enroll);
// members, known by their certificate, renew it, read the federation's
// directory, submit transactions, query and follow the ledger, and announce
// torrents that are sold. The other address is a plain tracker for everything
// that is free, because stock clients have no certificate.
//
// Whom the federation trusts is on the ledger: roots and revocations are
// transactions of the administrator, and every request is checked against what
// the ledger says at that moment. The operator's commands reach a running
// federation over a loopback address that control.json names.
//
// Enrol is the other end of an enrolment. The package does not decide what a
// transaction does (payment/contract), keeps no block itself (payment/ledger),
// knows no peer and moves no torrent data.
package federation
