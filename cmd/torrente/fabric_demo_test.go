package main

import (
	"os"
	"path/filepath"
	"testing"
)

// Programs are built and run from this project's source, and from no folder that
// looks like it.
func TestWhatIsTheSource(t *testing.T) {
	if !isSource(filepath.Join("..", "..")) {
		t.Error("this source is not taken for what it is")
	}
	for module, want := range map[string]bool{"module torrente\n": true, "module other\n": false, "": false} {
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Join(dir, fabricSource), 0o700); err != nil {
			t.Fatal(err)
		}
		if module != "" {
			if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte(module), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got := isSource(dir); got != want {
			t.Errorf("%q: %v", module, got)
		}
	}
}
