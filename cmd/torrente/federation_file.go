package main

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"torrente/metainfo"
	"torrente/payment/ledger/remote"
)

// federationFile, in the home folder, says in which federation the user is
// enrolled. It may hold more than is read here.
const federationFile = "federation.json"

// errNotEnrolled means there is no federation file.
var errNotEnrolled = errors.New("you are not enrolled in a federation (no " + federationFile + " in HOME): run torrente enroll first")

// readFederationFile reads what v holds of the file. The error is errNotEnrolled
// if there is none.
func readFederationFile(home string, v any) (path string, err error) {
	path = filepath.Join(home, federationFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return path, errNotEnrolled
	}
	if err != nil {
		return path, err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return path, fmt.Errorf("%s is damaged, enroll again: %w", path, err)
	}
	return path, nil
}

// readFederation reads how torrents are sold in the user's federation, and where
// they are announced; empty: nowhere.
func readFederation(home string) (*metainfo.Pay, string, error) {
	var f struct {
		Ledger string `json:"ledger"` // hexadecimal
		URL    string `json:"url"`
		// MemberTracker is the announce URL of the portal.
		MemberTracker string `json:"member_tracker"`
	}
	path, err := readFederationFile(home, &f)
	if err != nil {
		return nil, "", err
	}
	pay := &metainfo.Pay{Federation: f.URL}
	ledger, err := hex.DecodeString(f.Ledger)
	if err != nil || len(ledger) != len(pay.Ledger) {
		return nil, "", fmt.Errorf("%s is damaged, enroll again: ledger %q is not %d hexadecimal digits", path, f.Ledger, 2*len(pay.Ledger))
	}
	copy(pay.Ledger[:], ledger)
	if err := metainfo.CheckFederation(f.URL); err != nil {
		return nil, "", fmt.Errorf("%s is damaged, enroll again: %w", path, err)
	}
	tracker, _ := memberTracker(&remote.Directory{URL: f.URL, MemberTracker: f.MemberTracker})
	return pay, tracker, nil
}
