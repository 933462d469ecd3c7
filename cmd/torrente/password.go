package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// maxPasswordFile is the most bytes that a password file may have.
const maxPasswordFile = 4096

// errNoPassword means that there is nobody to ask.
var errNoPassword = errors.New("a password is needed: give --password-file FILE, set TORRENTE_PASSWORD, or run it on a terminal")

// passwordFlag adds --password-file to a command that opens or makes a key.
func passwordFlag(c *cobra.Command) {
	c.Flags().String("password-file", "", "a file whose first line is the password (default: TORRENTE_PASSWORD, else a prompt)")
}

// passwordOf is the password that opens a key: from --password-file, else
// TORRENTE_PASSWORD, else a prompt on a terminal.
func passwordOf(c *cobra.Command, std stdio, of string) ([]byte, error) {
	return readPassword(c, std, "password of "+of+": ", "")
}

// newPasswordOf is the password of a key that is made; a prompt asks twice.
func newPasswordOf(c *cobra.Command, std stdio, of string) ([]byte, error) {
	return readPassword(c, std, "new password of "+of+": ", "the same again: ")
}

func readPassword(c *cobra.Command, std stdio, prompt, again string) ([]byte, error) {
	if path, err := c.Flags().GetString("password-file"); err == nil && path != "" {
		return readPasswordFile(path)
	}
	// Set but empty is a choice: a key that whoever has the file may open.
	if s, set := os.LookupEnv("TORRENTE_PASSWORD"); set {
		return []byte(s), nil
	}
	in, ok := std.in.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return nil, errNoPassword
	}
	first, err := ask(c.Context(), std.err, in, prompt)
	if err != nil || again == "" {
		return first, err
	}
	if len(first) == 0 {
		return nil, errors.New("the password is empty: choose one")
	}
	second, err := ask(c.Context(), std.err, in, again)
	if err != nil {
		return nil, err
	}
	defer clear(second)
	if !bytes.Equal(first, second) {
		return nil, errors.New("the two passwords differ: try again")
	}
	return first, nil
}

// ask reads one line from the terminal, which does not show it. An interrupt
// only cancels the context, so the read is left behind, with the terminal as it
// was: the process ends next.
func ask(ctx context.Context, w io.Writer, in *os.File, prompt string) ([]byte, error) {
	before, err := term.GetState(int(in.Fd()))
	if err != nil {
		return nil, fmt.Errorf("read the password: %w", err)
	}
	type answer struct {
		line []byte
		err  error
	}
	answers := make(chan answer, 1)
	fmt.Fprint(w, prompt)
	go func() {
		line, err := term.ReadPassword(int(in.Fd()))
		answers <- answer{line, err}
	}()
	defer fmt.Fprintln(w)
	select {
	case <-ctx.Done():
		return nil, errors.Join(context.Canceled, term.Restore(int(in.Fd()), before))
	case a := <-answers:
		if a.err != nil {
			return nil, fmt.Errorf("read the password: %w", a.err)
		}
		return a.line, nil
	}
}

// readPasswordFile returns the first line of a file, which may be a pipe of the
// shell.
func readPasswordFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("--password-file: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxPasswordFile+1))
	if err != nil && !errors.Is(err, syscall.EISDIR) {
		return nil, fmt.Errorf("--password-file: %w", err)
	}
	if err != nil || len(b) > maxPasswordFile {
		return nil, fmt.Errorf("--password-file: %s is no file of at most %d bytes", path, maxPasswordFile)
	}
	line, _, _ := bytes.Cut(b, []byte{'\n'})
	if line = bytes.TrimSuffix(line, []byte{'\r'}); len(line) == 0 {
		return nil, fmt.Errorf("--password-file: the first line of %s is empty", path)
	}
	return line, nil
}
