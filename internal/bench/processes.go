package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of times in /proc/<pid>/stat on Linux (USER_HZ).
const tick = 10 * time.Millisecond

// processes reads what the kernel says of a server's backends. A nil one sees nothing:
// there is no /proc, or the server is not on this machine.
type processes struct{ host *host }

func newProcesses(h *host) *processes {
	if runtime.GOOS != "linux" || !h.own {
		return nil
	}
	return &processes{host: h}
}

// reading is a pattern's backends at one moment.
type reading struct {
	cpu    map[int]time.Duration // of each
	ended  time.Duration         // of all backends of the server that have ended
	memory int64                 // bytes
}

func (p *processes) read(ctx context.Context, app string) (reading, error) {
	r := reading{cpu: map[int]time.Duration{}}
	if p == nil {
		return r, nil
	}
	pids, err := p.host.backends(ctx, app)
	if err != nil {
		return r, err
	}
	for _, pid := range pids {
		cpu, err := cpuOf(pid)
		if err != nil {
			continue // it has ended meanwhile
		}
		r.cpu[pid] = cpu
		r.memory += memoryOf(pid)
	}
	r.ended, err = p.endedCPU(ctx)
	return r, err
}

// since returns what the backends have used since before. Those that have ended meanwhile
// count with what the server's main process has of them, in ticks; nobody else
// ends while a pattern is measured.
func (r reading) since(before reading) time.Duration {
	var used time.Duration
	for pid, cpu := range r.cpu {
		used += cpu - before.cpu[pid]
	}
	ended := r.ended - before.ended
	for pid, cpu := range before.cpu {
		if _, alive := r.cpu[pid]; !alive {
			ended -= cpu
		}
	}
	return used + max(0, ended)
}

// cpuOf is exact where the kernel counts so (/proc/<pid>/schedstat), else in ticks.
func cpuOf(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", pid))
	if err == nil {
		first, _, _ := strings.Cut(string(text), " ")
		n, err := strconv.ParseInt(first, 10, 64)
		if err == nil && n > 0 {
			return time.Duration(n), nil
		}
	}
	fields, err := stat(pid)
	if err != nil {
		return 0, err
	}
	return ticks(fields, utime) + ticks(fields, stime), nil
}

// Fields of /proc/<pid>/stat behind the name of the program, which may hold spaces (proc(5)).
const (
	ppid   = 4 - 3
	utime  = 14 - 3
	stime  = 15 - 3
	cutime = 16 - 3
	cstime = 17 - 3
)

func stat(pid int) ([]string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) <= cstime {
		return nil, fmt.Errorf("bench: /proc/%d/stat has %d fields", pid, len(fields))
	}
	return fields, nil
}

func ticks(fields []string, field int) time.Duration {
	n, err := strconv.ParseInt(fields[field], 10, 64)
	if err != nil {
		return 0
	}
	return time.Duration(n) * tick
}

// endedCPU is what the server's main process has waited for.
func (p *processes) endedCPU(ctx context.Context) (time.Duration, error) {
	var pid int
	if err := p.host.admin.QueryRow(ctx, "select pg_backend_pid()").Scan(&pid); err != nil {
		return 0, err
	}
	backend, err := stat(pid)
	if err != nil {
		return 0, err
	}
	parent, err := strconv.Atoi(backend[ppid])
	if err != nil {
		return 0, err
	}
	fields, err := stat(parent)
	if err != nil {
		return 0, err
	}
	return ticks(fields, cutime) + ticks(fields, cstime), nil
}

// memoryOf returns RssAnon, in bytes: what is the process's alone, without shared buffers.
func memoryOf(pid int) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), "RssAnon:")
	words := strings.Fields(rest)
	if len(words) == 0 {
		return 0
	}
	kilobytes, err := strconv.ParseInt(words[0], 10, 64)
	if err != nil {
		return 0
	}
	return kilobytes << 10
}
