package metainfo

import (
	"errors"
	"fmt"
	"strings"

	"torrente/bencode"
)

// bitCometPad begins the names by which BitComet marked pads before BEP 47.
const bitCometPad = "_____padding_file_"

// attributes are the letters of "attr" (BEP 47).
type attributes struct{ pad, link, executable bool }

func attributesOf(d bencode.Dict) attributes {
	s, _ := d.Bytes("attr") // unknown letters, and an attr that is no string, mean nothing
	return attributes{
		pad:        strings.ContainsRune(string(s), 'p'),
		link:       strings.ContainsRune(string(s), 'l'),
		executable: strings.ContainsRune(string(s), 'x'),
	}
}

// listV1 reads the files as BEP 3 lists them: one after the other, with nothing
// between them.
func (p *infoParser) listV1() ([]File, error) {
	single, several := p.dict.Has("length"), p.dict.Has("files")
	switch {
	case single && several:
		return nil, errors.New(`both "length" and "files"`)
	case several:
		return p.severalV1()
	}
	length, err := p.dict.Int("length")
	if err != nil {
		return nil, err
	}
	if _, err := place(0, length); err != nil {
		return nil, err
	}
	attr := attributesOf(p.dict)
	if attr.pad || attr.link {
		return nil, errors.New("its only file is a pad or a link")
	}
	return []File{{Path: []string{p.info.Name}, Length: length, Executable: attr.executable}}, nil
}

// severalV1 reads "files". Positions in errors are those of the torrent's list.
func (p *infoParser) severalV1() ([]File, error) {
	list, err := p.dict.List("files")
	if err != nil {
		return nil, err
	}
	// Counted first: a slice that grows leaves several times its length behind.
	n := 0
	for range list.Elements() {
		n++
	}
	files := make([]File, 0, n)
	offset := int64(0)
	i := 0
	var d bencode.Dict // one index for all
	for v := range list.Elements() {
		if err := d.Index(v); err != nil {
			return nil, fmt.Errorf("file %d %w", i, err)
		}
		f, skipped, err := p.fileV1(d)
		if err != nil {
			return nil, fmt.Errorf("file %d: %w", i, err)
		}
		if !skipped {
			f.Offset = offset
			if offset, err = place(offset, f.Length); err != nil {
				return nil, fmt.Errorf("file %d, %s: %w", i, quoted(f.Path), err)
			}
			files = append(files, f)
		}
		i++
	}
	return files, nil
}

// fileV1 reads an entry of "files". Links are skipped.
func (p *infoParser) fileV1(d bencode.Dict) (f File, skipped bool, err error) {
	attr := attributesOf(d)
	f.Length, err = d.Int("length")
	if attr.link {
		if err == nil && f.Length != 0 {
			return f, false, errors.New("a link with data")
		}
		return f, true, nil
	}
	if err != nil {
		return f, false, err
	}
	f.Executable = attr.executable
	// A pad needs no path (BEP 47), and gets none.
	if f.Pad = attr.pad; f.Pad {
		return f, false, nil
	}
	if f.Path, err = p.pathV1(d); err != nil {
		return f, false, err
	}
	// libtorrent takes these for pads too; both would otherwise write a file that
	// nobody wants and ask peers for its zeros.
	if strings.HasPrefix(f.Path[len(f.Path)-1], bitCometPad) {
		f.Pad, f.Path = true, nil
	}
	return f, false, nil
}

// pathV1 reads a path, below the torrent's own folder.
func (p *infoParser) pathV1(d bencode.Dict) ([]string, error) {
	// An old program's copy in UTF-8 is more likely to be what the user meant.
	list, err := d.List("path.utf-8")
	if err != nil {
		list, err = d.List("path")
	}
	if err != nil {
		return nil, err
	}
	n := 1
	for range list.Elements() {
		n++
	}
	if n == 1 {
		return nil, errors.New(`"path" is empty`)
	}
	path := make([]string, 1, n)
	path[0] = p.info.Name
	for v := range list.Elements() {
		b, err := v.Bytes()
		if err != nil {
			return nil, fmt.Errorf(`a part of "path" %w`, err)
		}
		part, err := cleanName(b)
		if err != nil {
			return nil, err
		}
		path = append(path, part)
	}
	return path, checkPath(path)
}
