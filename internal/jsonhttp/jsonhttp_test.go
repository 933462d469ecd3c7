package jsonhttp

import (
	"net/http/httptest"
	"strings"
	"testing"
)

func TestRead(t *testing.T) {
	for in, want := range map[string]string{
		`{"a":1}`:        "",
		" {\"a\":1}\n":   "",
		``:               "the request is not the JSON it should be: EOF",
		`{"a":`:          "the request is not the JSON it should be: unexpected EOF",
		`{"a":"x"}`:      "the request is not the JSON it should be: ",
		`{"a":1}{"a":2}`: "the request is not the JSON it should be: something follows it",
		`{"a":1} x`:      "the request is not the JSON it should be: something follows it",
	} {
		var v struct{ A int }
		err := Read(strings.NewReader(in), &v)
		if want == "" && (err != nil || v.A != 1) || want != "" && (err == nil || !strings.HasPrefix(err.Error(), want)) {
			t.Errorf("%q: %v, %+v, want %q", in, err, v, want)
		}
	}
}

func TestWrite(t *testing.T) {
	w := httptest.NewRecorder()
	Write(w, 418, map[string]int{"a": 1})
	h := w.Header()
	if w.Code != 418 || w.Body.String() != "{\"a\":1}\n" || h.Get("Content-Type") != "application/json" || h.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%d %v %q", w.Code, h, w.Body)
	}
}
