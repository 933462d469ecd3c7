package natpmp

import "testing"

func TestParseProtocols(t *testing.T) {
	for word, want := range map[string][]Protocol{
		"auto": {PCP, NATPMP, UPnP}, "pcp": {PCP}, "natpmp": {NATPMP}, "upnp": {UPnP},
	} {
		set, err := ParseProtocols(word)
		if err != nil || set.String() != word {
			t.Errorf("%q: %v %v", word, set, err)
		}
		for _, p := range protocols {
			wants := false
			for _, w := range want {
				wants = wants || w == p
			}
			if set.Has(p) != wants {
				t.Errorf("%q has %v: %v", word, p, set.Has(p))
			}
		}
	}
	for _, word := range []string{"", "off", "PCP", "pcp,upnp"} {
		if _, err := ParseProtocols(word); err == nil {
			t.Errorf("%q is taken", word)
		}
	}
}

func TestCleanText(t *testing.T) {
	for said, want := range map[string]string{
		"":                           "",
		"ok":                         "ok",
		"\x1b[31mred\r\n\x00bell\a ": "[31mredbell",
		"\u202eright to left":        "right to left",
	} {
		if got := clean(said); got != want {
			t.Errorf("%q: %q", said, got)
		}
	}
	long := make([]byte, 1<<20)
	for i := range long {
		long[i] = 'a'
	}
	if got := clean(string(long)); len(got) != 80 {
		t.Errorf("%d bytes are left", len(got))
	}
}
