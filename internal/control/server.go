package control

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"torrente/internal/jsonhttp"
)

// File is the usual name of the file that holds an At.
const File = "control.json"

// At is how a process is reached.
type At struct {
	Address string `json:"address"` // loopback
	Token   string `json:"token"`
	PID     int    `json:"pid"`
	// Offers are the groups of commands that it answers, by the callers' names.
	Offers []string `json:"offers,omitempty"`
}

const (
	maxBody   = 64 << 10 // bytes of a request
	maxAnswer = 16 << 20 // bytes of an answer
	maxFile   = 64 << 10
	// wait is how long a command may take, the ledger's time included.
	wait = 2 * time.Minute
	// stopWait is how long commands may take to end when the server stops.
	stopWait = 5 * time.Second
	// Prefix is the path below which the commands are.
	Prefix = "/v1/"
)

// Server answers commands on a loopback port.
type Server struct {
	at  At
	l   net.Listener
	web *http.Server
}

// Listen opens a port of 127.0.0.1 for commands that Handle added to mux, of the groups
// that it offers. Serve or Close must follow.
func Listen(mux *http.ServeMux, log *slog.Logger, offers ...string) (*Server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for commands: %w", err)
	}
	s := &Server{at: At{l.Addr().String(), rand.Text(), os.Getpid(), offers}, l: l}
	s.web = &http.Server{
		Handler:           s.guard(mux),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      wait,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	return s, nil
}

// At returns what the file must say, for clients.
func (s *Server) At() At { return s.at }

// Close ends a server that does not serve.
func (s *Server) Close() error { return s.l.Close() }

// Serve answers until ctx ends; then commands may end, and are cut off if they
// do not. It closes the port. The error says why it ended before.
func (s *Server) Serve(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- s.web.Serve(s.l) }()
	select {
	case err := <-done:
		return fmt.Errorf("answer commands on %s: %w", s.at.Address, err)
	case <-ctx.Done():
	}
	patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWait)
	defer cancel()
	if err := s.web.Shutdown(patience); err != nil {
		_ = s.web.Close() // those that did not end are what err says
	}
	<-done
	return nil
}

// guard lets in who has read the file. A web page in the owner's browser can
// reach a loopback port, by its number or by a name that it points there; the
// token it does not know, and the name shows in Host.
func (s *Server) guard(next http.Handler) http.Handler {
	want := []byte("Bearer " + s.at.Token)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != s.at.Address {
			jsonhttp.Write(w, http.StatusMisdirectedRequest, failure{"this address is for the owner's commands alone"})
			return
		}
		if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), want) != 1 {
			jsonhttp.Write(w, http.StatusUnauthorized, failure{"the token of " + File + " is missing"})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Handle adds a command: JSON in, JSON out, and the error's sentence if it
// fails.
func Handle[In, Out any](mux *http.ServeMux, name string, do func(context.Context, In) (Out, error)) {
	mux.HandleFunc("POST "+Prefix+name, func(w http.ResponseWriter, r *http.Request) {
		var in In
		if err := jsonhttp.Read(http.MaxBytesReader(w, r.Body, maxBody), &in); err != nil {
			jsonhttp.Write(w, http.StatusBadRequest, failure{err.Error()})
			return
		}
		out, err := do(r.Context(), in)
		if err != nil {
			jsonhttp.Write(w, http.StatusConflict, failure{err.Error()})
			return
		}
		jsonhttp.Write(w, http.StatusOK, out)
	})
}

type failure struct {
	Error string `json:"error"`
}
