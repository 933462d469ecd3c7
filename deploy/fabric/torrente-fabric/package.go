package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"time"
)

// pack makes a member's package: where its chaincode service is, and its peer's
// keys for it.
func (r *release) pack(p node) ([]byte, error) {
	text := map[string]string{}
	for key, file := range map[string]string{"root_cert": "ca.crt", "client_cert": "server.crt", "client_key": "server.key"} {
		b, err := os.ReadFile(filepath.Join(p.Dir, "tls", file))
		if err != nil {
			return nil, err
		}
		text[key] = string(b)
	}
	connection, err := json.Marshal(map[string]any{
		"address": r.address(p), "dial_timeout": "10s", "tls_required": true, "client_auth_required": true,
		"root_cert": text["root_cert"], "client_cert": text["client_cert"], "client_key": text["client_key"],
	})
	if err != nil {
		return nil, err
	}
	code, err := archive("connection.json", connection)
	if err != nil {
		return nil, err
	}
	return archive("metadata.json", []byte(`{"type":"ccaas","label":"`+r.label()+`"}`), "code.tar.gz", string(code))
}

// archive makes a compressed archive of files: names and contents.
func archive(name string, content []byte, more ...string) ([]byte, error) {
	var out bytes.Buffer
	packed := gzip.NewWriter(&out)
	files := tar.NewWriter(packed)
	add := func(name string, content []byte) error {
		err := files.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(content)), ModTime: time.Unix(0, 0)})
		if err != nil {
			return err
		}
		_, err = files.Write(content)
		return err
	}
	err := add(name, content)
	for i := 0; i+1 < len(more) && err == nil; i += 2 {
		err = add(more[i], []byte(more[i+1]))
	}
	err = errors.Join(err, files.Close(), packed.Close()) // which write the end
	return out.Bytes(), err
}
