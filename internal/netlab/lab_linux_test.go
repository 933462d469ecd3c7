package netlab

import (
	"context"
	"os/exec"
	"strings"
	"testing"
)

func listed(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("ip", "netns", "list").Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// What a lab makes is gone after it, also if it is built in part, and what a process
// left that was killed goes with the next lab.
func TestLabsLeaveNothing(t *testing.T) {
	const dead = "torrente-4194305-1-router" // Linux has no such process
	if out, err := exec.Command("ip", "netns", "add", dead).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	l, err := New()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(listed(t), dead) {
		t.Error("the namespace of a dead process is there")
	}
	if err := l.Build("ip netns add {router}\n\nip -n {router} link set lo up"); err != nil {
		t.Error(err)
	}
	out, err := l.In(context.Background(), "router", "ip", "-o", "link").CombinedOutput()
	if err != nil || strings.Count(string(out), "\n") != 1 {
		t.Errorf("in the namespace there is more than lo: %s, %v", out, err)
	}
	r, err := l.Route("router", t.TempDir(), Forwarding{9003, "192.168.7.34"})
	if err != nil {
		t.Error(err)
	}
	if all, err := r.Mapped(); err != nil || strings.Contains(all, "9003") { // a person's is no mapping
		t.Errorf("%s, %v", all, err)
	}
	if err := l.Build("ip netns add {half}\nip -n {half} link set nothing up"); err == nil || !strings.Contains(err.Error(), "ip -n {half} link set nothing up") {
		t.Errorf("%v", err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if strings.Contains(listed(t), l.prefix) {
		t.Errorf("left: %s", listed(t))
	}
	if err := l.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}
}
