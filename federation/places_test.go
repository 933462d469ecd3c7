package federation

import "testing"

func TestPlaces(t *testing.T) {
	p := newPlaces[string](3, 2)
	for _, s := range []struct {
		who  string
		want bool
	}{{"a", true}, {"a", true}, {"a", false}, {"b", true}, {"b", false}, {"c", false}} {
		if got := p.enter(s.who); got != s.want {
			t.Errorf("a place for %s: %v", s.who, got)
		}
	}
	p.leave("a")
	if !p.enter("c") || p.enter("a") {
		t.Error("what one gave back is not another's")
	}
	p.leave("a")
	p.leave("b")
	p.leave("c")
	if p.taken != 0 || len(p.of) != 0 {
		t.Errorf("%d are taken, %d are remembered", p.taken, len(p.of))
	}
}
