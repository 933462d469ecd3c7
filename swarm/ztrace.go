package swarm

import (
	"fmt"
	"os"
)

func (s *Swarm) Zstate() string {
	for _, p := range s.order {
		return fmt.Sprintf("asked %d pending %d credit %d links %d verified %d dl %d", p.asked.len(), p.buy.pending, p.buy.credit(), p.buy.links, p.buy.verified, s.totals.Downloaded>>14)
	}
	return ""
}

var Zf, _ = os.Create(os.Getenv("ZTRACE"))
