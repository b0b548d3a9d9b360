package pgserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tenantry/tenantry/internal/pgserver/watchdog"
)

// programs are PostgreSQL's server programs.
type programs struct {
	dir     string // where initdb and postgres are
	version string // of postgres, such as "15.14"
}

// source is one way to the programs.
type source struct {
	name string
	find func(context.Context) (programs, error)
}

// find returns the programs in the directory that the environment names or, if
// it names none, the first that work.
func (c *config) find(ctx context.Context) (programs, error) {
	if dir := os.Getenv(EnvBin); dir != "" {
		p, err := check(ctx, dir)
		if err != nil {
			return programs{}, fmt.Errorf("pgserver: %s: %w", EnvBin, err)
		}
		return p, nil
	}
	return first(ctx, []source{
		{"on PATH", onPath},
		{"where systems install it", installed},
		{"download", c.download},
	})
}

// first returns what the first source finds, or one error with all reasons.
func first(ctx context.Context, sources []source) (programs, error) {
	var reasons []error
	for _, s := range sources {
		p, err := s.find(ctx)
		if err == nil {
			return p, nil
		}
		if ctx.Err() != nil { // do not go on to a download that nobody waits for
			return programs{}, fmt.Errorf("pgserver: look for PostgreSQL: %w", context.Cause(ctx))
		}
		reasons = append(reasons, fmt.Errorf("%s: %w", s.name, err))
	}
	return programs{}, fmt.Errorf(`pgserver: there is no PostgreSQL server to use. Do one of these:
  - install it: "apt-get install postgresql", "dnf install postgresql-server", "brew install postgresql"
  - set %s to the directory of its programs initdb and postgres
  - set %s to the connection string of a running server (a superuser's)
This was tried:
%w`, EnvBin, EnvDSN, errors.Join(reasons...))
}

func onPath(ctx context.Context) (programs, error) {
	initdb, err := exec.LookPath("initdb")
	if err != nil {
		return programs{}, err
	}
	// Of a link, the other programs are where it leads.
	initdb, err = filepath.EvalSymlinks(initdb)
	if err != nil {
		return programs{}, err
	}
	return check(ctx, filepath.Dir(initdb))
}

// places are patterns of the directories where Debian, Red Hat, Homebrew and
// the Windows installer put the programs: none of them is on PATH.
func places() []string {
	return []string{
		"/usr/lib/postgresql/*/bin",
		"/usr/pgsql-*/bin",
		"/opt/homebrew/opt/postgresql*/bin",
		"/usr/local/opt/postgresql*/bin",
		`C:\Program Files\PostgreSQL\*\bin`,
	}
}

func installed(ctx context.Context) (programs, error) {
	reasons := []error{fmt.Errorf("looked into %s", strings.Join(places(), ", "))}
	for _, pattern := range places() {
		dirs, _ := filepath.Glob(pattern) // it fails for bad patterns only
		for _, dir := range newestFirst(dirs) {
			p, err := check(ctx, dir)
			if err == nil {
				return p, nil
			}
			reasons = append(reasons, err)
		}
	}
	return programs{}, errors.Join(reasons...)
}

// newestFirst returns dirs in the order of the last number in each.
func newestFirst(dirs []string) []string {
	number := regexp.MustCompile(`[0-9]+`)
	major := func(dir string) int {
		all := number.FindAllString(dir, -1)
		if len(all) == 0 {
			return 0
		}
		n, _ := strconv.Atoi(all[len(all)-1])
		return n
	}
	return slices.SortedStableFunc(slices.Values(dirs), func(a, b string) int { return major(b) - major(a) })
}

// check returns the programs in dir if they run, as the user that will run them.
func check(ctx context.Context, dir string) (programs, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return programs{}, err
	}
	if _, err := version(ctx, filepath.Join(dir, "initdb")); err != nil {
		return programs{}, err
	}
	v, err := version(ctx, filepath.Join(dir, "postgres"))
	return programs{dir: dir, version: v}, err
}

// version returns the version number that a program reports.
func version(ctx context.Context, program string) (string, error) {
	cmd := exec.CommandContext(ctx, program, "--version")
	cmd.Dir = filepath.VolumeName(program) + string(filepath.Separator) // ours may be closed to the other user
	if err := watchdog.Unprivileged(cmd); err != nil {
		return "", err
	}
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s does not run: %w", program, err)
	}
	for _, word := range strings.Fields(string(out)) {
		if word[0] >= '0' && word[0] <= '9' {
			return word, nil
		}
	}
	return "", fmt.Errorf("%s does not tell its version", program)
}
