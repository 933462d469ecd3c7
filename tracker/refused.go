package tracker

import (
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode"
)

// Refused is the error of an announce that the tracker understood and declined
// ("failure reason" of BEP 3, action 3 of BEP 15).
type Refused struct {
	Tracker string        // its URL, fit to be shown: without what may be a passkey
	Reason  string        // the tracker's words: one line, printable
	RetryIn time.Duration // BEP 31; 0: not said
	Never   bool          // BEP 31: the tracker will not change its mind
}

func (r *Refused) Error() string {
	s := fmt.Sprintf("tracker %s refused: %s", r.Tracker, r.Reason)
	switch {
	case r.Never:
		s += " (it asks not to be asked again)"
	case r.RetryIn > 0:
		s += fmt.Sprintf(" (it asks to be left alone for %s)", r.RetryIn)
	}
	return s
}

// maxShown bounds a stranger's text in messages, in bytes.
const maxShown = 200

// printable makes a stranger's text fit for terminals and logs: one line, no
// control characters, no characters that turn the writing direction.
func printable(s string) string {
	if len(s) > maxShown {
		s = s[:maxShown] + "..."
	}
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case r == unicode.ReplacementChar, !unicode.IsPrint(r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "")))
}

// passkey is the length in bytes from which a part of a path is taken for a
// secret: private trackers put a key of 20 to 40 characters there.
const passkey = 16

// shown is a tracker's URL for messages, which people paste into forums.
func shown(u *url.URL) string {
	parts := strings.Split(u.Path, "/")
	for i, p := range parts {
		if len(p) >= passkey {
			parts[i] = "..."
		}
	}
	return printable(u.Scheme + "://" + u.Host + strings.Join(parts, "/"))
}

// shownURL is shown of a URL that may be malformed.
func shownURL(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return "with a malformed URL"
	}
	return shown(u)
}
