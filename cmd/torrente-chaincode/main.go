package main

import (
	"fmt"
	"os"
)

func main() {
	if err := serve(os.Getenv); err != nil {
		fmt.Fprintln(os.Stderr, "torrente-chaincode:", err)
		os.Exit(1)
	}
}

// serve answers the peer until the process is ended. What is under way then is
// no loss: an endorsement that was not given is asked for again.
func serve(env func(string) string) error {
	s, err := readSettings(env)
	if err != nil {
		return err
	}
	return s.server(&chaincode{ledger: s.ledger, now: s.clock}).Start()
}
