package node

import (
	"errors"
	"io/fs"
	"maps"

	"torrente/metainfo"
	"torrente/piece/store"
	"torrente/swarm"
)

// layersPath is where the piece layers that peers told are kept: without them
// the data of a v2 torrent that came by a link could not be checked after a
// restart. Empty: nowhere.
func (t *Torrent) layersPath() string {
	if t.opt.Resume == "" || t.opt.Torrent != nil {
		return ""
	}
	return t.opt.Resume + ".layers"
}

// knownLayers are the piece layers of the torrent file, or else those that were
// kept, each proven again.
func (t *Torrent) knownLayers(info *metainfo.Info) map[[32]byte][]byte {
	if t.opt.Torrent != nil {
		return t.opt.Torrent.Layers
	}
	if t.layersPath() == "" || !info.HasV2 {
		return nil
	}
	layers, err := store.LoadLayers(t.layersPath(), info)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.node.cfg.Log.Warn("kept piece layers", "torrent", info.Name, "err", err)
	}
	return layers
}

// learnLayers keeps layers that peers told. The whole file is written anew
// beside the loop; there are few layers, or they are short.
func (t *Torrent) learnLayers(learned []swarm.Layer) {
	all := maps.Clone(t.learned)
	if all == nil {
		all = map[[32]byte][]byte{}
	}
	for _, l := range learned {
		all[l.Root] = l.Data
		if s := t.store.Load(); s != nil {
			s.AddLayer(l.Root, l.Data)
		}
	}
	t.learned = all
	t.unsaved = t.layersPath() != ""
}

// saveLayers writes what was learned since it was last called, beside the loop.
func (t *Torrent) saveLayers() {
	if !t.unsaved || !t.saved.layersBusy.CompareAndSwap(false, true) {
		return
	}
	t.unsaved = false
	all, path := t.learned, t.layersPath()
	t.tasks.Go(func() {
		defer t.saved.layersBusy.Store(false)
		if err := store.SaveLayers(path, all); err != nil {
			t.node.cfg.Log.Warn("keep piece layers", "err", err)
		}
	})
}
