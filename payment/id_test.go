package payment

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"torrente/internal/vectors"
)

type accountVector struct {
	MSP     string  `json:"msp"`
	SPKI    string  `json:"spki"`
	Account Account `json:"account"`
}

type intentionVector struct {
	Ledger    LedgerID    `json:"ledger"`
	Payer     Account     `json:"payer"`
	Torrent   TorrentID   `json:"torrent"`
	Request   RequestID   `json:"request"`
	Intention IntentionID `json:"intention"`
}

func TestIdentifierVectors(t *testing.T) {
	spki := spkiOf(t, vectors.Key(t, "payer"))
	var accounts []accountVector
	for _, msp := range []string{"Org1MSP", "Org2MSP", "x"} {
		accounts = append(accounts, accountVector{msp, hex.EncodeToString(spki), AccountOf(msp, spki)})
	}
	v := intentionVector{Ledger: LedgerID{1}, Payer: accounts[0].Account, Torrent: TorrentID{2}, Request: RequestID{3}}
	v.Intention = IntentionOf(v.Ledger, v.Payer, v.Torrent, v.Request)
	vectors.Check(t, "identifiers.json", map[string]any{"accounts": accounts, "intention": v})
}

// The account is bound to organisation and key, so that neither a new
// certificate nor a key known elsewhere changes it, and a boundary cannot be
// shifted from one to the other.
func TestAccountOf(t *testing.T) {
	if AccountOf("a", []byte("bc")) == AccountOf("ab", []byte("c")) {
		t.Error("the boundary between organisation and key is not hashed")
	}
	if !AccountOf(strings.Repeat("x", 256), nil).IsZero() || AccountOf(strings.Repeat("x", 255), nil).IsZero() {
		t.Error("the longest organisation is not 255 bytes")
	}
}

func TestIdentifierText(t *testing.T) {
	a := AccountOf("Org1MSP", []byte("key"))
	var b Account
	if err := json.Unmarshal(must[[]byte](t)(json.Marshal(a)), &b); err != nil || a != b {
		t.Errorf("%v became %v: %v", a, b, err)
	}
	for _, bad := range []string{"", "00", strings.ToUpper(a.String()), a.String() + "00", "g" + a.String()[1:]} {
		if err := b.UnmarshalText([]byte(bad)); !errors.Is(err, ErrID) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzIdentifierText(f *testing.F) {
	f.Add("00")
	f.Add(Account{0xab}.String())
	f.Fuzz(func(t *testing.T, text string) {
		var a Account
		if err := a.UnmarshalText([]byte(text)); err == nil && a.String() != text {
			t.Fatalf("%q reads as %s", text, a)
		}
	})
}

func TestAmountsNeverWrap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.OneOf(rapid.Uint64(), rapid.Uint64Range(0, 3), rapid.Uint64Range(math.MaxUint64-3, math.MaxUint64))
		a, b := number.Draw(t, "a"), number.Draw(t, "b")
		x, y := new(big.Int).SetUint64(a), new(big.Int).SetUint64(b)
		check := func(what string, got Amount, ok bool, want *big.Int) {
			if ok != want.IsUint64() || ok && uint64(got) != want.Uint64() {
				t.Fatalf("%d %s %d = %d, %v; want %s", a, what, b, got, ok, want)
			}
		}
		sum, ok := Amount(a).Add(Amount(b))
		check("+", sum, ok, new(big.Int).Add(x, y))
		difference, ok := Amount(a).Sub(Amount(b))
		check("-", difference, ok, new(big.Int).Sub(x, y))
		product, ok := Amount(a).Mul(b)
		check("*", product, ok, new(big.Int).Mul(x, y))
	})
}
