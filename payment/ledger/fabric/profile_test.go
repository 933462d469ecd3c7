package fabric

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"torrente/payment"
)

func profile() *Profile {
	return &Profile{
		Ledger: payment.LedgerID{1}, Channel: "torrente", Chaincode: "torrente", MSP: "Alpha", Certificate: "c.pem", Key: "k.pem",
		Organisations: 3, Gateways: []Gateway{
			{MSP: "Beta", Address: "127.0.0.1:17051", CA: "ca.pem"}, {MSP: "Gamma", Address: "peer.example.org:7051", Name: "peer", CA: "ca.pem"},
		},
	}
}

func TestProfilesAreKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "profile.json")
	if err := profile().Write(path); err != nil {
		t.Fatal(err)
	}
	got := must[*Profile](t)(ReadProfile(path))
	if d := cmp.Diff(profile(), got, cmpopts.IgnoreUnexported(Profile{})); d != "" {
		t.Error(d)
	}
	if _, err := New(got); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without its files: %v", err)
	}
	for _, name := range []string{"c.pem", "k.pem", "ca.pem"} {
		if err := os.WriteFile(filepath.Join(filepath.Dir(path), name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := New(got); !errors.Is(err, ErrProfile) {
		t.Errorf("with files of nothing: %v", err)
	}
}

func TestProfilesAreChecked(t *testing.T) {
	for what, change := range map[string]func(p *Profile){
		"no ledger": func(p *Profile) { p.Ledger = payment.LedgerID{} }, "no channel": func(p *Profile) { p.Channel = "" },
		"a long chaincode": func(p *Profile) { p.Chaincode = strings.Repeat("x", 250) }, "no key": func(p *Profile) { p.Key = "" },
		"no gateway": func(p *Profile) { p.Gateways = nil }, "33 gateways": func(p *Profile) { p.Gateways = make([]Gateway, 33) },
		"no port": func(p *Profile) { p.Gateways[1].Address = "localhost" }, "no roots": func(p *Profile) { p.Gateways[0].CA = "" },
		"a gateway of nobody": func(p *Profile) { p.Gateways[0].MSP = "" }, "no organisations": func(p *Profile) { p.Organisations = 0 },
		"one witness": func(p *Profile) { p.Gateways[1].MSP = "Beta" }, "two witnesses of five": func(p *Profile) { p.Organisations = 5 },
	} {
		p := profile()
		change(p)
		if err := p.Write(filepath.Join(t.TempDir(), "p")); !errors.Is(err, ErrProfile) {
			t.Errorf("%s: %v", what, err)
		}
	}
	own := profile()
	own.Organisations, own.Gateways = 1000, []Gateway{{MSP: "Alpha", Address: "127.0.0.1:1", CA: "ca.pem"}}
	if err := own.check(); err != nil {
		t.Errorf("a gateway of the own organisation alone: %v", err)
	}
	for what, text := range map[string]string{
		"nothing": "", "no JSON": "x", "two": "{}{}", "an unknown field": `{"x":1}`, "huge": `{"msp":"` + strings.Repeat("x", maxProfile) + `"}`,
	} {
		path := filepath.Join(t.TempDir(), "p")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadProfile(path); err == nil {
			t.Errorf("%s was read", what)
		}
	}
}

// Whatever a profile's file holds, it is refused, or it is one that is kept as it is.
func FuzzParseProfile(f *testing.F) {
	whole := must[[]byte](f)(json.Marshal(profile()))
	for _, text := range [][]byte{whole, whole[:len(whole)/2], []byte(`{"gateways":[{}]}`), []byte(`{"ledger":"0"}`), nil} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := parseProfile(text)
		if err != nil {
			if !errors.Is(err, ErrProfile) {
				t.Error(err)
			}
			return
		}
		again := must[*Profile](t)(parseProfile(must[[]byte](t)(json.Marshal(p))))
		if d := cmp.Diff(p, again, cmpopts.IgnoreUnexported(Profile{})); d != "" {
			t.Error(d)
		}
	})
}
