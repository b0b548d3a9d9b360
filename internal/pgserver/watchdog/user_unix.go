//go:build unix

package watchdog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// Unprivileged makes cmd run as another user if we are root: PostgreSQL and
// PgBouncer refuse to run as root. The user is postgres or, where there is
// none, nobody.
func Unprivileged(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	if os.Geteuid() != 0 {
		return nil
	}
	credential, err := unprivilegedUser()
	cmd.SysProcAttr.Credential = credential
	return err
}

func unprivilegedUser() (*syscall.Credential, error) {
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, errors.Join(uidErr, gidErr)
	}
	return nil, fmt.Errorf("watchdog: the server does not run as root, and there is no user postgres or nobody to run it as: add one, or do not run as root")
}

// handOver gives dir and all in it to the user that c names; nil changes nothing.
func handOver(dir string, c *syscall.Credential) error {
	if c == nil {
		return nil
	}
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, int(c.Uid), int(c.Gid))
	})
}

// ignoreClosed returns f without the error that f's file is closed, which it
// is when the program has ended by itself.
func ignoreClosed(f func() error) func() error {
	return func() error {
		if err := f(); err != nil && !errors.Is(err, os.ErrClosed) {
			return err
		}
		return nil
	}
}
