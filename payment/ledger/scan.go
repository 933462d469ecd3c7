package ledger

import (
	"slices"
	"strings"

	"torrente/payment/contract"
)

// source gives the keys of one layer, in order, from one on.
type source struct {
	key  string
	ok   bool
	next func() (string, bool)
	read func(key string) ([]byte, error)
}

func (s *source) step() { s.key, s.ok = s.next() }

// scan returns at most limit rows whose key begins with prefix and is greater
// than after: the layers merged, the newest winning, deleted rows left out.
func (s *snapshot) scan(prefix, after string, limit int) (found []contract.Row, err error) {
	sources := s.sources(prefix, after)
	for len(found) < limit {
		least := -1
		for i := range sources {
			if sources[i].ok && (least < 0 || sources[i].key < sources[least].key) {
				least = i
			}
		}
		if least < 0 {
			return found, nil
		}
		key := sources[least].key
		value, err := sources[least].read(key)
		if err != nil {
			return nil, err
		}
		if value != nil {
			found = append(found, contract.Row{Key: key, Value: value})
		}
		for i := range sources {
			if sources[i].ok && sources[i].key == key {
				sources[i].step()
			}
		}
	}
	return found, nil
}

// sources returns the layers, the newest first, each at its first key.
func (s *snapshot) sources(prefix, after string) []*source {
	var all []*source
	for _, layer := range s.changed {
		all = append(all, mapSource(layer, prefix, after))
	}
	if s.bucket != nil {
		all = append(all, s.fileSource(prefix, after))
	}
	for _, one := range all {
		one.step()
	}
	return all
}

func mapSource(layer map[string][]byte, prefix, after string) *source {
	var keys []string
	for k := range layer {
		if strings.HasPrefix(k, prefix) && k > after {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return &source{
		next: func() (string, bool) {
			if len(keys) == 0 {
				return "", false
			}
			k := keys[0]
			keys = keys[1:]
			return k, true
		},
		read: func(key string) ([]byte, error) { return layer[key], nil },
	}
}

func (s *snapshot) fileSource(prefix, after string) *source {
	cursor := s.bucket.Cursor()
	var sealed []byte
	started := false
	move := func() []byte {
		if started {
			k, v := cursor.Next()
			sealed = v
			return k
		}
		started = true
		k, v := cursor.Seek([]byte(max(prefix, after)))
		if k != nil && string(k) == after {
			k, v = cursor.Next()
		}
		sealed = v
		return k
	}
	return &source{
		next: func() (string, bool) {
			k := move()
			return string(k), k != nil && strings.HasPrefix(string(k), prefix)
		},
		read: func(key string) ([]byte, error) { return unseal(key, sealed) },
	}
}
