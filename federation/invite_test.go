package federation

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"torrente/identity"
)

// A code as another implementation would read it.
const (
	goldenCode   = "AAAQ-EAYE-AUDA-OCAJ-BIFQ-YDIO-B6D4-PR6H-J5DM-TSMX-S2KZ-HEUR-SCHA"
	goldenSecret = "000102030405060708090a0b0c0d0e0f"
	goldenPin    = "87c7c7c74f46c9c9979695939291908e"
)

func TestCodeLayout(t *testing.T) {
	var c Code
	hex.Decode(c.Secret[:], []byte(goldenSecret))
	hex.Decode(c.Pin[:], []byte(goldenPin))
	text := c.String()
	if back, err := ParseCode(text); err != nil || back != c {
		t.Fatalf("%s reads back as %v, %v", text, back, err)
	}
	if text != goldenCode {
		t.Errorf("the code is %s, not %s", text, goldenCode)
	}
}

func TestParseCode(t *testing.T) {
	plain := strings.ReplaceAll(goldenCode, "-", "")
	for name, tt := range map[string]struct {
		text string
		ok   bool
	}{
		"as printed":         {goldenCode, true},
		"without dashes":     {plain, true},
		"lower case":         {strings.ToLower(goldenCode), true},
		"spaces and a line":  {strings.ReplaceAll(goldenCode, "-", " ") + "\n", true},
		"empty":              {"", false},
		"a letter missing":   {plain[1:], false},
		"a letter too many":  {plain + "A", false},
		"a digit of no code": {"0" + plain[1:], false},
		"padding":            {plain + "====", false},
		"spare bits set":     {plain[:51] + "B", false},
		"not ASCII":          {"ſ" + plain[1:], false},
		"long":               {plain + strings.Repeat("-", 10_000), false},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := ParseCode(tt.text); (err == nil) != tt.ok || err != nil && !errors.Is(err, ErrCode) {
				t.Errorf("ParseCode: %v", err)
			}
		})
	}
}

func TestCodePinsOneAuthority(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	a, errA := identity.NewAuthority("a", now, time.Hour)
	b, errB := identity.NewAuthority("a", now, time.Hour)
	if errA != nil || errB != nil {
		t.Fatal(errA, errB)
	}
	c, d := newCode(a.Root()), newCode(a.Root())
	if !c.pins(a.Root()) || c.pins(b.Root()) {
		t.Error("the code does not pin exactly its own authority")
	}
	if c.Secret == d.Secret || c.digest() == d.digest() {
		t.Error("two invites have one secret")
	}
}

func TestCodeRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		raw := rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "raw")
		c := Code{[16]byte(raw), [16]byte(raw[16:])}
		if back, err := ParseCode(c.String()); err != nil || back != c {
			t.Fatalf("%v, %v", back, err)
		}
	})
}

func FuzzParseCode(f *testing.F) {
	f.Add(goldenCode)
	f.Add(strings.ToLower(goldenCode))
	f.Add("----")
	f.Add("AAAQ")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseCode(text)
		if err != nil {
			return
		}
		if back, err := ParseCode(c.String()); err != nil || back != c {
			t.Fatalf("%q became %q, which reads back as %v, %v", text, c, back, err)
		}
	})
}
