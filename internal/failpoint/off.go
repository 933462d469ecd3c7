//go:build !failpoint

package failpoint

// Hit does nothing: the build tag failpoint is not set.
func Hit(string) {}

// HitIf does nothing either.
func HitIf(bool, string) {}
