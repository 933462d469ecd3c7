package metainfo

import (
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"torrente/bencode"
)

// What a torrent may claim. Their product, the longest piece space, is far
// below 2^63, so sums and products of what was checked cannot wrap.
const (
	MaxPieces      = 1 << 21
	MaxPieceLength = 1 << 30 // bytes
	maxLength      = MaxPieces * MaxPieceLength
	maxFederation  = 512 // bytes of its URL
)

// ErrRefused is wrapped by every error that says why a torrent or a magnet link
// is not accepted.
var ErrRefused = errors.New("refused")

// refusal carries a reason, and is ErrRefused without saying so.
type refusal struct{ error }

func (refusal) Is(target error) bool { return target == ErrRefused }
func (r refusal) Unwrap() error      { return r.error }

func refusef(format string, args ...any) error { return refusal{fmt.Errorf(format, args...)} }

// ParseInfo reads an info dictionary, as it lies in a torrent file or comes
// from peers (BEP 9). Whether it is the one that was asked for is the caller's
// question: compare its hash first.
func ParseInfo(raw []byte) (*Info, error) {
	v, err := bencode.Parse(raw, bencode.Metadata)
	if err != nil {
		return nil, refusef("info: %w", err)
	}
	return parseInfo(v)
}

// parseInfo reads what bencode has checked. It copies what it keeps.
func parseInfo(v bencode.Value) (*Info, error) {
	v = v.Clone()
	p := infoParser{info: &Info{Raw: v.Raw()}}
	var err error
	if p.dict, err = v.Dict(); err != nil {
		return nil, refusef("info %w", err)
	}
	for _, step := range []func() error{p.version, p.header, p.pay, p.files, p.pieces} {
		if err := step(); err != nil {
			return nil, refusef("info: %w", err)
		}
	}
	p.info.hashes = &infoHashes{sha1.Sum(p.info.Raw), sha256.Sum256(p.info.Raw)}
	return p.info, nil
}

// infoParser fills info step by step; each step relies on those before it.
type infoParser struct {
	info *Info
	dict bencode.Dict
	v1   []File
	v2   []File
}

// version comes first (BEP 52): a newer torrent is not told it is broken.
func (p *infoParser) version() error {
	p.info.HasV1 = p.dict.Has("pieces")
	version, err := p.dict.Int("meta version")
	switch {
	case errors.Is(err, bencode.ErrMissing):
		if p.dict.Has("file tree") {
			return errors.New(`"file tree" without "meta version"`)
		}
		return nil
	case err != nil:
		return err
	case version != 2:
		return fmt.Errorf("meta version %d is not known to this program", version)
	}
	p.info.HasV2 = true
	// The order of the tree is the order of the pieces, so it must be the one
	// that BEP 52 prescribes.
	strict := bencode.Metadata
	strict.Unsorted = false
	return bencode.Check(p.info.Raw, strict)
}

// header reads what stands beside the files.
func (p *infoParser) header() error {
	name, err := p.dict.Bytes("name.utf-8")
	if err != nil {
		name, err = p.dict.Bytes("name")
	}
	if err != nil {
		return err
	}
	if len(name) == 0 {
		return errors.New(`"name" is empty`)
	}
	if p.info.Name, err = cleanName(name); err != nil {
		return fmt.Errorf(`"name" %w`, err)
	}
	if p.info.PieceLength, err = p.dict.Int("piece length"); err != nil {
		return err
	}
	private, err := p.dict.Int("private")
	if err != nil && !errors.Is(err, bencode.ErrMissing) {
		return err
	}
	p.info.Private = private != 0
	return checkPieceLength(p.info.PieceLength, p.info.HasV2)
}

// checkPieceLength applies BEP 3, which bounds nothing, or BEP 52.
func checkPieceLength(n int64, v2 bool) error {
	switch {
	case n <= 0 || n > MaxPieceLength:
		return fmt.Errorf(`"piece length" is %d, it must be from 1 to %d`, n, MaxPieceLength)
	case v2 && (n < BlockLength || n&(n-1) != 0):
		return fmt.Errorf(`"piece length" is %d, in a v2 torrent it must be a power of two from %d on`, n, BlockLength)
	}
	return nil
}

