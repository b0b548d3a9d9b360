//go:build unix

package watchdog

import (
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// script runs a program until it ends or until standard input does. Its three
// blanks are the directory, the command before and the command, all quoted.
//
// Standard input is kept as 3, because a shell gives background commands an
// empty one. TERM and QUIT go together: a background command starts
// with QUIT ignored, and until the program has installed its handlers
// only TERM ends it; later, QUIT is the immediate shutdown, of PostgreSQL and
// of PgBouncer since 1.23, and TERM that of older ones.
const script = `
dir=%s
exec 3<&0 </dev/null
trap '' PIPE
trap 'rm -rf "$dir"' EXIT
%s 3<&- || exit
%s 3<&- &
program=$!
{
	read -r line <&3
	while kill -TERM $program && kill -QUIT $program; do sleep 1; done
} >/dev/null 2>&1 &
reader=$!
exec 3<&-
wait $program
status=$?
kill $reader 2>/dev/null
exit $status
`

func (p *Process) start(c Command) error {
	cmd := exec.Command("/bin/sh", "-c", fmt.Sprintf(script, quote(c.Dir), before(c), quote(c.Run...)))
	cmd.Dir = "/" // ours may be closed to the other user
	cmd.Stdout, cmd.Stderr = c.Log, c.Log
	cmd.WaitDelay = time.Second
	cmd.Env = append(cmd.Environ(), "LC_ALL=C")
	if err := Unprivileged(cmd); err != nil {
		return err
	}
	cmd.SysProcAttr.Setsid = true
	if err := handOver(c.Dir, cmd.SysProcAttr.Credential); err != nil {
		return fmt.Errorf("watchdog: hand over directory: %w", err)
	}
	owner, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("watchdog: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("watchdog: %w", err)
	}
	p.end = ignoreClosed(owner.Close)
	go p.wait(cmd)
	return nil
}

func before(c Command) string {
	if len(c.Before) == 0 {
		return ":"
	}
	return quote(c.Before...)
}

// quote returns words as a shell reads them back.
func quote(words ...string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
	}
	return strings.Join(quoted, " ")
}
