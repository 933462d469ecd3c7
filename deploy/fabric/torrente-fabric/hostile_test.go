package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// Whatever network.json holds, it is refused, or nobody who asks for a part of the
// network goes astray.
func FuzzNetwork(f *testing.F) {
	for _, text := range []string{
		`{"port":17000,"orderers":3,"members":["Alpha","Beta","Gamma"],"block_time":"100ms","joined":true}`,
		`{"orderers":4,"leaving":"orderer2","gone":["orderer1"],"begun":true,"packages":["a","b","c"],"next":["","",""]}`,
		`{"orderers":9223372036854775807}`, `{"members":["../x"]}`, `{"leaving":"orderer9"}`, `{"next":[]}`, "null", "",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		n := &network{Port: defaultPort, Orderers: 3, Members: []string{"Alpha", "Beta", "Gamma"}, BlockTime: time.Second.String(), dir: "/d"}
		if err := n.read(text); err != nil {
			return
		}
		if n.Leaving != "" && (n.leaving().Name != n.Leaving || n.comes(n.leaving())) {
			t.Errorf("%s leaves, %s comes", n.Leaving, n.coming().Name)
		}
		for _, one := range append(n.consenters(), n.peers()...) {
			if one.Port < 1 || one.Port+nodePorts > 1<<16 || !strings.HasPrefix(n.path(one.Name), "/d/") {
				t.Errorf("%+v", one)
			}
		}
		if n.Begun && len(n.release().packages) < len(n.peers()) || n.Next != nil && len(n.next().packages) != len(n.peers()) {
			t.Errorf("%d members have packages %q, next %q", len(n.peers()), n.Packages, n.Next)
		}
		_, _, _ = n.detours(), n.mayJoin(true, "Delta"), n.mayRotate(true, "orderer1")
		n.passOver()
		kept, err := json.Marshal(n)
		if err != nil || n.Orderers <= maxOrderers && (&network{}).read(kept) != nil {
			t.Errorf("%s is not read again: %v", kept, err)
		}
	})
}

// An orderer tells a figure, or none.
func FuzzFigureIn(f *testing.F) {
	f.Add("\nconsensus_etcdraft_is_leader{channel=\"torrente\"} 1\n", "consensus_etcdraft_is_leader")
	f.Add("\nconsensus_etcdraft_is_leader{channel=\"torrente\"} ", "consensus_etcdraft_is_leader")
	f.Fuzz(func(t *testing.T, text, name string) {
		if got := figureIn(text, name); got != -1 && !strings.Contains(text, name) {
			t.Errorf("%q has %s %d", text, name, got)
		}
	})
}
