package federation

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// controlAt is control.json: how the operator's commands reach the process
// that serves a federation. Only the operator can read it.
type controlAt struct {
	Address string `json:"address"` // loopback
	Token   string `json:"token"`
	PID     int    `json:"pid"`
}

const (
	maxControlBody = 64 << 10 // bytes of a request
	maxControlText = 16 << 20 // bytes of an answer: all members
	controlWait    = 2 * time.Minute
	controlPrefix  = "/v1/"
)

// controller answers the operator's commands on a loopback port.
type controller struct {
	at  controlAt
	l   net.Listener
	srv *http.Server
}

func newController(op Operator, log *slog.Logger) (*controller, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for the operator's commands: %w", err)
	}
	c := &controller{at: controlAt{l.Addr().String(), rand.Text(), os.Getpid()}, l: l}
	c.srv = &http.Server{
		Handler:           c.guard(commandsOf(op)),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      controlWait,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	return c, nil
}

// commandsOf routes each command to the operator's method.
func commandsOf(op Operator) http.Handler {
	mux := http.NewServeMux()
	handle(mux, "invite", op.Invite)
	handle(mux, "fund", op.Fund)
	handle(mux, "revoke", op.Revoke)
	handle(mux, "root/add", op.AddRoot)
	handle(mux, "root/remove", op.RemoveRoot)
	handle(mux, "members", op.Members)
	handle(mux, "roots", op.Roots)
	return mux
}

// handle answers one command: JSON in, JSON out.
func handle[In, Out any](mux *http.ServeMux, name string, do func(context.Context, In) (Out, error)) {
	mux.HandleFunc("POST "+controlPrefix+name, func(w http.ResponseWriter, r *http.Request) {
		var in In
		if err := decodeJSON(http.MaxBytesReader(w, r.Body, maxControlBody), &in); err != nil {
			writeJSON(w, http.StatusBadRequest, controlFailure{err.Error()})
			return
		}
		out, err := do(r.Context(), in)
		if err != nil {
			writeJSON(w, http.StatusConflict, controlFailure{err.Error()})
			return
		}
		writeJSON(w, http.StatusOK, out)
	})
}

type controlFailure struct {
	Error string `json:"error"`
}

// guard lets in who has read control.json. A web page in the operator's browser
// can reach a loopback port, by its number or by a name that it points there;
// the token it does not know, and the name shows in Host.
func (c *controller) guard(next http.Handler) http.Handler {
	want := []byte("Bearer " + c.at.Token)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != c.at.Address {
			writeJSON(w, http.StatusMisdirectedRequest, controlFailure{"this address is for the operator's commands alone"})
			return
		}
		if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), want) != 1 {
			writeJSON(w, http.StatusUnauthorized, controlFailure{"the token of " + controlFile + " is missing"})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// decodeJSON reads one JSON value and nothing after it.
func decodeJSON(r io.Reader, v any) error {
	d := json.NewDecoder(r)
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("the request is not the JSON it should be: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("the request is not the JSON it should be: something follows it")
	}
	return nil
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // our own types, all of which have an encoding
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n')) // who asked may be gone
}

// Control reaches the process that serves a federation.
type Control struct {
	at  controlAt
	web *http.Client
}

// Connect finds the process that has the folder open. It returns
// ErrNoFederation, or *InUse if that process takes no commands, because it is
// no federation serve.
func Connect(ctx context.Context, dir string) (*Control, error) {
	d := folder(dir)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	// A process that has just started is still opening its keys.
	for range 200 {
		at, err := d.readControl()
		if err == nil && at.PID == d.owner() {
			return &Control{at, &http.Client{Timeout: controlWait, Transport: &http.Transport{DisableKeepAlives: true, Proxy: nil}}}, nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-tick.C:
		}
	}
	return nil, &InUse{dir, d.owner()}
}

func (d folder) readControl() (at controlAt, err error) {
	b, err := readBounded(d.path(controlFile))
	if err != nil {
		return at, err
	}
	if err := json.Unmarshal(b, &at); err != nil {
		return at, fmt.Errorf("%s: %w", d.path(controlFile), err)
	}
	return at, nil
}

// Close has nothing to close: every command has a connection of its own.
func (c *Control) Close() error { return nil }

// PID returns the process that is reached.
func (c *Control) PID() int { return c.at.PID }

func call[Out any](ctx context.Context, c *Control, name string, in any) (out Out, err error) {
	body, err := json.Marshal(in)
	if err != nil {
		return out, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+c.at.Address+controlPrefix+name, strings.NewReader(string(body)))
	if err != nil {
		return out, err
	}
	r.Header.Set("Authorization", "Bearer "+c.at.Token)
	answer, err := c.web.Do(r)
	if err != nil {
		return out, fmt.Errorf("ask process %d, which serves the federation: %w", c.at.PID, err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(io.LimitReader(answer.Body, maxControlText+1))
	if err != nil || len(b) > maxControlText {
		return out, fmt.Errorf("the answer of process %d is cut off: ask again: %w", c.at.PID, err)
	}
	if answer.StatusCode != http.StatusOK {
		var f controlFailure
		if json.Unmarshal(b, &f) != nil || f.Error == "" {
			f.Error = fmt.Sprintf("process %d answered %s", c.at.PID, answer.Status)
		}
		return out, errors.New(f.Error)
	}
	return out, json.Unmarshal(b, &out)
}

// Invite asks the running federation for an invite.
func (c *Control) Invite(ctx context.Context, r InviteRequest) (Invitation, error) {
	return call[Invitation](ctx, c, "invite", r)
}

// Fund lets the running federation transfer from its treasury.
func (c *Control) Fund(ctx context.Context, r FundRequest) (Funding, error) {
	return call[Funding](ctx, c, "fund", r)
}

// Revoke lets the running federation revoke a member.
func (c *Control) Revoke(ctx context.Context, r RevokeRequest) (Member, error) {
	return call[Member](ctx, c, "revoke", r)
}

// AddRoot lets the running federation trust another root.
func (c *Control) AddRoot(ctx context.Context, r AddRootRequest) (Root, error) {
	return call[Root](ctx, c, "root/add", r)
}

// RemoveRoot ends the running federation's trust in a root.
func (c *Control) RemoveRoot(ctx context.Context, r RemoveRootRequest) (Root, error) {
	return call[Root](ctx, c, "root/remove", r)
}

// Members lists the running federation's members.
func (c *Control) Members(ctx context.Context, r struct{}) ([]Member, error) {
	return call[[]Member](ctx, c, "members", r)
}

// Roots lists the running federation's roots.
func (c *Control) Roots(ctx context.Context, r struct{}) ([]Root, error) {
	return call[[]Root](ctx, c, "roots", r)
}
