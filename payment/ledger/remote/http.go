package remote

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// maxAnswer is the most bytes of any answer but a stream's.
const maxAnswer = maxDirectory

// Post sends a body to the portal and returns its answer. Errors are
// *Unreachable, *Stranger, *Refused and the context's.
func Post(ctx context.Context, web *http.Client, base, path, contentType string, body []byte) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, join(base, path), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", contentType)
	return read(web, base, r)
}

// get asks the portal for what it tells every member.
func get(ctx context.Context, web *http.Client, base, path string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, join(base, path), nil)
	if err != nil {
		return nil, err
	}
	return read(web, base, r)
}

func join(base, path string) string { return strings.TrimSuffix(base, "/") + path }

func read(web *http.Client, base string, r *http.Request) ([]byte, error) {
	answer, err := web.Do(r)
	if err != nil {
		return nil, explain(r.Context(), base, err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	if err != nil {
		return nil, explain(r.Context(), base, err)
	}
	if len(body) > maxAnswer {
		return nil, &Unreachable{base, fmt.Errorf("its answer is longer than %d bytes", maxAnswer)}
	}
	if answer.StatusCode != http.StatusOK {
		return nil, refusal(base, answer, body)
	}
	return body, nil
}

// refusal reads why the portal declines. What is no portal's answer, as of a
// proxy between, is as good as none.
func refusal(base string, answer *http.Response, body []byte) error {
	var f Failure
	if json.Unmarshal(body, &f) != nil || f.Error == "" {
		return &Unreachable{base, fmt.Errorf("it answered %q", answer.Status)}
	}
	return &Refused{base, answer.StatusCode, f}
}

// explain tells a stranger's certificate from a network that is down.
func explain(ctx context.Context, base string, err error) error {
	if ctx.Err() != nil && errors.Is(context.Cause(ctx), context.Canceled) {
		return ctx.Err()
	}
	bad, ok := errors.AsType[*tls.CertificateVerificationError](err)
	if !ok {
		return &Unreachable{base, err}
	}
	if late, ok := errors.AsType[x509.CertificateInvalidError](bad.Err); ok && late.Reason == x509.Expired {
		return &Stranger{base, errNotNow}
	}
	return &Stranger{base, bad.Err}
}

// transport is HTTP to one portal: TLS 1.3 to the roots, with our certificate.
func transport(config *tls.Config, idle time.Duration) *http.Transport {
	return &http.Transport{
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    10 * time.Second,
		ResponseHeaderTimeout:  answerTimeout,
		IdleConnTimeout:        idle,
		MaxIdleConnsPerHost:    4,
		MaxConnsPerHost:        32,
		MaxResponseHeaderBytes: 16 << 10,
	}
}
