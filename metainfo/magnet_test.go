package metainfo

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

const (
	hex40 = "0123456789abcdef0123456789abcdef01234567"
	hex64 = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
)

func TestParseMagnet(t *testing.T) {
	v1 := [20]byte{0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0x01, 0x23, 0x45, 0x67}
	v2 := [32]byte(bytes.Repeat([]byte{0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff}, 2))
	for in, want := range map[string]Magnet{
		"magnet:?xt=urn:btih:" + hex40:                                                    {V1: &v1},
		"MAGNET:?xt=URN:BTIH:" + strings.ToUpper(hex40):                                   {V1: &v1},
		" magnet:?xt=urn:btih:AERUKZ4JVPG66AJDIVTYTK6N54ASGRLH\n":                         {V1: &v1},
		"magnet:?xt=urn:btih:aerukz4jvpg66ajdivtytk6n54asgrlh":                            {V1: &v1},
		"magnet:?xt=urn:btmh:1220" + hex64:                                                {V2: &v2},
		"magnet:?xt.1=urn:btih:" + hex40 + "&xt.2=urn:btmh:1220" + hex64:                  {V1: &v1, V2: &v2},
		"magnet:?xt=urn%3Abtih%3A" + hex40 + "&xt=urn:btih:" + hex40:                      {V1: &v1},
		"magnet:?dn=a+b%20c&xt=urn:btih:" + hex40 + "&dn=other":                           {V1: &v1, Name: "a b c"},
		"magnet:?dn=%ff%1b&xt=urn:btih:" + hex40:                                          {V1: &v1, Name: "_\x1b"},
		"magnet:?xt=urn:btih:" + hex40 + "&tr=http%3A%2F%2Fa&tr.1=udp://b&tr=http://a&tr": {V1: &v1, Trackers: []string{"http://a", "udp://b"}},
		"magnet:?xt=urn:btih:" + hex40 + "&ws=http://w&x.pe=127.0.0.1:1&x.pe=[::1]:2&x.pe=a.example:3": {
			V1: &v1, WebSeeds: []string{"http://w"}, Peers: []string{"127.0.0.1:1", "[::1]:2", "a.example:3"},
		},
		"magnet:?xt=urn:btih:" + hex40 + "&x.pe=1.2.3.4&x.pe=1.2.3.4:0&x.pe=:5&x.pe=a:b:5&x.pe=a%0a:5&x.pe=a:99999": {V1: &v1},
		"magnet:?xt=urn:ed2k:31D6CFE0D16AE931B73C59D7E0C089C0&xt=urn:btih:" + hex40 + "&xl=5&so=0":                  {V1: &v1},
		"magnet:?&&xt=urn:btih:" + hex40 + "&=&x.x=5&tr.x=http://no":                                                {V1: &v1},
	} {
		got, err := ParseMagnet(in)
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		if d := cmp.Diff(&want, got, cmpopts.EquateEmpty()); d != "" {
			t.Errorf("%s: %s", in, d)
		}
	}
}

func TestHostileMagnets(t *testing.T) {
	for in, why := range map[string]string{
		"":                                    "does not begin",
		"magnet:":                             "does not begin",
		"http://a":                            "does not begin",
		"magnet:?":                            "no BitTorrent hash",
		"magnet:?dn=a":                        "no BitTorrent hash",
		"magnet:?xt=urn:sha1:" + hex40:        "no BitTorrent hash",
		"magnet:?xt=urn:btih:":                "no v1 hash",
		"magnet:?xt=urn:btih:" + hex40[1:]:    "no v1 hash",
		"magnet:?xt=urn:btih:g" + hex40[1:]:   "no v1 hash",
		"magnet:?xt=urn:btih:" + hex64:        "no v1 hash",
		"magnet:?xt=urn:btih:1" + hex40[:31]:  "no v1 hash", // 1 is no base32 digit
		"magnet:?xt=urn:btmh:" + hex64:        "no v2 hash",
		"magnet:?xt=urn:btmh:1114" + hex40:    "no v2 hash",
		"magnet:?xt=urn:btmh:1220" + hex40:    "no v2 hash",
		"magnet:?xt=urn:btih:" + hex40 + "%":  "not escaped",
		"magnet:?dn=%zz&xt=urn:btih:" + hex40: "not escaped",
		"magnet:?xt=urn:btih:" + hex40 + "&xt=urn:btih:f" + hex40[1:]:         "two different v1",
		"magnet:?xt=urn:btmh:1220" + hex64 + "&xt=urn:btmh:1220f" + hex64[1:]: "two different v2",
		"magnet:?xt=urn:btih:" + hex40 + strings.Repeat("&tr=a", 20_000):      "is the most allowed",
	} {
		_, err := ParseMagnet(in)
		if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), why) {
			t.Errorf("%.100s: %v\nwant %s", in, err, why)
		}
	}
}

