package metainfo

import (
	"slices"
	"strings"
	"time"

	"torrente/bencode"
)

// maxURLs bounds the trackers, and the web seeds, that are taken from a torrent
// or a magnet link. What is beyond is ignored: nobody asks so many.
const maxURLs = 256

// Torrent is the content of a torrent file. Encode writes it.
type Torrent struct {
	Info     *Info
	Trackers [][]string // tiers (BEP 12); a torrent without trackers has none
	WebSeeds []string   // BEP 19
	// Layers are the piece layers (BEP 52) by pieces root, of every file that is
	// longer than a piece, each verified against its root: 32 bytes a piece.
	Layers    map[[32]byte][]byte
	Comment   string
	CreatedBy string
	Created   time.Time // to the second; zero if unknown
}

// Parse reads a torrent file. Bytes behind its dictionary are ignored, since
// some programs leave them. Only what the info dictionary and the piece layers
// say can make it refuse; whatever else is odd is treated as absent.
func Parse(b []byte) (*Torrent, error) {
	v, _, err := bencode.ParsePrefix(b, bencode.Torrent)
	if err != nil {
		return nil, refusef("torrent file: %w", err)
	}
	d, err := v.Dict()
	if err != nil {
		return nil, refusef("torrent file: it %w", err)
	}
	info := d.Get("info")
	if info.Kind() == 0 {
		return nil, refusef(`torrent file: "info" is missing`)
	}
	t := &Torrent{
		Trackers:  trackers(d),
		WebSeeds:  webSeeds(d.Get("url-list")),
		Comment:   text(d, "comment"),
		CreatedBy: text(d, "created by"),
		Created:   created(d),
	}
	if t.Info, err = parseInfo(info); err != nil {
		return nil, err
	}
	if t.Info.HasV2 {
		if t.Layers, err = layers(t.Info, d.Get("piece layers")); err != nil {
			return nil, refusef("piece layers: %w", err)
		}
	}
	return t, nil
}

// trackers are the tiers of "announce-list" (BEP 12), or else "announce" alone.
// Lists that are flat, or a string, are taken for tiers of one.
func trackers(d bencode.Dict) [][]string {
	var u urls
	var tiers [][]string
	list := d.Get("announce-list")
	if s := u.take(list); s != "" {
		tiers = append(tiers, []string{s})
	}
	for v := range list.Elements() {
		var tier []string
		if s := u.take(v); s != "" {
			tier = append(tier, s)
		}
		for w := range v.Elements() {
			if s := u.take(w); s != "" {
				tier = append(tier, s)
			}
		}
		if len(tier) > 0 {
			tiers = append(tiers, tier)
		}
	}
	if len(tiers) == 0 {
		if s := u.take(d.Get("announce")); s != "" {
			tiers = append(tiers, []string{s})
		}
	}
	return tiers
}

// webSeeds takes "url-list", which is a list or, of one, a string.
func webSeeds(v bencode.Value) (out []string) {
	var u urls
	if s := u.take(v); s != "" {
		return []string{s}
	}
	for w := range v.Elements() {
		if s := u.take(w); s != "" {
			out = append(out, s)
		}
	}
	return out
}

// urls takes each URL once, and no more than maxURLs.
type urls struct{ seen []string }

// take takes a value if it is a string; anything else is nobody's URL.

func (u *urls) take(v bencode.Value) string {
	if len(u.seen) >= maxURLs {
		return ""
	}
	b, err := v.Bytes()
	if err != nil {
		return ""
	}
	return u.add(string(b))
}

// add returns the URL, or nothing if it is not to be used.
func (u *urls) add(s string) string {
	s = strings.TrimSpace(s)
	if s == "" || len(s) > 2048 || len(u.seen) >= maxURLs || slices.Contains(u.seen, s) {
		return ""
	}
	u.seen = append(u.seen, s)
	return s
}

// text is a string for people, which may come with a better copy of itself.
func text(d bencode.Dict, key string) string {
	s, err := d.Text(key + ".utf-8")
	if err != nil {
		s, _ = d.Text(key)
	}
	return strings.ToValidUTF8(s, "_")
}

func created(d bencode.Dict) time.Time {
	s, err := d.Int("creation date")
	if err != nil || s <= 0 || s >= 253402300800 { // year 10000, which no other format can say
		return time.Time{}
	}
	return time.Unix(s, 0).UTC()
}

// Encode writes the torrent file. The info dictionary is written as it came.
func (t *Torrent) Encode() ([]byte, error) {
	d := map[string]any{"info": bencode.Raw(t.Info.Raw)}
	if len(t.Trackers) > 0 && len(t.Trackers[0]) > 0 {
		d["announce"] = t.Trackers[0][0]
		if len(t.Trackers) > 1 || len(t.Trackers[0]) > 1 {
			tiers := make([]any, len(t.Trackers))
			for i, tier := range t.Trackers {
				tiers[i] = tier
			}
			d["announce-list"] = tiers
		}
	}
	if len(t.WebSeeds) > 0 {
		d["url-list"] = t.WebSeeds
	}
	if t.Comment != "" {
		d["comment"] = t.Comment
	}
	if t.CreatedBy != "" {
		d["created by"] = t.CreatedBy
	}
	if !t.Created.IsZero() {
		d["creation date"] = t.Created.Unix()
	}
	if t.Info.HasV2 {
		layers := make(map[string]any, len(t.Layers))
		for root, layer := range t.Layers {
			layers[string(root[:])] = layer
		}
		d["piece layers"] = layers
	}
	return bencode.Encode(d)
}
