package main

import (
	"io"
	"testing"
)

func TestAgain(t *testing.T) {
	for _, tt := range []struct {
		line []string
		want string
	}{
		{[]string{"x.torrent"}, "torrente get x.torrent --pay-up-to 25"},
		{
			[]string{"magnet:?xt=urn:btih:aa&dn=b c", "--peer", "1.2.3.4:5", "--peer", "[::1]:6", "--pay-up-to", "3", "--seed", "--home", "it's"},
			`torrente get 'magnet:?xt=urn:btih:aa&dn=b c' --home 'it'\''s' --peer 1.2.3.4:5 --peer '[::1]:6' --seed=true --pay-up-to 25`,
		},
		{[]string{"", "--dir", "größe"}, `torrente get '' --dir 'größe' --pay-up-to 25`},
	} {
		root := newRoot(stdio{nil, io.Discard, io.Discard})
		c, rest, err := root.Find(append([]string{"get"}, tt.line...))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.ParseFlags(rest); err != nil {
			t.Fatal(err)
		}
		if got := again(c, c.Flags().Args(), "pay-up-to", "25"); got != tt.want {
			t.Errorf("%s\nnot %s", got, tt.want)
		}
	}
}