func TestMagnetsBoundTheirLists(t *testing.T) {
	in := "magnet:?xt=urn:btih:" + hex40
	for i := range 1000 {
		in += "&tr=http://a/" + strings.Repeat("x", i%7) + string(rune('a'+i%26)) + strings.Repeat("y", i%11)
	}
	got, err := ParseMagnet(in)
	if err != nil || len(got.Trackers) != maxURLs {
		t.Error(len(got.Trackers), err)
	}
}

func TestMagnetRoundTrip(t *testing.T) {
	text := rapid.StringN(0, 20, -1)
	rapid.Check(t, func(t *rapid.T) {
		m := &Magnet{Name: text.Draw(t, "name")}
		switch rapid.IntRange(0, 2).Draw(t, "hashes") {
		case 0:
			m.V1 = &[20]byte{1, 2, 3}
		case 1:
			m.V2 = &[32]byte{4, 5, 6}
		default:
			m.V1, m.V2 = &[20]byte{1, 2, 3}, &[32]byte{4, 5, 6}
		}
		var trackers, seeds urls
		for _, s := range rapid.SliceOf(text).Draw(t, "trackers") {
			trackers.add(s)
		}
		for _, s := range rapid.SliceOf(text).Draw(t, "seeds") {
			seeds.add(s)
		}
		m.Trackers, m.WebSeeds = trackers.seen, seeds.seen
		m.Peers = rapid.SliceOfDistinct(rapid.SampledFrom([]string{"1.2.3.4:5", "[2001:db8::1]:6", "a.example:7"}), rapid.ID[string]).Draw(t, "peers")
		got, err := ParseMagnet(m.String())
		if err != nil {
			t.Fatalf("%s: %v", m, err)
		}
		if d := cmp.Diff(m, got, cmpopts.EquateEmpty()); d != "" {
			t.Fatalf("%s: %s", m, d)
		}
	})
}

func TestMatches(t *testing.T) {
	v1, _ := ParseInfo(encode(t, oneV1))
	v2, _ := ParseInfo(encode(t, oneV2))
	hybrid, _ := ParseInfo(encode(t, both))
	own := func(i *Info) (*[20]byte, *[32]byte) {
		a, b := i.HashV1(), i.HashV2()
		return &a, &b
	}
	h1, h2 := own(hybrid)
	v1h1, v1h2 := own(v1)
	v2h1, v2h2 := own(v2)
	wrong1, wrong2 := &[20]byte{1}, &[32]byte{1}
	for i, c := range []struct {
		m    Magnet
		info *Info
		want bool
	}{
		{Magnet{V1: h1}, hybrid, true},
		{Magnet{V2: h2}, hybrid, true},
		{Magnet{V1: h1, V2: h2}, hybrid, true},
		{Magnet{V1: h1, V2: wrong2}, hybrid, false},
		{Magnet{V1: wrong1, V2: h2}, hybrid, false},
		{Magnet{V1: wrong1}, hybrid, false},
		{Magnet{V1: v1h1}, v1, true},
		{Magnet{V2: v1h2}, v1, false},
		{Magnet{V1: v1h1, V2: v1h2}, v1, false},
		{Magnet{V2: v2h2}, v2, true},
		{Magnet{V1: v2h1}, v2, false},
		{Magnet{}, v1, false},
	} {
		if got := c.m.Matches(c.info); got != c.want {
			t.Errorf("%d: %v", i, got)
		}
	}
}

func FuzzParseMagnet(f *testing.F) {
	f.Add("magnet:?xt=urn:btih:" + hex40 + "&dn=a+b&tr=http%3A%2F%2Fa&ws=b&x.pe=[::1]:2")
	f.Add("magnet:?xt.1=urn:btmh:1220" + hex64)
	f.Add("magnet:?xt=urn:btih:AERUKZ4JVPG66AJDIVTYTK6N54ASGRLH&&=&")
	f.Fuzz(func(t *testing.T, s string) {
		m, err := ParseMagnet(s)
		if err != nil {
			if !errors.Is(err, ErrRefused) {
				t.Fatal(err)
			}
			return
		}
		again, err := ParseMagnet(m.String())
		if err != nil {
			t.Fatalf("%s: %v", m, err)
		}
		if d := cmp.Diff(m, again, cmpopts.EquateEmpty()); d != "" {
			t.Fatalf("%s: %s", m, d)
		}
	})
}
