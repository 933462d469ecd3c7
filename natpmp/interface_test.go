package natpmp

import "testing"

func TestLinkOf(t *testing.T) {
	link, err := linkOf(addr("127.0.0.1"))
	if err != nil || link.Index == 0 {
		t.Errorf("%v %v", link, err)
	}
	if link, err := linkOf(addr("192.0.2.1")); err == nil {
		t.Errorf("%s has an address of nobody", link.Name)
	}
}
