package fabric

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"

	"torrente/payment"
)

// Bounds of a profile.
const (
	maxProfile  = 64 << 10  // bytes
	maxPEM      = 256 << 10 // bytes of a file that it names
	maxGateways = 32
	maxNameLen  = 249 // bytes of a channel's name, as Fabric has it
	maxMembers  = 1000
)

// ErrProfile means that a connection profile is refused.
var ErrProfile = errors.New("not a valid connection profile")

// Profile says how a ledger on Fabric is reached. Files are named relative to
// the profile's own folder.
type Profile struct {
	Ledger    payment.LedgerID `json:"ledger"`
	Channel   string           `json:"channel"`
	Chaincode string           `json:"chaincode"`
	// MSP, Certificate and Key are the Fabric identity that submits: a client of
	// the channel. It need not be the creator of what it submits.
	MSP         string `json:"msp"`
	Certificate string `json:"certificate"` // PEM file
	Key         string `json:"key"`         // PEM file, PKCS #8
	// Organisations is how many there are on the channel: fewer than half of
	// them may lie.
	Organisations int `json:"organisations"`
	// Gateways are peers, the preferred one first. Those of MSP itself are
	// believed.
	Gateways []Gateway `json:"gateways"`

	dir string
}

// Gateway is one peer.
type Gateway struct {
	MSP     string `json:"msp"`            // whose it is
	Address string `json:"address"`        // host:port
	Name    string `json:"name,omitempty"` // in its TLS certificate; empty: the host
	CA      string `json:"ca"`             // PEM file of its TLS roots
}

// ReadProfile reads a profile and checks it. The error is ErrProfile, or that of
// the file.
func ReadProfile(path string) (*Profile, error) {
	text, err := readBounded(path, maxProfile)
	if err != nil {
		return nil, err
	}
	p, err := parseProfile(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	p.dir = filepath.Dir(path)
	return p, nil
}

func parseProfile(text []byte) (*Profile, error) {
	p := &Profile{}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(p); err != nil || d.More() {
		return nil, fmt.Errorf("%w (%v)", ErrProfile, err)
	}
	return p, p.check()
}

// Write writes the profile beside the files that it names.
func (p *Profile) Write(path string) error {
	if err := p.check(); err != nil {
		return err
	}
	text, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o600)
}

func (p *Profile) check() error {
	for _, f := range []struct{ what, value string }{
		{"channel", p.Channel}, {"chaincode", p.Chaincode}, {"msp", p.MSP}, {"certificate", p.Certificate}, {"key", p.Key},
	} {
		if f.value == "" || len(f.value) > maxNameLen && f.what != "certificate" && f.what != "key" {
			return fmt.Errorf("%w: %s is missing or too long", ErrProfile, f.what)
		}
	}
	if p.Ledger == (payment.LedgerID{}) {
		return fmt.Errorf("%w: ledger is missing", ErrProfile)
	}
	if len(p.Gateways) == 0 || len(p.Gateways) > maxGateways {
		return fmt.Errorf("%w: it names %d gateways, not 1 to %d", ErrProfile, len(p.Gateways), maxGateways)
	}
	if p.Organisations < 1 || p.Organisations > maxMembers {
		return fmt.Errorf("%w: organisations is %d, not how many the channel has", ErrProfile, p.Organisations)
	}
	for _, g := range p.Gateways {
		if g.MSP == "" || len(g.MSP) > maxNameLen {
			return fmt.Errorf("%w: the gateway %.80q has no msp, or too long a one", ErrProfile, g.Address)
		}
		if _, _, err := net.SplitHostPort(g.Address); err != nil {
			return fmt.Errorf("%w: the gateway %.80q is not host:port", ErrProfile, g.Address)
		}
		if g.CA == "" {
			return fmt.Errorf("%w: the gateway %s has no ca", ErrProfile, g.Address)
		}
	}
	return p.checkWitnesses()
}

// witnesses is how many organisations have to say the same if the submitter's
// own does not: one more than may lie, which are fewer than half.
func (p *Profile) witnesses() int { return (p.Organisations-1)/2 + 1 }

// checkWitnesses refuses a profile by whose gateways nothing could be believed.
func (p *Profile) checkWitnesses() error {
	others := map[string]bool{}
	for _, g := range p.Gateways {
		if g.MSP == p.MSP {
			return nil
		}
		others[g.MSP] = true
	}
	if len(others) < p.witnesses() {
		return fmt.Errorf("%w: it has no gateway of %s, and of %d other organisations where %d of %d must say the same: add gateways",
			ErrProfile, p.MSP, len(others), p.witnesses(), p.Organisations)
	}
	return nil
}

// read reads a file that the profile names.
func (p *Profile) read(name string) ([]byte, error) {
	if !filepath.IsAbs(name) {
		name = filepath.Join(p.dir, name)
	}
	return readBounded(name, maxPEM)
}

// readBounded reads a file of at most limit bytes, and at least one.
func readBounded(path string, limit int) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	switch {
	case err != nil:
		return nil, err
	case len(b) == 0 || len(b) > limit:
		return nil, fmt.Errorf("%s is empty or has more than %d bytes", path, limit)
	}
	return b, nil
}
