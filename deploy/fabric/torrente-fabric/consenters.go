package main

import (
	"encoding/base64"
	"fmt"
	"slices"
)

// host is where all orderers are.
const host = "127.0.0.1"

// addConsenter puts an orderer into a configuration, unless it is there: among the
// consenters, and among the addresses that peers connect to.
func addConsenter(config map[string]any, port int, certificate []byte) (bool, error) {
	consenters, endpoints, err := orderersIn(config)
	if err != nil {
		return false, err
	}
	if slices.ContainsFunc(consenters.list(), at(port)) {
		return false, nil
	}
	text := base64.StdEncoding.EncodeToString(certificate)
	consenters.set(append(consenters.list(), map[string]any{"host": host, "port": port, "client_tls_cert": text, "server_tls_cert": text}))
	endpoints.set(append(endpoints.list(), endpoint(port)))
	return true, nil
}

// removeConsenter takes one out, if it is there.
func removeConsenter(config map[string]any, port int) (bool, error) {
	consenters, endpoints, err := orderersIn(config)
	if err != nil {
		return false, err
	}
	if !slices.ContainsFunc(consenters.list(), at(port)) {
		return false, nil
	}
	consenters.set(slices.DeleteFunc(consenters.list(), at(port)))
	endpoints.set(slices.DeleteFunc(endpoints.list(), func(one any) bool { return one == endpoint(port) }))
	return true, nil
}

func endpoint(port int) string { return fmt.Sprintf("%s:%d", host, port) }

// at tells the consenter at a port. Its certificate would not: it may have been renewed.
func at(port int) func(any) bool {
	return func(one any) bool {
		c, _ := one.(map[string]any)
		return c["host"] == host && fmt.Sprint(c["port"]) == fmt.Sprint(port)
	}
}

// listIn is a list within a configuration.
type listIn struct {
	of  map[string]any
	key string
}

func (l listIn) list() []any {
	all, _ := l.of[l.key].([]any)
	return all
}

func (l listIn) set(all []any) { l.of[l.key] = all }

// orderersIn finds the consenters, and the addresses of the orderers' organisation.
func orderersIn(config map[string]any) (consenters, endpoints listIn, err error) {
	metadata, err := within(config, "channel_group", "groups", "Orderer", "values", "ConsensusType", "value", "metadata")
	if err != nil {
		return listIn{}, listIn{}, err
	}
	addresses, err := within(config, "channel_group", "groups", "Orderer", "groups", ordererMSP, "values", "Endpoints", "value")
	return listIn{metadata, "consenters"}, listIn{addresses, "addresses"}, err
}
