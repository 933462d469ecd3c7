package main

import (
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"torrente/federation"
	"torrente/identity"
	"torrente/metainfo"
	"torrente/payment"
	"torrente/payment/ledger/remote"
)

// The files of an enrolment, in the order in which they are written. Until the
// last of them, federationFile, is there, the same command can be repeated.
const (
	enrolmentFile   = "enrolment.json" // where the key is being enrolled; removed at the end
	keyFile         = "key"            // sealed
	certificateFile = "certificate.pem"
)

// enrolFlags are the choices of `enroll`.
type enrolFlags struct {
	url, invite, name, cost string
	asJSON                  bool
}

// enrolFacts is what `enroll` tells.
type enrolFacts struct {
	Account    payment.Account  `json:"account"`
	Name       string           `json:"name"`
	Federation string           `json:"federation"`
	LedgerID   payment.LedgerID `json:"ledger_id"`
	Expires    time.Time        `json:"expires"`
}

func newEnroll(std stdio) *cobra.Command {
	var f enrolFlags
	c := &cobra.Command{
		Use:   "enroll --federation URL --invite CODE",
		Short: "become a member of a federation, to buy and sell data",
		Long: "Become a member of a federation: make a key here, seal it with a password, and have the federation certify it.\n" +
			"If it is interrupted, or the answer is lost, run the same command again.",
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			facts, err := enroll(c, std, &f)
			if err != nil {
				return interrupted(c.Context(), err)
			}
			if f.asJSON {
				return printJSON(std.out, facts)
			}
			_, err = fmt.Fprintf(std.out, "%s\n", facts.Account)
			return err
		},
	}
	passwordFlag(c)
	c.Flags().StringVar(&f.url, "federation", "", "the https URL of the federation's portal")
	c.Flags().StringVar(&f.invite, "invite", "", "the invite that the federation's operator gave you")
	c.Flags().StringVar(&f.name, "name", "", "the name by which the federation shall know you (default: the invite's)")
	c.Flags().BoolVar(&f.asJSON, "json", false, "print one JSON object")
	costFlag(c, &f.cost)
	return c
}

func enroll(c *cobra.Command, std stdio, f *enrolFlags) (*enrolFacts, error) {
	code, cost, err := f.check()
	if err != nil {
		return nil, err
	}
	now, err := clock()
	if err != nil {
		return nil, err
	}
	h, err := homeOf(c)
	if err != nil {
		return nil, err
	}
	release, err := h.take()
	if err != nil {
		return nil, err
	}
	defer release()
	key, err := h.enrolmentKey(c, std, f.url, cost)
	if err != nil {
		return nil, err
	}
	e, err := federation.Enrol(c.Context(), federation.EnrolRequest{URL: f.url, Code: code, Key: key, Name: f.name, Now: now})
	if err != nil {
		return nil, fmt.Errorf("enroll: %w", err)
	}
	if err := h.keepEnrolment(e); err != nil {
		return nil, err
	}
	return &enrolFacts{e.Account, e.Identity.Name(), f.url, e.Directory.LedgerID, e.Identity.NotAfter()}, nil
}

// check looks at the flags before anything is made.
func (f *enrolFlags) check() (code federation.Code, cost identity.Cost, err error) {
	if f.url == "" || f.invite == "" {
		return code, cost, usageError{errors.New("enroll: give --federation URL and --invite CODE, which the federation's operator tells you")}
	}
	if err := metainfo.CheckFederation(f.url); err != nil {
		return code, cost, usageError{fmt.Errorf("enroll --federation: %w", err)}
	}
	if code, err = federation.ParseCode(f.invite); err != nil {
		return code, cost, usageError{fmt.Errorf("enroll --invite: %w", err)}
	}
	cost, err = parseCost(f.cost)
	return code, cost, err
}

// enrolmentKey opens the key of this home, or makes it. A key that belongs to
// another federation, or to an unfinished enrolment in one, is left alone.
func (h home) enrolmentKey(c *cobra.Command, std stdio, url string, cost identity.Cost) (*ecdsa.PrivateKey, error) {
	of := "the key in " + string(h)
	switch _, err := os.Lstat(h.path(keyFile)); {
	case err == nil:
		if err := h.checkKeyIsFor(url); err != nil {
			return nil, err
		}
		password, err := passwordOf(c, std, of)
		if err != nil {
			return nil, err
		}
		defer clear(password)
		return identity.ReadKeyFile(h.path(keyFile), password)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	for _, name := range []string{federationFile, certificateFile} {
		if _, err := os.Lstat(h.path(name)); err == nil {
			return nil, fmt.Errorf("%s has %s but no key: restore the key from a copy, or give another folder with --home", h, name)
		}
	}
	password, err := newPasswordOf(c, std, of)
	if err != nil {
		return nil, err
	}
	defer clear(password)
	key, err := identity.NewKey()
	if err != nil {
		return nil, err
	}
	if err := h.writeJSON(enrolmentFile, unfinished{url}); err != nil {
		return nil, err
	}
	return key, identity.CreateKeyFile(h.path(keyFile), password, key, cost)
}

// unfinished says where the key is being enrolled.
type unfinished struct {
	Federation string `json:"federation"`
}

// checkKeyIsFor wants the key that is here to be this federation's. Enrolling
// it there again is how a member gets on after its certificate or root is over.
func (h home) checkKeyIsFor(url string) error {
	var in string
	d, err := readDirectory(string(h))
	switch {
	case err == nil:
		if url == d.URL || url == d.Address() {
			return nil
		}
		in = d.Address()
	case !errors.Is(err, errNotEnrolled):
		return err
	default:
		b, err := os.ReadFile(h.path(enrolmentFile))
		if err != nil {
			return fmt.Errorf("%s has a key of unknown origin: move it away, or give another folder with --home", h)
		}
		var u unfinished
		if err := json.Unmarshal(b, &u); err != nil {
			return fmt.Errorf("%s is damaged: %w", h.path(enrolmentFile), err)
		}
		if u.Federation == url {
			return nil
		}
		in = u.Federation
	}
	return fmt.Errorf("%s has the key of an account in the federation %s, which is kept: give another folder with --home", h, in)
}

// keepEnrolment writes the certificate, then the directory that says that the
// enrolment is done, each durably.
func (h home) keepEnrolment(e *federation.Enrolled) error {
	before, err := readDirectory(string(h))
	if err == nil && before.LedgerID != e.Directory.LedgerID {
		return fmt.Errorf("the federation at %s has another ledger than the one you are enrolled in: give another folder with --home", e.Directory.Address())
	}
	if err := identity.WriteCertificateFile(h.path(certificateFile), e.Chain); err != nil {
		return err
	}
	if err := h.writeJSON(federationFile, e.Directory); err != nil {
		return err
	}
	if err := os.Remove(h.path(enrolmentFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// writeJSON replaces a file of the home folder, and syncs file and folder.
func (h home) writeJSON(name string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	path := h.path(name)
	if err := renameio.WriteFile(path, append(b, '\n'), 0o600, renameio.WithStaticPermissions(0o600)); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// readDirectory reads the whole of federation.json. The error is errNotEnrolled
// if there is none.
func readDirectory(home string) (*remote.Directory, error) {
	d := new(remote.Directory)
	path, err := readFederationFile(home, d)
	if err != nil {
		return nil, err
	}
	if err := d.Check(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return d, nil
}
