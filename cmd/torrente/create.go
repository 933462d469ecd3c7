package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"slices"
	"time"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"torrente/metainfo"
	"torrente/piece/store"
)

// createFlags are what the command line of create says.
type createFlags struct {
	output          string
	v1, v2, hybrid  bool
	paid, private   bool
	force, asJSON   bool
	pieceLength     string
	comment         string
	trackers, seeds []string
}

func newCreate(std stdio) *cobra.Command {
	var f createFlags
	c := &cobra.Command{
		Use:   "create PATH -o FILE",
		Short: "make a torrent file of a file or folder",
		Long: "Make a torrent file of a file or folder: a hybrid of both versions of BitTorrent unless told otherwise.\n" +
			"With --paid the torrent is sold: peers serve its data only to those who pay for it on the ledger of the\n" +
			"federation you are enrolled in.",
		Args: exactArgs("PATH"),
		RunE: func(c *cobra.Command, args []string) error {
			facts, err := create(c, std, args[0], f)
			if err != nil {
				return err
			}
			if f.asJSON {
				return printJSON(std.out, facts)
			}
			return facts.print(std.out)
		},
	}
	f.register(c)
	return c
}

// register tells cobra the flags.
func (f *createFlags) register(c *cobra.Command) {
	s := c.Flags()
	s.StringVarP(&f.output, "output", "o", "", "torrent file to write")
	s.BoolVar(&f.v1, "v1", false, "for programs that know only BitTorrent v1")
	s.BoolVar(&f.v2, "v2", false, "for programs that know BitTorrent v2")
	s.BoolVar(&f.hybrid, "hybrid", false, "for both (the default)")
	s.BoolVar(&f.paid, "paid", false, "sell it in your federation")
	s.BoolVar(&f.private, "private", false, "peers come from its trackers only")
	s.BoolVar(&f.force, "force", false, "overwrite the torrent file if it exists")
	s.BoolVar(&f.asJSON, "json", false, "print one JSON object")
	s.StringVar(&f.pieceLength, "piece-length", "", "a power of two from 16KiB on (default: by the size of the content)")
	s.StringVar(&f.comment, "comment", "", "text to put into the torrent file")
	s.StringArrayVar(&f.trackers, "tracker", nil, "URL of a tracker; may be given several times, first ones are asked first")
	s.StringArrayVar(&f.seeds, "web-seed", nil, "URL of the content on a web server; may be given several times")
}

// options checks the flags, before anything is read.
func (f *createFlags) options() (o metainfo.Options, err error) {
	if f.output == "" {
		return o, usageError{errors.New("create: no torrent file to write: give -o FILE")}
	}
	if n := len(slices.DeleteFunc([]bool{f.v1, f.v2, f.hybrid}, func(b bool) bool { return !b })); n > 1 {
		return o, usageError{errors.New("create: --v1, --v2 and --hybrid exclude each other")}
	}
	o = metainfo.Options{V1: !f.v2, V2: !f.v1, Private: f.private}
	if f.pieceLength != "" {
		if o.PieceLength, err = parseSize(f.pieceLength); err != nil {
			return o, usageError{fmt.Errorf("create --piece-length: %w", err)}
		}
		if o.PieceLength == 0 {
			return o, usageError{errors.New("create --piece-length: pieces cannot be empty")}
		}
	}
	for _, s := range f.trackers {
		if err := checkURL(s, "http", "https", "udp"); err != nil {
			return o, usageError{fmt.Errorf("create --tracker: %w", err)}
		}
	}
	for _, s := range f.seeds {
		if err := checkURL(s, "http", "https"); err != nil {
			return o, usageError{fmt.Errorf("create --web-seed: %w", err)}
		}
	}
	return o, nil
}

// checkURL wants an absolute URL of one of the schemes.
func checkURL(s string, schemes ...string) error {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || !slices.Contains(schemes, u.Scheme) {
		return fmt.Errorf("%q is not a URL that begins with %s://", s, schemes[0])
	}
	return nil
}

// create makes the torrent file. It is written last, and whole or not at all.
func create(c *cobra.Command, std stdio, path string, f createFlags) (*torrentFacts, error) {
	o, err := f.options()
	if err != nil {
		return nil, err
	}
	if f.paid {
		home, err := homeOf(c)
		if err != nil {
			return nil, err
		}
		var tracker string
		if o.Pay, tracker, err = readFederation(string(home)); err != nil {
			return nil, fmt.Errorf("create --paid: %w", err)
		}
		if tracker != "" && len(f.trackers) == 0 {
			f.trackers = []string{tracker}
		}
	}
	// Told before hours of hashing; writeTorrent looks again.
	if _, err := os.Lstat(f.output); err == nil && !f.force {
		return nil, existsError(f.output)
	}
	t, err := assemble(c.Context(), std, path, o)
	if err != nil {
		return nil, fmt.Errorf("create: %w", err)
	}
	t.Comment, t.WebSeeds = f.comment, f.seeds
	t.CreatedBy, t.Created = "torrente "+version, time.Now()
	// A tier each (BEP 12): they are asked in the order given.
	for _, s := range f.trackers {
		t.Trackers = append(t.Trackers, []string{s})
	}
	if err := writeTorrent(f.output, t, f.force); err != nil {
		return nil, err
	}
	facts := factsOf(t)
	facts.Path = f.output
	return facts, nil
}

// assemble reads the content.
func assemble(ctx context.Context, std stdio, path string, o metainfo.Options) (*metainfo.Torrent, error) {
	content, err := store.List(path)
	if err != nil {
		return nil, err
	}
	plan, err := metainfo.NewPlan(content.Name, content.Files, o)
	if err != nil {
		return nil, err
	}
	bar := newPercent(std.err, "hashing", content.Bytes)
	hashes, err := content.Hash(ctx, plan, bar.add)
	bar.end()
	if err != nil {
		return nil, err
	}
	info, err := plan.Info(hashes)
	if err != nil {
		return nil, err
	}
	return &metainfo.Torrent{Info: info, Layers: hashes.Layers}, nil
}

func existsError(path string) error {
	return fmt.Errorf("create: %s exists: give --force to overwrite it", path)
}

// writeTorrent writes what Parse accepts, which a torrent beyond the limits of
// torrent files is not.
func writeTorrent(path string, t *metainfo.Torrent, force bool) error {
	b, err := t.Encode()
	if err != nil {
		return err
	}
	back, err := metainfo.Parse(b)
	if err != nil {
		return fmt.Errorf("create: the torrent file could not be read by anyone, choose a longer piece length or fewer files: %w", err)
	}
	if !bytes.Equal(back.Info.Raw, t.Info.Raw) {
		return errors.New("create: the torrent file does not read back as it was written")
	}
	if force {
		return renameio.WriteFile(path, b, 0o644)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return existsError(path)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err := errors.Join(err, f.Close()); err != nil { // the disk is full: leave no half
		return errors.Join(err, os.Remove(path))
	}
	return nil
}
