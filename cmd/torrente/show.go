package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"torrente/bencode"
	"torrente/metainfo"
)

// torrentFacts are what a torrent file or magnet link says, for people and, by
// the JSON names, for programs. A magnet link knows only some of it.
type torrentFacts struct {
	Path        string      `json:"path,omitempty"` // of a torrent file
	Magnet      bool        `json:"magnet"`         // from a link: no files known
	Name        string      `json:"name"`
	V1          string      `json:"v1,omitempty"` // info-hashes, hexadecimal
	V2          string      `json:"v2,omitempty"`
	ID          string      `json:"torrent_id,omitempty"`
	Length      int64       `json:"length,omitempty"` // bytes of all files
	PieceLength int64       `json:"piece_length,omitempty"`
	Pieces      int         `json:"pieces,omitempty"`
	Private     bool        `json:"private"`
	Sold        *soldFacts  `json:"sold,omitempty"` // absent: free
	Files       []fileFacts `json:"files,omitempty"`
	Trackers    [][]string  `json:"trackers,omitempty"`
	WebSeeds    []string    `json:"web_seeds,omitempty"`
	Peers       []string    `json:"peers,omitempty"`
	Comment     string      `json:"comment,omitempty"`
	CreatedBy   string      `json:"created_by,omitempty"`
	Created     *time.Time  `json:"created,omitempty"`
	Link        string      `json:"link,omitempty"` // magnet link
}

type soldFacts struct {
	Federation string `json:"federation"`
	Ledger     string `json:"ledger"`
	Units      uint64 `json:"units"` // of at most 16 KiB
}

type fileFacts struct {
	Path       string `json:"path"`
	Length     int64  `json:"length"`
	Executable bool   `json:"executable,omitempty"`
	Root       string `json:"root,omitempty"` // v2 pieces root
}

func newShow(std stdio) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "show FILE.torrent|MAGNET",
		Short: "print what a torrent file or magnet link says",
		Args:  exactArgs("FILE.torrent|MAGNET"),
		RunE: func(_ *cobra.Command, args []string) error {
			facts, err := readFacts(args[0])
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(std.out, facts)
			}
			return facts.print(std.out)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return c
}

// readFacts takes a torrent file or a magnet link.
func readFacts(arg string) (*torrentFacts, error) {
	if isMagnet(arg) {
		m, err := metainfo.ParseMagnet(arg)
		if err != nil {
			return nil, err
		}
		return factsOfMagnet(m), nil
	}
	t, err := readTorrent(arg)
	if err != nil {
		return nil, err
	}
	facts := factsOf(t)
	facts.Path = arg
	return facts, nil
}

// isMagnet tells a magnet link from a file's name.
func isMagnet(arg string) bool {
	return len(arg) >= 7 && strings.EqualFold(arg[:7], "magnet:")
}

// readTorrent reads a torrent file of any size that is allowed.
func readTorrent(path string) (*metainfo.Torrent, error) {
	// O_NONBLOCK: a pipe into which nobody writes would be waited for.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	// One byte beyond the limit, so that Parse can say what is wrong.
	b, err := io.ReadAll(io.LimitReader(f, int64(bencode.Torrent.Size)+1))
	if err != nil {
		return nil, err
	}
	t, err := metainfo.Parse(b)
	if errors.Is(err, metainfo.ErrRefused) {
		return nil, fmt.Errorf("%s is refused: %w", path, err)
	}
	return t, err
}

// factsOf tells what a torrent file says. Pads are nobody's files.
func factsOf(t *metainfo.Torrent) *torrentFacts {
	i := t.Info
	id := i.ID()
	f := &torrentFacts{
		Name: i.Name, ID: hex.EncodeToString(id[:]), PieceLength: i.PieceLength, Pieces: i.NumPieces(), Private: i.Private,
		Trackers: t.Trackers, WebSeeds: t.WebSeeds, Comment: t.Comment, CreatedBy: t.CreatedBy, Link: t.Magnet().String(),
	}
	f.hashes(t.Magnet())
	if !t.Created.IsZero() {
		at := t.Created.UTC().Truncate(time.Second)
		f.Created = &at
	}
	if i.Pay != nil {
		f.Sold = &soldFacts{Federation: i.Pay.Federation, Ledger: hex.EncodeToString(i.Pay.Ledger[:]), Units: i.Units()}
	}
	for _, file := range i.Files {
		if file.Pad {
			continue
		}
		f.Length += file.Length
		facts := fileFacts{Path: strings.Join(file.Path, "/"), Length: file.Length, Executable: file.Executable}
		if file.Root != ([32]byte{}) {
			facts.Root = hex.EncodeToString(file.Root[:])
		}
		f.Files = append(f.Files, facts)
	}
	return f
}

// factsOfMagnet tells what is known before the metadata is.
func factsOfMagnet(m *metainfo.Magnet) *torrentFacts {
	f := &torrentFacts{Magnet: true, Name: m.Name, WebSeeds: m.WebSeeds, Peers: m.Peers, Link: m.String()}
	f.hashes(m)
	for _, s := range m.Trackers {
		f.Trackers = append(f.Trackers, []string{s})
	}
	return f
}

func (f *torrentFacts) hashes(m *metainfo.Magnet) {
	if m.V1 != nil {
		f.V1 = hex.EncodeToString(m.V1[:])
	}
	if m.V2 != nil {
		f.V2 = hex.EncodeToString(m.V2[:])
	}
}

// print writes the facts for people, a line each; whatever a stranger wrote is
// made harmless to a terminal.
func (f *torrentFacts) print(w io.Writer) error {
	var b factLines
	b.add("name", f.Name)
	b.add("torrent file", f.Path)
	b.add("v1 hash", f.V1)
	b.add("v2 hash", f.V2)
	b.add("torrent id", f.ID)
	if f.Magnet {
		b.add("content", "unknown until the metadata is fetched from peers")
	} else {
		b.add("content", fmt.Sprintf("%s in %s, %s of %s",
			formatSize(f.Length), plural(len(f.Files), "file"), plural(f.Pieces, "piece"), formatSize(f.PieceLength)))
		b.add("price", f.price())
	}
	f.printSources(&b)
	for _, file := range f.Files {
		fmt.Fprintf(&b, "%13d %s\n", file.Length, printable(file.Path))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// printSources writes where the torrent comes from and where peers may be.
func (f *torrentFacts) printSources(b *factLines) {
	if f.Private {
		b.add("private", "yes: peers come from its trackers only")
	}
	for _, tier := range f.Trackers {
		b.add("tracker", strings.Join(tier, " "))
	}
	for _, s := range f.WebSeeds {
		b.add("web seed", s)
	}
	for _, s := range f.Peers {
		b.add("peer", s)
	}
	b.add("comment", f.Comment)
	b.add("created by", f.CreatedBy)
	if f.Created != nil {
		b.add("created", f.Created.Format(time.DateTime+" UTC"))
	}
	if !f.Magnet { // the link was the argument
		b.add("magnet link", f.Link)
	}
}

// factLines are lines of a name and a value, aligned.
type factLines struct{ strings.Builder }

// add writes a line, if there is a value.
func (b *factLines) add(what, value string) {
	if value != "" {
		fmt.Fprintf(b, "%-13s %s\n", what, printable(value))
	}
}

// price says whether the torrent is sold, and by whom.
func (f *torrentFacts) price() string {
	if f.Sold == nil {
		return "free"
	}
	return fmt.Sprintf("sold: %s, by federation %s, on ledger %s", plural(int(f.Sold.Units), "unit"), f.Sold.Federation, f.Sold.Ledger)
}

// plural is a number of things, whose name takes an s.
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
