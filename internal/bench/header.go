package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
)

// header prints where and with what the run is made.
func (r *runner) header(ctx context.Context) error {
	p := func(name, format string, args ...any) {
		_, _ = fmt.Fprintf(r.stdout, "%-12s %s\n", name, fmt.Sprintf(format, args...))
	}
	version, err := r.host.setting(ctx, "server_version")
	if err != nil {
		return err
	}
	p("machine", "%s, %d CPUs, %s", cpuModel(), runtime.NumCPU(), kernel())
	p("versions", "%s %s/%s, PostgreSQL %s", runtime.Version(), runtime.GOOS, runtime.GOARCH, version)
	server, err := r.serverSettings(ctx)
	if err != nil {
		return err
	}
	p("server", "%s", server)
	if r.processes == nil {
		p("", "its processes can't be seen from here: server CPU and memory are left out")
	}
	p("client", "%d connections for each pattern, %d databases, plugin: %s", r.conns, r.databases, r.tuning)
	p("tenants", "%d customers, %d products, %d invoices, %d items each; in the mix by Zipf's law with s=%g, v=%d, in all others one after the other", customers, products, invoices, items, zipfS, zipfV)
	if r.memory {
		return nil
	}
	p("rounds", "%d of %s for each pattern, after %s; [quartiles of the ratio over rounds]", r.rounds, r.slice, r.warmth())
	for _, k := range r.kinds {
		p("", "%-10s %s", k.name, k.title)
	}
	return nil
}

func (t tuning) String() string {
	text := func(n int) string {
		if n < 0 {
			return "default"
		}
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("hot statements %s, tenants per connection %s", text(t.hot), text(t.tenantsPerConn))
}

func (r *runner) serverSettings(ctx context.Context) (string, error) {
	names := []string{"fsync", "synchronous_commit", "full_page_writes"}
	for name := range settings(0) {
		names = append(names, name)
	}
	slices.Sort(names)
	for i, name := range names {
		value, err := r.host.setting(ctx, name)
		if err != nil {
			return "", err
		}
		names[i] = name + "=" + value
	}
	return strings.Join(names, " "), nil
}

// cpuModel is what Linux says of the first processor.
func cpuModel() string { return afterColon("/proc/cpuinfo", "model name") }

func kernel() string {
	text, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "unknown kernel"
	}
	return "Linux " + strings.TrimSpace(string(text))
}

func afterColon(path, name string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return "unknown CPU"
	}
	for line := range strings.Lines(string(text)) {
		if key, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "unknown CPU"
}
