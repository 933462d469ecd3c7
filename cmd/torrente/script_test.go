package main

import (
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	os.Setenv("TORRENTE_PORTMAP", "off") // no test asks a real router
	testscript.Main(m, map[string]func(){
		"torrente": main,
	})
}

// TestScripts runs the command as a user types it: testdata/script/*.txt.
func TestScripts(t *testing.T) {
	p := scripts(beginEmbedded)
	p.Dir = "testdata/script"
	testscript.Run(t, p)
}

// scripts is how scripts are run. begin is `begin FLAGS`: it makes a federation
// in the folder fed, whose ledger can be used afterwards.
func scripts(begin func(*testscript.TestScript, bool, []string)) testscript.Params {
	return testscript.Params{
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"begin":   begin,
			"waitfor": waitForText,
			"readenv": readEnv,
			"exits":   exits,
		},
		Setup: func(e *testscript.Env) error {
			e.Setenv("TORRENTE_HOME", e.WorkDir+"/home")
			e.Setenv("TORRENTE_PORTMAP", "off")
			// With the race detector a process ends a second late, unless told.
			e.Setenv("GORACE", "atexit_sleep_ms=0")
			return os.Mkdir(e.WorkDir+"/home", 0o700)
		},
	}
}

// beginEmbedded begins a federation that keeps its ledger itself.
func beginEmbedded(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("usage: begin FLAGS")
	}
	ts.Check(ts.Exec("torrente", append([]string{"federation", "init", "--dir", "fed"}, args...)...))
}

// scriptPatience is how long a script waits for another process.
const scriptPatience = 30 * time.Second

// waitForText is `waitfor FILE REGEXP [VAR]`: it waits until a line of the file
// matches, and sets VAR to the first group.
func waitForText(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: waitfor FILE REGEXP [VAR]")
	}
	want := regexp.MustCompile("(?m)" + args[1])
	end := time.After(scriptPatience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		text, _ := os.ReadFile(ts.MkAbs(args[0])) // it may not be there yet
		if m := want.FindSubmatch(text); m != nil {
			if len(args) == 3 {
				ts.Setenv(args[2], string(m[1]))
			}
			return
		}
		select {
		case <-end:
			ts.Fatalf("no line of %s matches %s:\n%s", args[0], args[1], text)
		case <-tick.C:
		}
	}
}

// readEnv is `readenv VAR FILE`: it sets VAR to what the file, or stdout, holds.
func readEnv(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: readenv VAR FILE")
	}
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile(args[1])))
}

// exits is `exits N PROGRAM ARGS...`: it runs the program and wants this exit
// code. stdout and stderr are matched afterwards as after exec.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits N PROGRAM ARGS...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		got = failed.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, not %d", got, want)
	}
}
