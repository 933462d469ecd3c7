package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/spf13/cobra"
)

// verdict is how bad a finding is.
type verdict string

const (
	fine    verdict = "ok"
	limited verdict = "limited" // it works, and not as well as it could
	broken  verdict = "broken"
)

// finding is what was found of one thing, with the remedy if it is not fine.
type finding struct {
	About   string  `json:"about"`
	Verdict verdict `json:"verdict"`
	Says    string  `json:"says"`
}

// doctor examines what a node needs of its surroundings.
type doctor struct {
	c    *cobra.Command
	std  stdio
	at   address
	dir  string
	home home
}

func newDoctor(std stdio) *cobra.Command {
	d := doctor{std: std}
	var asJSON bool
	c := &cobra.Command{
		Use:   "doctor",
		Short: "examine ports, router, clock, ledger, disks and limits: one line each",
		Args:  noArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			d.c = c
			if d.home, err = homeOf(c); err != nil {
				return err
			}
			return d.examine(asJSON)
		},
	}
	d.at.flags(c)
	c.Flags().StringVar(&d.dir, "dir", ".", "the folder of the data")
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON value")
	return c
}

// examine makes all examinations at once, but for the first, which would be in the way
// of others, and tells each finding when those before it are told.
func (d *doctor) examine(asJSON bool) error {
	if _, _, err := d.at.protocols(); err != nil {
		return err
	}
	examinations := []struct {
		about string
		make  func(context.Context) (verdict, string)
	}{
		{"port", d.port}, {"files", d.files}, {"state", d.state}, {"data", d.data}, {"ledger", d.ledger}, {"router", d.router},
	}
	found := make([]finding, len(examinations))
	var told sync.WaitGroup
	done := make([]chan struct{}, len(examinations))
	for i, e := range examinations {
		done[i] = make(chan struct{})
		told.Go(func() {
			defer close(done[i])
			v, says := e.make(d.c.Context())
			found[i] = finding{e.about, v, printable(says)}
		})
		if i == 0 {
			<-done[i]
		}
	}
	for i := range examinations {
		<-done[i]
		if !asJSON && d.c.Context().Err() == nil {
			found[i].print(d.std.out)
		}
	}
	told.Wait()
	if err := d.c.Context().Err(); err != nil {
		return err
	}
	if asJSON {
		if err := printJSON(d.std.out, found); err != nil {
			return err
		}
	}
	return diagnosis(found)
}

func (f *finding) print(out io.Writer) {
	fmt.Fprintf(out, "%-8s %-8s %s\n", f.Verdict, f.About, f.Says)
}

// diagnosis is an error if something is broken.
func diagnosis(found []finding) error {
	n := 0
	for _, f := range found {
		if f.Verdict == broken {
			n++
		}
	}
	switch n {
	case 0:
		return nil
	case 1:
		return errors.New("one thing is broken: its line says what to do")
	}
	return fmt.Errorf("%d things are broken: their lines say what to do", n)
}
