package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
)

// Client reaches a process.
type Client struct {
	at  At
	web *http.Client
}

// NewClient makes a client. Every command has a connection of its own, so there
// is nothing to close.
func NewClient(at At) *Client {
	return &Client{at, &http.Client{Timeout: wait, Transport: &http.Transport{DisableKeepAlives: true, Proxy: nil}}}
}

// PID returns the process that is reached.
func (c *Client) PID() int { return c.at.PID }

// Read reads the file that a process wrote. The error is fs.ErrNotExist if
// there is none. An address that is not a loopback one is refused: the token is
// sent there.
func Read(path string) (at At, err error) {
	f, err := os.Open(path)
	if err != nil {
		return at, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err == nil {
		err = json.Unmarshal(b, &at)
	}
	if err != nil {
		return at, fmt.Errorf("%s: %w", path, err)
	}
	if to, err := netip.ParseAddrPort(at.Address); err != nil || !to.Addr().IsLoopback() {
		return at, fmt.Errorf("%s: %q is no address of this machine's own", path, at.Address)
	}
	return at, nil
}

// Call runs a command in the process, and returns its answer or its error.
func Call[Out any](ctx context.Context, c *Client, name string, in any) (out Out, err error) {
	body, err := json.Marshal(in)
	if err != nil {
		return out, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+c.at.Address+Prefix+name, bytes.NewReader(body))
	if err != nil {
		return out, err
	}
	r.Header.Set("Authorization", "Bearer "+c.at.Token)
	answer, err := c.web.Do(r)
	if err != nil {
		return out, fmt.Errorf("ask process %d, which is running: %w", c.at.PID, err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	if err == nil && len(b) > maxAnswer {
		err = fmt.Errorf("it is longer than %d bytes", maxAnswer)
	}
	if err != nil {
		return out, fmt.Errorf("read the answer of process %d: %w", c.at.PID, err)
	}
	if answer.StatusCode != http.StatusOK {
		var f failure
		if json.Unmarshal(b, &f) != nil || f.Error == "" {
			f.Error = fmt.Sprintf("process %d answered %s", c.at.PID, answer.Status)
		}
		return out, errors.New(f.Error)
	}
	return out, json.Unmarshal(b, &out)
}
