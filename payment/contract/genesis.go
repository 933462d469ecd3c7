package contract

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"

	"torrente/payment"
)

// What a genesis document may hold.
const (
	MaxGenesis       = 1 << 20 // bytes
	maxName          = 64      // bytes
	maxOrganisations = 64
	maxRoots         = 64 // of one organisation
	// maxTrusted is how long they may be together, in bytes: each call of a member
	// reads them, and each change of one writes them all.
	maxTrusted = 16 << 10
	maxMints   = 4096
)

// genesisTag opens a genesis document; its last character is the version.
const genesisTag = "TRNTGEN1"

// ErrGenesis means that a genesis document is refused.
var ErrGenesis = errors.New("not a valid genesis document")

// Genesis is what a ledger begins with. Its bytes, of which SHA-256 is the
// ledger's id, big endian:
//
//	tag 8 | created u64 | name (u8, text) | price u64 |
//	organisations u16 | each: MSP (u8, text), administrator 32, roots u16, each (u16, DER) |
//	mints u16 | each: account 32, coins u64
//
// Organisations rise by MSP, roots by their bytes, mints by account, none
// twice: a document has one encoding.
type Genesis struct {
	Created       uint64 // seconds since 1970
	Name          string // for people: 1 to 64 bytes of text
	Price         payment.Amount
	Organisations []Organisation
	Mints         []Mint
}

// Organisation is a member organisation of the federation.
type Organisation struct {
	MSP           string
	Administrator payment.Account
	Roots         [][]byte // DER certificates of its authorities, at least one
}

// Mint is the coins that an account begins with, the treasury's among them, or
// that a majority of the organisations gives it later.
type Mint struct {
	Account payment.Account
	Coins   payment.Amount
}

// Minted returns all coins that there are in the beginning, and false if they exceed 64
// bits: then no sum on the ledger can.
func (g *Genesis) Minted() (sum payment.Amount, ok bool) {
	ok = true
	for _, m := range g.Mints {
		var fits bool
		sum, fits = sum.Add(m.Coins)
		ok = ok && fits
	}
	return sum, ok
}

// Encode sorts the lists, checks the document and returns its bytes. The error
// is ErrGenesis.
func (g *Genesis) Encode() ([]byte, error) {
	slices.SortFunc(g.Organisations, func(a, b Organisation) int { return strings.Compare(a.MSP, b.MSP) })
	for _, o := range g.Organisations {
		slices.SortFunc(o.Roots, bytes.Compare)
	}
	slices.SortFunc(g.Mints, func(a, b Mint) int { return bytes.Compare(a.Account[:], b.Account[:]) })
	if err := g.check(); err != nil {
		return nil, err
	}
	return g.append(nil), nil
}

func (g *Genesis) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(append(b, genesisTag...), g.Created)
	b = binary.BigEndian.AppendUint64(appendText(b, g.Name), uint64(g.Price))
	b = appendList(b, g.Organisations, func(b []byte, o *Organisation) []byte { return o.append(b) })
	return appendList(b, g.Mints, func(b []byte, m *Mint) []byte { return m.append(b) })
}

// ParseGenesis reads a document and checks it. The error is ErrGenesis.
func ParseGenesis(b []byte) (*Genesis, error) {
	if len(b) > MaxGenesis {
		return nil, fmt.Errorf("%w: %d bytes", ErrGenesis, len(b))
	}
	in := cryptobyte.String(b)
	var g Genesis
	var tag []byte
	var name cryptobyte.String
	ok := in.ReadBytes(&tag, len(genesisTag)) && string(tag) == genesisTag && in.ReadUint64(&g.Created) &&
		in.ReadUint8LengthPrefixed(&name) && in.ReadUint64((*uint64)(&g.Price)) &&
		g.readOrganisations(&in) && g.readMints(&in) && in.Empty()
	if !ok {
		return nil, fmt.Errorf("%w: it is cut off, or of another version", ErrGenesis)
	}
	g.Name = string(name)
	return &g, g.check()
}

func (g *Genesis) readOrganisations(in *cryptobyte.String) bool {
	return readUpTo(in, maxOrganisations, &g.Organisations, func(in *cryptobyte.String, o *Organisation) bool { return o.read(in) })
}

func (o *Organisation) append(b []byte) []byte {
	b = append(appendText(b, o.MSP), o.Administrator[:]...)
	return appendList(b, o.Roots, func(b []byte, der *[]byte) []byte { return appendBytes(b, *der) })
}

func (o *Organisation) read(in *cryptobyte.String) bool {
	return readMSP(in, &o.MSP) && in.CopyBytes(o.Administrator[:]) &&
		readUpTo(in, maxRoots, &o.Roots, func(in *cryptobyte.String, der *[]byte) bool {
			return readBytes(in, der, maxRootBytes)
		})
}

