package federation

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base32"
	"errors"
	"strings"
)

// ErrCode means that a text is no invite.
var ErrCode = errors.New("the invite is not whole: copy it again, all of its 52 letters and digits")

const (
	secretBytes = 16
	pinBytes    = 16
	codeLetters = 52 // base32 of 32 bytes, without padding
	maxCodeText = 4 * codeLetters
)

var codeEncoding = base32.StdEncoding.WithPadding(base32.NoPadding)

// Code is an invite: a secret, good for one certificate, and the first half of
// SHA-256 of the SubjectPublicKeyInfo of the authority that the portal's
// certificate ends in. By it, who was invited tells the portal from any other
// machine, before anything is sent to it.
type Code struct {
	Secret [secretBytes]byte
	Pin    [pinBytes]byte
}

// newCode makes an invite to the portal of this root.
func newCode(root *x509.Certificate) Code {
	c := Code{Pin: pinOf(root)}
	// It never fails: the runtime ends the program if the kernel has no randomness.
	_, _ = rand.Read(c.Secret[:])
	return c
}

func pinOf(root *x509.Certificate) [pinBytes]byte {
	sum := sha256.Sum256(root.RawSubjectPublicKeyInfo)
	return [pinBytes]byte(sum[:])
}

// ParseCode reads an invite as people copy it: letters in either case, with
// dashes and spaces anywhere. The error is ErrCode.
func ParseCode(text string) (Code, error) {
	if len(text) > maxCodeText {
		return Code{}, ErrCode
	}
	letters := strings.Map(func(r rune) rune {
		switch {
		case strings.ContainsRune("- \t\r\n", r):
			return -1
		case 'a' <= r && r <= 'z':
			return r - 'a' + 'A'
		}
		return r
	}, text)
	raw, err := codeEncoding.DecodeString(letters)
	if err != nil || len(letters) != codeLetters || len(raw) != secretBytes+pinBytes {
		return Code{}, ErrCode
	}
	c := Code{[secretBytes]byte(raw), [pinBytes]byte(raw[secretBytes:])}
	// The last letter has bits to spare: one invite has one spelling, or a
	// misread letter could go unnoticed.
	if c.letters() != letters {
		return Code{}, ErrCode
	}
	return c, nil
}

func (c Code) letters() string {
	return codeEncoding.EncodeToString(append(c.Secret[:], c.Pin[:]...))
}

// String writes the code in groups of four letters.
func (c Code) String() string {
	s := c.letters()
	groups := make([]string, 0, codeLetters/4)
	for len(s) > 0 {
		groups = append(groups, s[:4])
		s = s[4:]
	}
	return strings.Join(groups, "-")
}

// digest is how the portal remembers the code: a stolen database holds no
// invite that could be used.
func (c Code) digest() [sha256.Size]byte { return sha256.Sum256(c.Secret[:]) }

// pins reports whether the code belongs to the portal of this root.
func (c Code) pins(root *x509.Certificate) bool {
	pin := pinOf(root)
	return subtle.ConstantTimeCompare(pin[:], c.Pin[:]) == 1
}
