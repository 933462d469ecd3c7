package identity

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
)

// Bounds of a chain, wherever it comes from.
const (
	maxChain      = 4         // certificates, leaf first
	maxChainBytes = 16 * 1024 // of their DER in sum
	maxPEMBytes   = 2 * maxChainBytes
)

const pemCertificate = "CERTIFICATE"

// EncodeCertificates returns the certificates as PEM, one block after another.
func EncodeCertificates(chain []*x509.Certificate) []byte {
	var text []byte
	for _, c := range chain {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: c.Raw})...)
	}
	return text
}

// DecodeCertificates reads 1 to 4 PEM certificates of at most 16 KiB in sum.
// Anything else in text is refused, so that a private key pasted into the
// certificate's file is noticed. The error is ErrMalformed.
func DecodeCertificates(text []byte) ([]*x509.Certificate, error) {
	if len(text) > maxPEMBytes {
		return nil, fmt.Errorf("%w (more than %d bytes of PEM)", ErrMalformed, maxPEMBytes)
	}
	var raw [][]byte
	for text = bytes.TrimSpace(text); len(text) > 0; text = bytes.TrimSpace(text) {
		if !bytes.HasPrefix(text, []byte("-----BEGIN ")) {
			return nil, fmt.Errorf("%w (text outside the PEM blocks)", ErrMalformed)
		}
		block, rest := pem.Decode(text)
		if block == nil {
			return nil, fmt.Errorf("%w (a PEM block has no end or is not base64)", ErrMalformed)
		}
		// A broken block makes Decode go on to the next one: count what it read.
		if bytes.Count(text[:len(text)-len(rest)], []byte("-----BEGIN ")) != 1 {
			return nil, fmt.Errorf("%w (a PEM block is broken)", ErrMalformed)
		}
		if block.Type != pemCertificate || len(block.Headers) > 0 {
			return nil, fmt.Errorf("%w (a PEM block that is no plain certificate)", ErrMalformed)
		}
		if raw = append(raw, block.Bytes); len(raw) > maxChain {
			break
		}
		text = rest
	}
	return parseChain(raw)
}

// parseChain parses DER certificates within the bounds of a chain.
func parseChain(raw [][]byte) ([]*x509.Certificate, error) {
	if len(raw) < 1 || len(raw) > maxChain {
		return nil, fmt.Errorf("%w (%d certificates, not 1 to %d)", ErrMalformed, len(raw), maxChain)
	}
	sum := 0
	for _, der := range raw {
		if sum += len(der); sum > maxChainBytes {
			return nil, fmt.Errorf("%w (more than %d bytes)", ErrMalformed, maxChainBytes)
		}
	}
	chain := make([]*x509.Certificate, len(raw))
	for i, der := range raw {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("%w (%w)", ErrMalformed, err)
		}
		chain[i] = c
	}
	return chain, nil
}
