package main

import (
	"os/exec"
	"syscall"
)

// maxRSS is the most memory that a finished process has had, in KiB.
func maxRSS(c *exec.Cmd) float64 {
	return float64(c.ProcessState.SysUsage().(*syscall.Rusage).Maxrss)
}
