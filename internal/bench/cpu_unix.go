//go:build unix

package main

import (
	"syscall"
	"time"
)

// clientCPU returns what this process has used, in user mode and in the kernel.
func clientCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
