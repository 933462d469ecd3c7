package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is the release; the build's revision is read from the executable.
const version = "0.1.0"

type versionFacts struct {
	Version  string `json:"version"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
	Revision string `json:"revision,omitempty"`
}

func newVersion(std stdio) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "version",
		Short: "print the version of this program",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			f := readVersion()
			if asJSON {
				return json.NewEncoder(std.out).Encode(f)
			}
			_, err := fmt.Fprintf(std.out, "torrente %s (%s, %s)\n", f.Version, f.Go, f.Platform)
			return err
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return c
}

func readVersion() versionFacts {
	f := versionFacts{Version: version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if b, ok := debug.ReadBuildInfo(); ok {
		for _, s := range b.Settings {
			if s.Key == "vcs.revision" {
				f.Revision = s.Value
			}
		}
	}
	return f
}
