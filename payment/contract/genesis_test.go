package contract

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"torrente/payment"
)

func TestGenesisRoundTrip(t *testing.T) {
	g := testGenesis()
	g.Organisations = append([]Organisation{{"Org2MSP", payment.Account{1}, [][]byte{secondRoot(), authorityRoot()}}}, g.Organisations...)
	document := must[[]byte](t)(g.Encode())
	again := must[*Genesis](t)(ParseGenesis(document))
	if diff := cmp.Diff(g, again); diff != "" || !bytes.Equal(must[[]byte](t)(again.Encode()), document) {
		t.Error(diff)
	}
	if g.Organisations[0].MSP != "Org1MSP" {
		t.Error("not sorted")
	}
	for i := range document {
		if _, err := ParseGenesis(document[:i]); !errors.Is(err, ErrGenesis) {
			t.Fatalf("the first %d bytes: %v", i, err)
		}
	}
	if _, err := ParseGenesis(append(document, 0)); !errors.Is(err, ErrGenesis) {
		t.Errorf("a byte more: %v", err)
	}
}

func TestGenesisRefuses(t *testing.T) {
	for what, spoil := range map[string]func(g *Genesis){
		"no name":           func(g *Genesis) { g.Name = "" },
		"long name":         func(g *Genesis) { g.Name = strings.Repeat("x", 65) },
		"no text":           func(g *Genesis) { g.Name = "\xff" },
		"late":              func(g *Genesis) { g.Created = payment.MaxTime + 1 },
		"no organisation":   func(g *Genesis) { g.Organisations = nil },
		"organisation name": func(g *Genesis) { g.Organisations[0].MSP = "a/b" },
		"no root":           func(g *Genesis) { g.Organisations[0].Roots = nil },
		"no certificate":    func(g *Genesis) { g.Organisations[0].Roots = [][]byte{{0x30}} },
		"root twice": func(g *Genesis) {
			g.Organisations[0].Roots = append(g.Organisations[0].Roots, authorityRoot())
		},
		"organisation twice": func(g *Genesis) { g.Organisations = append(g.Organisations, g.Organisations[0]) },
		"too many coins":     func(g *Genesis) { g.Mints[0].Coins = math.MaxUint64 },
		"too many mints":     func(g *Genesis) { g.Mints = make([]Mint, maxMints+1) },
	} {
		g := testGenesis()
		spoil(g)
		if _, err := g.Encode(); !errors.Is(err, ErrGenesis) {
			t.Errorf("%s: %v", what, err)
		}
		if err := Init(memory{}, g.append(nil)); !errors.Is(err, ErrGenesis) {
			t.Errorf("%s: a ledger begins: %v", what, err)
		}
	}
}

// A document out of order is not the one encoding, so it is refused.
func TestGenesisHasOneEncoding(t *testing.T) {
	g := testGenesis()
	must[[]byte](t)(g.Encode())
	g.Mints[0], g.Mints[1] = g.Mints[1], g.Mints[0]
	if _, err := ParseGenesis(g.append(nil)); !errors.Is(err, ErrGenesis) {
		t.Errorf("mints out of order: %v", err)
	}
}

func FuzzParseGenesis(f *testing.F) {
	f.Add(must[[]byte](f)(testGenesis().Encode()))
	f.Fuzz(func(t *testing.T, b []byte) {
		g, err := ParseGenesis(b)
		if err != nil {
			return
		}
		if again, err := g.Encode(); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%x became %x: %v", b, again, err)
		}
		st := memory{}
		if err := Init(st, b); err != nil {
			t.Fatal(err)
		}
		if _, err := Audit(st); err != nil {
			t.Fatal(err)
		}
	})
}
