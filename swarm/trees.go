package swarm

import (
	"time"

	"torrente/metainfo"
	"torrente/peerwire"
	"torrente/piece"
)

// trees knows the hash trees of a v2 torrent as far as they are proven
// (BEP 52).
type trees struct {
	info   *metainfo.Info
	layers map[[32]byte][]byte
}

func newTrees(info *metainfo.Info, layers map[[32]byte][]byte) trees {
	return trees{info: info, layers: layers}
}

// leaf is the proven hash of a block, or nil.
func (t *trees) leaf(piece.Block) *[32]byte { return nil }

func (t *trees) verified(uint32) {}

func (t *trees) giveUp(*peer) {}

func (t *trees) advance(*Swarm, time.Time) {}

func (s *Swarm) onHashes(now time.Time, p *peer, m *peerwire.Message) error { return nil }
