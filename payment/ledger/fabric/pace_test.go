package fabric

import (
	"testing"
	"time"
)

// A transaction is sent again when three commits should have come, but neither at
// once nor never.
func TestSilence(t *testing.T) {
	for _, one := range []struct{ usual, want time.Duration }{
		{0, 3 * time.Second}, {120 * time.Millisecond, 3 * time.Second}, {2 * time.Second, 6 * time.Second}, {time.Minute, 10 * time.Second},
	} {
		var p pace
		for range 3 {
			p.took(one.usual)
		}
		if got := p.silence(); got != one.want {
			t.Errorf("commits take %v: %v, not %v", one.usual, got, one.want)
		}
	}
	var p pace
	for range 20 {
		p.took(2 * time.Second)
	}
	p.took(100 * time.Millisecond)
	if got := p.silence(); got < 4*time.Second {
		t.Errorf("one quick commit among slow ones: %v", got)
	}
}
