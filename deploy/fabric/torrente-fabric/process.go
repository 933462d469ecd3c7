package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
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

// start starts a process that outlives this one, and is to listen at some ports
// of its own. Its pid is kept in pids, what it writes in log.
func (n *network) start(name string, ports []int, env []string, program string, args ...string) error {
	pid, err := n.running(name)
	if err != nil || pid != 0 {
		return err
	}
	for _, port := range ports {
		if err := free(port); err != nil {
			return fmt.Errorf("%s cannot start: port %d is taken (%w): end what listens there, or make a network elsewhere with another --port", name, port, err)
		}
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
	if program, err = filepath.EvalSymlinks(program); err != nil { // as the kernel names it
		return err
	}
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = n.dir, append(os.Environ(), env...), out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	began, err := beganAt(cmd.Process.Pid)
	if err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	line := strconv.Itoa(cmd.Process.Pid) + " " + began + " " + program
	return errors.Join(os.WriteFile(n.pidFile(name), []byte(line), 0o600), cmd.Process.Release())
}

// programOf is the path of a process's program, without links.
func programOf(pid int) (string, error) {
	exe, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "exe"))
	return strings.TrimSuffix(exe, " (deleted)"), err // it may have been built anew since
}

// free says whether nobody listens at a port.
func free(port int) error {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return err
	}
	return l.Close()
}

// beganAt is when a process began, in the kernel's ticks: with it a pid is of no
// other process.
func beganAt(pid int) (string, error) {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return "", err
	}
	const began = 22 - 3 // proc(5) counts from 1, and the third follows the name
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) <= began {
		return "", fmt.Errorf("/proc/%d/stat cannot be read", pid)
	}
	return fields[began], nil
}

// listens says whether a process, and no other, listens at a port: one of its
// files is the socket that the kernel's table (proc(5), /proc/net/tcp) has there.
func listens(pid, port int) error {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	table, err := os.ReadFile(filepath.Join(dir, "net", "tcp"))
	if err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(dir, "fd", "*"))
	if err != nil {
		return err
	}
	at := fmt.Sprintf("0100007F:%04X", port) // 127.0.0.1
	for line := range strings.Lines(string(table)) {
		fields := strings.Fields(line)
		if len(fields) < 10 || fields[1] != at || fields[3] != "0A" { // which is LISTEN
			continue
		}
		for _, file := range files {
			if to, err := os.Readlink(file); err == nil && to == "socket:["+fields[9]+"]" {
				return nil
			}
		}
	}
	return fmt.Errorf("process %d does not listen at port %d", pid, port)
}

// waitUntilUp waits until a process listens at a port, and is the one that was
// started.
func (n *network) waitUntilUp(ctx context.Context, name string, port int) error {
	died := false
	err := waitFor(ctx, patience, func() error {
		pid, err := n.running(name)
		if died = err == nil && pid == 0; died || err != nil {
			return err
		}
		return listens(pid, port)
	})
	if died {
		err = errors.New("it has ended")
	}
	if err != nil {
		return fmt.Errorf("%s does not start, see %s: %w", name, n.path("log", name), err)
	}
	return nil
}

// running returns the pid of a process, or 0 if it does not run. A pid that
// belongs to another process by now is not ours.
func (n *network) running(name string) (int, error) {
	text, err := os.ReadFile(n.pidFile(name))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	number, rest, _ := strings.Cut(string(text), " ")
	began, program, _ := strings.Cut(rest, " ")
	pid, err := strconv.Atoi(number)
	if err != nil || pid <= 1 {
		return 0, fmt.Errorf("%s is damaged: remove it", n.pidFile(name))
	}
	if exe, err := programOf(pid); err != nil || exe != program {
		return 0, nil
	}
	if now, err := beganAt(pid); err != nil || now != began {
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
	if err != nil {
		return err
	}
	if pid == 0 { // it may have ended by itself
		return os.RemoveAll(n.pidFile(name))
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
