package control

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type question struct{ A, B int }

// serve answers sums until the test ends.
func serve(t *testing.T) At {
	t.Helper()
	mux := http.NewServeMux()
	Handle(mux, "sum", func(_ context.Context, q question) (int, error) {
		if q.A < 0 {
			return 0, errors.New("a is negative: give another")
		}
		return q.A + q.B, nil
	})
	s, err := Listen(mux, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s.At()
}

func TestCall(t *testing.T) {
	c := NewClient(serve(t))
	if got, err := Call[int](t.Context(), c, "sum", question{2, 3}); err != nil || got != 5 {
		t.Errorf("%d, %v", got, err)
	}
	if _, err := Call[int](t.Context(), c, "sum", question{-1, 3}); err == nil || err.Error() != "a is negative: give another" {
		t.Errorf("an error arrives as %v", err)
	}
	if _, err := Call[int](t.Context(), c, "nothing", question{}); err == nil || !strings.Contains(err.Error(), strconv.Itoa(os.Getpid())) {
		t.Errorf("no such command: %v", err)
	}
}

// Only who has read the file is obeyed: not a web page that reaches the port by
// its number, or by a name of its own.
func TestGuard(t *testing.T) {
	at := serve(t)
	port := at.Address[strings.LastIndex(at.Address, ":"):]
	for name, tt := range map[string]struct {
		host, token, path, body string
		status                  int
	}{
		"good":              {at.Address, "Bearer " + at.Token, "sum", "{}", 200},
		"no token":          {at.Address, "", "sum", "{}", 401},
		"another token":     {at.Address, "Bearer " + strings.Repeat("A", len(at.Token)), "sum", "{}", 401},
		"another host":      {"evil.example", "Bearer " + at.Token, "sum", "{}", 421},
		"a host's own port": {"localhost" + port, "Bearer " + at.Token, "sum", "{}", 421},
		"no such command":   {at.Address, "Bearer " + at.Token, "product", "{}", 404},
		"no JSON":           {at.Address, "Bearer " + at.Token, "sum", "x", 400},
		"two values":        {at.Address, "Bearer " + at.Token, "sum", "{}{}", 400},
		"a huge one":        {at.Address, "Bearer " + at.Token, "sum", `{"C":"` + strings.Repeat("x", 1<<20) + `"}`, 400},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := http.NewRequest(http.MethodPost, "http://"+at.Address+Prefix+tt.path, strings.NewReader(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			r.Host = tt.host
			r.Header.Set("Authorization", tt.token)
			web := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			answer, err := web.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			if body, _ := io.ReadAll(answer.Body); answer.StatusCode != tt.status {
				t.Errorf("%s: %s", answer.Status, body)
			}
		})
	}
}

// A process that is gone is told from one that says no.
func TestNobodyThere(t *testing.T) {
	s, err := Listen(http.NewServeMux(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Call[int](t.Context(), NewClient(s.At()), "sum", nil); err == nil || !strings.Contains(err.Error(), "which is running") {
		t.Errorf("%v", err)
	}
}

func TestRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), File)
	if _, err := Read(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("none: %v", err)
	}
	for text, good := range map[string]bool{
		`{"address":"127.0.0.1:80","token":"x","pid":5}`: true,
		`{"address":"[::1]:80","token":"x","pid":5}`:     true,
		`{"address":"192.0.2.1:80","token":"x","pid":5}`: false, // a token is not sent to others
		`{"address":"localhost:80","token":"x","pid":5}`: false,
		`{"address":"","pid":5}`:                         false,
		``:                                               false,
		`{"address":5}`:                                  false,
		strings.Repeat(" ", maxFile) + `{"address":"127.0.0.1:80"}`: false,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if at, err := Read(path); (err == nil) != good || good && at.PID != 5 {
			t.Errorf("%.60q: %+v, %v", text, at, err)
		}
	}
}