// pay reads the mark of a sold torrent. A torrent that tries to be sold and is
// so in no way we understand is refused rather than given away.
func (p *infoParser) pay() error {
	if !p.dict.Has("pay") {
		return nil
	}
	d, err := p.dict.Dict("pay")
	if err != nil {
		return err
	}
	ledger, err := d.Bytes("ledger")
	if err != nil {
		return fmt.Errorf("pay: %w", err)
	}
	pay := &Pay{}
	if copy(pay.Ledger[:], ledger) != len(pay.Ledger) || len(ledger) != len(pay.Ledger) {
		return fmt.Errorf(`pay: "ledger" has %d bytes, not %d`, len(ledger), len(pay.Ledger))
	}
	if pay.Federation, err = d.Text("federation"); err != nil {
		return fmt.Errorf("pay: %w", err)
	}
	if err := CheckFederation(pay.Federation); err != nil {
		return fmt.Errorf("pay: %w", err)
	}
	p.info.Pay = pay
	return nil
}

// CheckFederation refuses what cannot be the address of a federation: it is an
// https URL of printable ASCII with a host, without user, query or fragment.
func CheckFederation(s string) error {
	refuse := func(why string) error { return fmt.Errorf("federation %.80q %s", s, why) }
	if len(s) > maxFederation {
		return refuse(fmt.Sprintf("is longer than %d bytes", maxFederation))
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return refuse("has characters that no URL has")
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return refuse("is not a URL")
	case u.Scheme != "https" || u.Hostname() == "":
		return refuse("is not an https URL")
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || strings.Contains(s, "#"):
		return refuse("has a user, query or fragment")
	}
	return nil
}

// files reads the v1 list, the v2 tree, or both and compares them.
func (p *infoParser) files() (err error) {
	if p.info.HasV1 {
		if p.v1, err = p.listV1(); err != nil {
			return err
		}
		p.info.Files = p.v1
	} else if p.dict.Has("files") || p.dict.Has("length") {
		return errors.New(`"pieces" is missing`)
	}
	if p.info.HasV2 {
		if p.v2, err = p.treeV2(); err != nil {
			return err
		}
		p.info.Files = p.v2
	}
	switch {
	case p.info.HasV1 && p.info.HasV2:
		if err := p.merge(); err != nil {
			return err
		}
		p.info.Files = p.v1
	case !p.info.HasV1 && !p.info.HasV2:
		return errors.New(`"pieces" is missing, and so is "meta version"`)
	}
	if n := len(p.info.Files); n > 0 {
		last := p.info.Files[n-1]
		p.info.Length = last.Offset + last.Length
	}
	// Nobody could announce or verify a piece of it.
	if p.info.Length == 0 {
		return errors.New("it has no data: there is no file that is not empty")
	}
	return checkPaths(p.info.Files)
}

// pieces checks the number of pieces, and takes their SHA-1 hashes.
func (p *infoParser) pieces() error {
	n := pieces(p.info.Length, p.info.PieceLength)
	if n > MaxPieces {
		return fmt.Errorf("%d pieces, %d is the most allowed", n, MaxPieces)
	}
	if !p.info.HasV1 {
		return nil
	}
	hashes, err := p.dict.Bytes("pieces")
	if err != nil {
		return err
	}
	if int64(len(hashes)) != 20*n {
		return fmt.Errorf(`"pieces" has %d bytes, for %d pieces it must have %d`, len(hashes), n, 20*n)
	}
	p.info.Pieces = hashes
	return nil
}

// place checks a file's length, and returns where the next file may start.
func place(offset, length int64) (int64, error) {
	if length < 0 || length > maxLength-offset {
		return 0, fmt.Errorf(`"length" is %d: the torrent would be longer than %d bytes`, length, int64(maxLength))
	}
	return offset + length, nil
}
