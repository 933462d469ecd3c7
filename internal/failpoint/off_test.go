//go:build !failpoint

package failpoint

import "testing"

// Without the tag a point costs nothing, whatever the environment says.
func TestNothing(t *testing.T) {
	t.Setenv("TORRENTE_FAILPOINT", "a@1")
	if n := testing.AllocsPerRun(100, func() { Hit("a"); HitIf(true, "a") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
