package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestMain is the programs of Fabric, too: a test calls them by a link to its own
// program. They do as much as rotate needs, and keep the channel's configuration as
// JSON in their folder.
func TestMain(m *testing.M) {
	dir, name := filepath.Split(os.Args[0])
	if !slices.Contains(fabricTools, name) {
		_ = os.Setenv("GORACE", "atexit_sleep_ms=0") // with -race each of them would end a second late
		os.Exit(m.Run())
	}
	if err := pretend(dir, name, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func pretend(dir, name string, args []string) error {
	switch {
	case name == "orderer", name == "peer" && args[0] == "node":
		return serveAll(filepath.Join(os.Getenv("FABRIC_CFG_PATH"), map[string]string{"orderer": "orderer.yaml", "peer": "core.yaml"}[name]))
	case name == "osnadmin":
		fmt.Println("Status: 201", `"status": "active"`)
	case name == "configtxlator":
		return translate(args[0], flagOf(args, "--input"), flagOf(args, "--updated"), flagOf(args, "--output"))
	case name == "peer" && args[1] == "fetch":
		return os.WriteFile(args[3], []byte(`{"data":{"data":[{"payload":{"data":{"config":`+read(dir+"config.json")+`}}}]}}`), 0o600)
	case name == "peer" && args[1] == "signconfigtx":
		return os.WriteFile(flagOf(args, "-f")+".signed", []byte(os.Getenv("CORE_PEER_LOCALMSPID")), 0o600)
	case name == "peer" && args[1] == "update":
		return updateChannel(dir+"config.json", flagOf(args, "-f"))
	}
	return nil
}

func flagOf(args []string, name string) string { return append(args, "")[slices.Index(args, name)+1] }

func read(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// translate takes JSON for the form on the wire, and a change for all that is new.
func translate(command, in, updated, out string) error {
	switch command {
	case "proto_decode":
		fmt.Print(read(in))
		return nil
	case "compute_update":
		in = updated
	}
	return os.WriteFile(out, []byte(read(in)), 0o600)
}

// updateChannel takes a change that the orderers' administrator has signed, of one
// consenter.
func updateChannel(path, update string) error {
	var envelope struct {
		Payload struct {
			Data struct {
				ConfigUpdate json.RawMessage `json:"config_update"`
			} `json:"data"`
		} `json:"payload"`
	}
	if err := json.Unmarshal([]byte(read(update)), &envelope); err != nil {
		return err
	}
	next := string(envelope.Payload.Data.ConfigUpdate)
	changed := strings.Count(next, "client_tls_cert") - strings.Count(read(path), "client_tls_cert")
	if who := read(update + ".signed"); who != ordererMSP || changed*changed != 1 {
		return fmt.Errorf("%s may not change %d consenters", who, changed)
	}
	return os.WriteFile(path, []byte(next), 0o600)
}

// serveAll listens where a configuration says, and tells the figures of a leader.
func serveAll(config string) error {
	http.HandleFunc("/metrics", func(w http.ResponseWriter, _ *http.Request) {
		for _, figure := range []string{"is_leader", "leader_changes"} {
			fmt.Fprintf(w, "\nconsensus_etcdraft_%s{channel=%q} 1\n", figure, channel)
		}
	})
	for _, found := range regexp.MustCompile(`isten(?:Port: |Address: "?127.0.0.1:)([0-9]+)`).FindAllStringSubmatch(read(config), -1) {
		l, err := net.Listen("tcp", "127.0.0.1:"+found[1])
		if err != nil {
			return err
		}
		go http.Serve(l, nil) //nolint:errcheck // until it is killed
	}
	select {}
}
