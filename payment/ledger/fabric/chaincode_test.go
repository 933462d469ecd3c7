//go:build fabric

package fabric

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// replaceChaincode has an organisation's peer be served by another program, or by
// its own with more in its environment.
func (n *realNetwork) replaceChaincode(t testing.TB, organisation, program string, more ...string) {
	t.Helper()
	name := "chaincode-" + organisation
	env := strings.Split(string(must[[]byte](t)(os.ReadFile(fmt.Sprintf("/proc/%d/environ", n.pid(t, name))))), "\x00")
	if program == "" {
		program = must[string](t)(os.Readlink(fmt.Sprintf("/proc/%d/exe", n.pid(t, name))))
	}
	n.kill(t, name)
	c := exec.Command(program)
	c.Env = append(slices.DeleteFunc(env, func(one string) bool { return one == "" }), more...)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = c.Wait() }() // it is killed
	t.Cleanup(func() { _ = c.Process.Kill(); <-ended })
	stat := string(must[[]byte](t)(os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.Process.Pid))))
	began := strings.Fields(stat[strings.LastIndex(stat, ")")+1:])[19] // proc(5) counts it as 22
	line := fmt.Sprintf("%d %s %s", c.Process.Pid, began, program)
	if err := os.WriteFile(filepath.Join(n.dir, "pids", name), []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
}

// changed builds a chaincode from this source but for one place in one file.
func (n *realNetwork) changed(t testing.TB, file, place, instead string) string {
	t.Helper()
	source := filepath.Join(n.source, file)
	honest := string(must[[]byte](t)(os.ReadFile(source)))
	if strings.Count(honest, place) != 1 {
		t.Fatalf("%s has %q %d times: name one place", source, place, strings.Count(honest, place))
	}
	dir := t.TempDir()
	changed, overlay := filepath.Join(dir, filepath.Base(file)), filepath.Join(dir, "overlay.json")
	text := must[[]byte](t)(json.Marshal(map[string]any{"Replace": map[string]string{source: changed}}))
	for path, content := range map[string][]byte{changed: []byte(strings.Replace(honest, place, instead, 1)), overlay: text} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	program := filepath.Join(dir, "chaincode")
	n.build(t, "cmd/torrente-chaincode", program, "-overlay", overlay)
	return program
}
