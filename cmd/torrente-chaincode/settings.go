package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"

	"torrente/payment"
)

// maxPEM bounds a file of certificates or a key, in bytes.
const maxPEM = 256 << 10

// settings come from the environment, as Fabric's tools give them.
type settings struct {
	id      string // of the chaincode's package
	address string // host:port to listen at
	ledger  payment.LedgerID
	tls     shim.TLSProperties
	offset  time.Duration // of the clock, for tests
}

// readSettings reads all settings. None but the offset has a default: a chaincode without
// mutual TLS would answer anybody who says to be the peer.
func readSettings(env func(string) string) (*settings, error) {
	s := &settings{id: env("CHAINCODE_ID"), address: env("CHAINCODE_SERVER_ADDRESS")}
	if s.id == "" {
		return nil, fmt.Errorf("CHAINCODE_ID is not set: give the id of the installed package")
	}
	if _, _, err := net.SplitHostPort(s.address); err != nil {
		return nil, fmt.Errorf("CHAINCODE_SERVER_ADDRESS is not host:port (%w): give the address that the package names", err)
	}
	if err := s.ledger.UnmarshalText([]byte(env("TORRENTE_LEDGER"))); err != nil {
		return nil, fmt.Errorf("TORRENTE_LEDGER is not a ledger's id (%w): give SHA-256 of the genesis document in hex", err)
	}
	if text := env("TORRENTE_CLOCK_OFFSET"); text != "" {
		var err error
		if s.offset, err = time.ParseDuration(text); err != nil {
			return nil, fmt.Errorf("TORRENTE_CLOCK_OFFSET: %.40q is not a duration as -3h: leave it out where people pay", text)
		}
	}
	for _, f := range []struct {
		name string
		into *[]byte
	}{
		{"CHAINCODE_TLS_KEY", &s.tls.Key},
		{"CHAINCODE_TLS_CERT", &s.tls.Cert},
		{"CHAINCODE_CLIENT_CA_CERT", &s.tls.ClientCACerts},
	} {
		var err error
		if *f.into, err = readBounded(env(f.name)); err != nil {
			return nil, fmt.Errorf("%s: %w: name a PEM file", f.name, err)
		}
	}
	return s, nil
}

// readBounded reads a file of at most maxPEM bytes, and at least one.
func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxPEM+1))
	switch {
	case err != nil:
		return nil, err
	case len(b) == 0 || len(b) > maxPEM:
		return nil, fmt.Errorf("%s is empty or has more than %d bytes", path, maxPEM)
	}
	return b, nil
}

// clock is this endorser's. TORRENTE_CLOCK_OFFSET makes it wrong, so that tests
// show what a wrong one does.
func (s *settings) clock() time.Time { return time.Now().Add(s.offset) }

func (s *settings) server(c shim.Chaincode) *shim.ChaincodeServer {
	return &shim.ChaincodeServer{CCID: s.id, Address: s.address, CC: c, TLSProps: s.tls}
}
