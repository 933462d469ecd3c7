package tracker

import (
	"net/netip"
	"time"
)

// TrackerStatus is how it stands with one tracker, for people.
type TrackerStatus struct {
	URL        string
	Working    bool       // the last announce was answered
	LastError  error      // a sentence; of a hybrid torrent possibly although Working, under one of its hashes
	Warning    string     // of the last answer
	Next       time.Time  // of the next announce; zero: none was made yet, or none will be
	Seeders    int        // by the last answer
	Leechers   int        // by the last answer
	Peers      int        // usable ones in the last answer
	ExternalIP netip.Addr // ours, as the tracker saw it; invalid: not said
}

// Status tells how it stands with each tracker, in the order they are tried.
func (s *Session) Status() []TrackerStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]TrackerStatus, 0, len(s.order))
	for _, u := range s.order {
		st := s.states[u]
		t := TrackerStatus{
			URL: u, Working: st.working, LastError: st.err, Warning: st.last.Warning, Next: st.next,
			Seeders: st.last.Seeders, Leechers: st.last.Leechers, Peers: st.peers, ExternalIP: st.external,
		}
		if st.never {
			t.Next = time.Time{}
		}
		out = append(out, t)
	}
	return out
}
