package main

import (
	"io"
	"strings"
	"testing"
)

func TestParseSize(t *testing.T) {
	for in, want := range map[string]int64{"0": 0, "16384": 16384, "16KiB": 16384, "4 MiB": 4 << 20, " 1GiB ": 1 << 30, "7B": 7, "8388607TiB": 8388607 << 40} {
		if got, err := parseSize(in); got != want || err != nil {
			t.Errorf("%q: %d, %v, want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", "KiB", "-1", "1.5MiB", "1 kb", "1MB", "9223372036854775808", "8388608TiB", "9007199254740993GiB", "1KiBKiB"} {
		if got, err := parseSize(in); err == nil {
			t.Errorf("%q is read as %d", in, got)
		}
	}
}

func TestFormatSize(t *testing.T) {
	for in, want := range map[int64]string{0: "0 B", 1: "1 B", 1023: "1023 B", 1024: "1 KiB", 1536: "1.5 KiB", 16 << 20: "16 MiB", 1<<40 + 1: "1.0 TiB"} {
		if got := formatSize(in); got != want {
			t.Errorf("%d: %s, want %s", in, got, want)
		}
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"plain äöü 日本 🙂": "plain äöü 日本 🙂", "\x1b[2J": `\x1b[2J`, "a\nb\r\t\x00\x7f": `a\nb\r\t\x00\x7f`,
		"\u009b1m": `\u009b1m`, "\u202etxt": `\u202etxt`, "\u200b\ufeff": `\u200b\ufeff`, "\U000e0041": `\U000e0041`, "\xff": "\uFFFD", "it's": "it's",
	} {
		if got := printable(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestPrintJSON(t *testing.T) {
	var b strings.Builder
	if err := printJSON(&b, map[string]string{"a": "\x1b\u009b\u202e\U000e0041&ä"}); err != nil {
		t.Fatal(err)
	}
	if want := "{\n  \"a\": \"\\u001b\\u009b\\u202e\\udb40\\udc41&ä\"\n}\n"; b.String() != want {
		t.Errorf("%q\nwant %q", b.String(), want)
	}
	if err := printJSON(io.Discard, func() {}); err == nil {
		t.Error("a function was printed")
	}
}
