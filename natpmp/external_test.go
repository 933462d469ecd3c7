package natpmp

import (
	"net/netip"
	"testing"
)

func addr(s string) netip.Addr {
	a, _ := netip.ParseAddr(s)
	return a
}

func TestTranslated(t *testing.T) {
	for _, c := range []struct {
		external, seen string
		want           Translation
	}{
		{"", "", TranslationNone},
		{"", "5.6.7.8", TranslationNone},
		{"11.0.0.7", "", TranslationNone},
		{"11.0.0.7", "11.0.0.7", TranslationNone},
		{"11.0.0.7", "5.6.7.8", TranslationUnknown},
		{"11.0.0.7", "2a00::1", TranslationNone},
		{"10.0.0.2", "5.6.7.8", TranslationPrivate},
		{"192.168.0.2", "", TranslationPrivate},
		{"172.31.0.2", "", TranslationPrivate},
		{"172.32.0.2", "", TranslationNone},
		{"169.254.3.4", "", TranslationPrivate},
		{"100.64.0.1", "", TranslationCarrier},
		{"100.127.255.254", "5.6.7.8", TranslationCarrier},
		{"100.128.0.1", "", TranslationNone},
		{"192.0.0.4", "", TranslationCarrier},
	} {
		if got := translated(addr(c.external), addr(c.seen)); got != c.want {
			t.Errorf("external %q, seen %q: %q", c.external, c.seen, got)
		}
	}
}

func TestUsableExternal(t *testing.T) {
	for said, usable := range map[string]bool{
		"11.0.0.7": true, "10.0.0.2": true, "2a00::1": true,
		"": false, "0.0.0.0": false, "0.1.2.3": false, "::": false, "127.0.0.1": false, "::1": false, "224.0.0.1": false, "255.255.255.255": false,
	} {
		if err := usableExternal(addr(said)); (err == nil) != usable {
			t.Errorf("%q: %v", said, err)
		}
	}
}

func TestWitnesses(t *testing.T) {
	type said struct{ from, ours string }
	for _, c := range []struct {
		name string
		said []said
		want string
	}{
		{"nobody", nil, ""},
		{"two", []said{{"1.1.1.1", "5.6.7.8"}, {"2.2.2.2", "5.6.7.8"}}, ""},
		{"three", []said{{"1.1.1.1", "5.6.7.8"}, {"2.2.2.2", "5.6.7.8"}, {"3.3.3.3", "5.6.7.8"}}, "5.6.7.8"},
		{"three of one network", []said{{"1.1.1.1", "5.6.7.8"}, {"1.1.1.2", "5.6.7.8"}, {"1.1.1.3", "5.6.7.8"}}, ""},
		{"no majority", []said{
			{"1.1.1.1", "5.6.7.8"},
			{"2.2.2.2", "5.6.7.8"},
			{"3.3.3.3", "5.6.7.8"},
			{"1.2.1.1", "8.7.6.5"},
			{"2.1.2.2", "8.7.6.5"},
			{"3.1.3.3", "8.7.6.5"},
		}, ""},
		{"a liar among many", []said{{"9.9.9.9", "6.6.6.6"}, {"1.1.1.1", "5.6.7.8"}, {"2.2.2.2", "5.6.7.8"}, {"3.3.3.3", "5.6.7.8"}}, "5.6.7.8"},
		{"who thinks better of it", []said{{"1.1.1.1", "5.6.7.8"}, {"2.2.2.2", "5.6.7.8"}, {"3.3.3.3", "5.6.7.8"}, {"3.3.3.3", "6.6.6.6"}}, ""},
		{"our own network", []said{{"192.168.1.2", "192.168.1.3"}, {"10.0.0.1", "5.6.7.8"}, {"127.0.0.1", "5.6.7.8"}, {"100.64.0.1", "5.6.7.8"}}, ""},
		{"private addresses", []said{{"1.1.1.1", "10.0.0.1"}, {"2.2.2.2", "10.0.0.1"}, {"3.3.3.3", "10.0.0.1"}}, ""},
		{"mapped into IPv6", []said{{"::ffff:1.1.1.1", "::ffff:5.6.7.8"}, {"2.2.2.2", "5.6.7.8"}, {"3.3.3.3", "5.6.7.8"}}, "5.6.7.8"},
	} {
		var w witnesses
		for _, s := range c.said {
			w.hear(addr(s.from), addr(s.ours))
		}
		if got := w.agreed(); got != addr(c.want) {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestWitnessesAreBounded(t *testing.T) {
	var w witnesses
	for i := range 1000 {
		w.hear(netip.AddrFrom4([4]byte{20, byte(i >> 8), byte(i), 1}), addr("5.6.7.8"))
	}
	if len(w.said) != witnessesMost {
		t.Errorf("%d are remembered", len(w.said))
	}
}

// When others agree that we have another address than the gateway says, that is news:
// something translates before it.
func TestWitnessesAreNews(t *testing.T) {
	m := New(Config{Port: 9003})
	m.publish(false, openBy(PCP, TCP))
	<-m.Changed()
	for i, from := range []string{"11.1.0.1", "11.1.0.2", "11.2.0.1", "11.3.0.1"} {
		m.Seen(addr(from), addr("11.0.0.99"))
		select {
		case <-m.Changed():
			if i != 3 {
				t.Errorf("%s was enough", from)
			}
		default:
			if i == 3 {
				t.Error("nobody was told")
			}
		}
	}
	if got := m.Status(); got.IPv4.Translation != TranslationUnknown || got.Reachable() {
		t.Errorf("%+v", got)
	}
}
