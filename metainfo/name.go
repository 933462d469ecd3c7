package metainfo

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

const (
	maxName = 255  // bytes of one part of a path, on every usual file system
	maxPath = 4095 // bytes of a path: Linux's PATH_MAX without its NUL
)

var errName = errors.New("is no name for a file")

// cleanName makes one part of a path safe and usable; see the package comment.
func cleanName(b []byte) (string, error) {
	switch {
	case bytes.IndexByte(b, '/') >= 0:
		return "", fmt.Errorf("%.80q %w: it has a slash", b, errName)
	case bytes.IndexByte(b, 0) >= 0:
		return "", fmt.Errorf("%.80q %w: it has a NUL byte", b, errName)
	}
	s := string(b)
	if !plain(s) {
		s = strings.Map(cleanRune, toUTF8(s))
	}
	switch s {
	case "":
		return "_", nil
	case ".", "..": // after dropping characters: `.\.` is one too
		return "", fmt.Errorf("%.80q %w: it stands for another folder", b, errName)
	}
	return shorten(s), nil
}

func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '\\' {
			return false
		}
	}
	return true
}

// toUTF8 makes one "_" of each sequence that is not UTF-8: of as many bytes as
// its first one claims to begin. Names in an old encoding lose a letter or two
// so, but the same ones as in libtorrent.
func toUTF8(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	var out strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && n == 1 {
			n = min(claimed(s[0]), len(s))
			out.WriteByte('_')
		} else {
			out.WriteString(s[:n])
		}
		s = s[n:]
	}
	return out.String()
}

// claimed is the length of the sequence that a byte begins in UTF-8.
func claimed(c byte) int {
	switch {
	case c>>5 == 0b110:
		return 2
	case c>>4 == 0b1110:
		return 3
	case c>>3 == 0b11110:
		return 4
	}
	return 1
}

func cleanRune(r rune) rune {
	switch {
	case r < ' ', r == 0x7f:
		return '_'
	case r == '\\', // a separator elsewhere
		r == 0x200e, r == 0x200f, r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069: // turn the writing direction
		return -1
	}
	return r
}

// shorten cuts a long name to 240 bytes and puts its extension, if it has a
// short one, behind them.
func shorten(s string) string {
	if len(s) <= maxName {
		return s
	}
	extension := ""
	if dot := strings.LastIndexByte(s, '.'); len(s)-dot <= 10 {
		extension = s[dot:]
	}
	cut := 240
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + extension
}

// checkPath refuses what the parts are fine for but the whole is not.
func checkPath(path []string) error {
	n := len(path) - 1
	for _, part := range path {
		n += len(part)
	}
	if n > maxPath {
		return fmt.Errorf("the path is %d bytes long, %d is the most a file system takes", n, maxPath)
	}
	return nil
}