func (g *Genesis) readMints(in *cryptobyte.String) bool {
	return readUpTo(in, maxMints, &g.Mints, func(in *cryptobyte.String, m *Mint) bool { return m.read(in) })
}

func (g *Genesis) check() error {
	_, fits := g.Minted()
	switch {
	case g.Name == "" || len(g.Name) > maxName || !utf8.ValidString(g.Name):
		return fmt.Errorf("%w: the name is not 1 to %d bytes of text", ErrGenesis, maxName)
	case g.Created > payment.MaxTime:
		return fmt.Errorf("%w: it was made after the year 9999", ErrGenesis)
	case len(g.Organisations) == 0 || len(g.Organisations) > maxOrganisations || len(g.Mints) > maxMints:
		return fmt.Errorf("%w: %d organizations, %d mints", ErrGenesis, len(g.Organisations), len(g.Mints))
	case !fits:
		return fmt.Errorf("%w: it mints more than 64 bits", ErrGenesis)
	case !rising(g.Organisations, func(a, b *Organisation) bool { return a.MSP < b.MSP }):
		return fmt.Errorf("%w: an organization comes twice, or out of order", ErrGenesis)
	case !rising(g.Mints, func(a, b *Mint) bool { return bytes.Compare(a.Account[:], b.Account[:]) < 0 }):
		return fmt.Errorf("%w: an account is minted to twice, or out of order", ErrGenesis)
	}
	for _, o := range g.Organisations {
		if err := o.Check(); err != nil {
			return err
		}
	}
	return nil
}

// Check reports what is wrong with an organisation. The error is ErrGenesis.
func (o *Organisation) Check() error {
	switch {
	case !validMSP(o.MSP):
		return fmt.Errorf("%w: the organization %.80q is not 1 to %d of A-Z a-z 0-9 . - _", ErrGenesis, o.MSP, maxMSPBytes)
	case len(o.Roots) == 0 || len(o.Roots) > maxRoots:
		return fmt.Errorf("%w: %s has %d roots", ErrGenesis, o.MSP, len(o.Roots))
	case bytesOf(o.Roots) > maxTrusted:
		return fmt.Errorf("%w: the roots of %s are longer than %d bytes together", ErrGenesis, o.MSP, maxTrusted)
	case !rising(o.Roots, func(a, b *[]byte) bool { return bytes.Compare(*a, *b) < 0 }):
		return fmt.Errorf("%w: a root of %s comes twice, or out of order", ErrGenesis, o.MSP)
	}
	for _, der := range o.Roots {
		if !validRoot(der) {
			return fmt.Errorf("%w: a root of %s is no authority's certificate", ErrGenesis, o.MSP)
		}
	}
	return nil
}

func rising[T any](items []T, less func(a, b *T) bool) bool {
	for i := 1; i < len(items); i++ {
		if !less(&items[i-1], &items[i]) {
			return false
		}
	}
	return true
}

// GenesisID returns the ledger's id: SHA-256 of the document.
func GenesisID(document []byte) payment.LedgerID { return sha256.Sum256(document) }

// firstEpoch is that of the price in the genesis document.
const firstEpoch = 1

// Init writes the rows that a ledger begins with. The State must be empty. The
// errors are ErrGenesis and the State's.
func Init(st State, document []byte) error {
	g, err := ParseGenesis(document)
	if err != nil {
		return err
	}
	o := newOverlay(st)
	if o.has(keyLedger) {
		return errors.New("the ledger has begun already: Init needs an empty state")
	}
	minted, _ := g.Minted()
	o.put(keyLedger, ledgerRow{GenesisID(document), minted, uint16(len(g.Organisations)), g.Name})
	o.put(keyPriceNow, epoch(firstEpoch))
	o.put(keyPrice(firstEpoch), coins(g.Price))
	var all organisationList
	for _, org := range g.Organisations {
		all = append(all, org.MSP)
		o.found(GenesisID(document), &org)
	}
	o.put(keyOrganisations, all)
	for _, m := range g.Mints {
		o.put(keyAccount(m.Account), coins(m.Coins))
	}
	_, err = o.commit()
	return err
}

// found writes the rows of a new organisation, but for the list of all.
func (o *overlay) found(ledger payment.LedgerID, org *Organisation) {
	o.put(keyOrganisation(org.MSP), organisation{ledger, org.Administrator, org.Roots})
	for _, der := range org.Roots {
		o.put(keyCA(org.MSP, sha256.Sum256(der)), authority{true, der})
	}
}
