// Package jsonhttp reads and writes the JSON of HTTP requests and answers.
//
// It bounds nothing and decides no status: its callers limit what they hand it.
package jsonhttp

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// Read reads one JSON value of a request, and wants nothing after it.
func Read(r io.Reader, v any) error {
	d := json.NewDecoder(r)
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("the request is not the JSON it should be: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("the request is not the JSON it should be: something follows it")
	}
	return nil
}

// Write answers with one JSON value, which must have an encoding.
func Write(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // the answers are of our own types
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n')) // who asked may be gone
}
