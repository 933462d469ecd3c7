package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// stopPatience is how long a process may take to end by itself.
const stopPatience = 10 * time.Second

// quietly is the level of Fabric's logs: at WARN an orderer writes a line for
// every transaction, and a gateway long stack traces.
const quietly = "warn:grpc=fatal:gateway=fatal:orderer.common.broadcast=error:common.deliver=error:comm.tls=fatal"

func (n *network) pidFile(name string) string { return n.path("pids", name) }

// start starts a process that outlives this one. Its pid is kept in pids, what
// it writes in log.
func (n *network) start(name string, env []string, program string, args ...string) error {
	pid, err := n.running(name)
	if err != nil || pid != 0 {
		return err
	}
	for _, dir := range []string{"pids", "log"} {
		if err := os.MkdirAll(n.path(dir), 0o700); err != nil {
			return err
		}
	}
	out, err := os.OpenFile(n.path("log", name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = n.dir, append(os.Environ(), env...), out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	line := strconv.Itoa(cmd.Process.Pid) + " " + program
	return errors.Join(os.WriteFile(n.pidFile(name), []byte(line), 0o600), cmd.Process.Release())
}

// running returns the pid of a process, or 0 if it does not run. A pid that
// belongs to another program by now is not ours.
func (n *network) running(name string) (int, error) {
	text, err := os.ReadFile(n.pidFile(name))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	number, program, _ := strings.Cut(string(text), " ")
	pid, err := strconv.Atoi(number)
	if err != nil || pid <= 1 {
		return 0, fmt.Errorf("%s is damaged: remove it", n.pidFile(name))
	}
	exe, err := os.Readlink(filepath.Join("/proc", number, "exe"))
	if err != nil || strings.TrimSuffix(exe, " (deleted)") != program { // it may have been built anew since
		return 0, nil
	}
	return pid, nil
}

// processes lists all that were started, by name.
func (n *network) processes() ([]string, error) {
	all, err := os.ReadDir(n.path("pids"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, f := range all {
		names = append(names, f.Name())
	}
	return names, err
}

// stop ends a process, gently at first.
func (n *network) stop(name string) error {
	pid, err := n.running(name)
	if err != nil || pid == 0 {
		return err
	}
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		if err := syscall.Kill(pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("stop %s: %w", name, err)
		}
		gone := waitFor(context.Background(), stopPatience, func() error {
			if !ended(pid) {
				return fmt.Errorf("%s does not end", name)
			}
			return nil
		})
		if gone == nil {
			return os.Remove(n.pidFile(name))
		}
	}
	return fmt.Errorf("%s (process %d) does not end", name, pid)
}

// ended reports whether a process has given back its files and ports. Its
// program is gone before they are, and its first thread may be before others.
func ended(pid int) bool {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return true
	}
	threads, err := os.ReadDir(filepath.Join(dir, "task"))
	_, after, _ := bytes.Cut(stat, []byte(") ")) // the name may hold anything else
	return err != nil || len(threads) <= 1 && len(after) > 0 && (after[0] == 'Z' || after[0] == 'X')
}

// waitFor asks until there is no error.
func waitFor(ctx context.Context, patience time.Duration, ask func() error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := ask()
		if err == nil {
			return nil
		}
		timer := time.NewTimer(50 * time.Millisecond)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return errors.Join(err, ctx.Err())
		}
	}
}

// unless takes an error for success that says that an earlier run did the same.
func unless(err error, says string) error {
	if err != nil && strings.Contains(err.Error(), says) {
		return nil
	}
	return err
}

// run runs a program to its end and returns what it answers. What it complains
// of is in the error.
func run(ctx context.Context, dir string, env []string, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	var complaints bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stderr = dir, append(os.Environ(), env...), &complaints
	out, err := cmd.Output()
	if err != nil {
		const most = 2000
		text := complaints.Bytes()
		return "", fmt.Errorf("%s %s: %w\n%s", filepath.Base(program), strings.Join(args, " "), err, text[max(0, len(text)-most):])
	}
	return string(out), nil
}
