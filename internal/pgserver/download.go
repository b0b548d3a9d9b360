package pgserver

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"

	"github.com/tenantry/tenantry/internal/pgserver/watchdog"
)

// downloaded is the version that is downloaded.
const downloaded = embeddedpostgres.V18

// download returns the programs that an earlier call downloaded, or downloads
// them. The library cannot be interrupted: when ctx ends first, the download
// goes on in the background, for the next call.
func (c *config) download(ctx context.Context) (programs, error) {
	cache, err := cacheDir()
	if err != nil {
		return programs{}, err
	}
	dir := filepath.Join(cache, "postgresql-"+string(downloaded))
	if p, err := check(ctx, filepath.Join(dir, "bin")); err == nil {
		return p, nil
	}
	c.logf("downloading PostgreSQL %s to %s", downloaded, dir)
	done := make(chan error, 1)
	go func() { done <- fetch(cache, dir) }()
	select {
	case err = <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		return programs{}, err
	}
	return check(ctx, filepath.Join(dir, "bin"))
}

// cacheDir returns the directory that keeps downloads. Root's own is closed to
// the user that root runs the server as.
func cacheDir() (string, error) {
	if os.Geteuid() == 0 {
		return "/var/cache/tenantry", nil
	}
	dir, err := os.UserCacheDir()
	return filepath.Join(dir, "tenantry"), err
}

// fetch downloads to a directory of its own and renames it to dir, so that other
// processes see all of the programs or none.
func fetch(cache, dir string) error {
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return err
	}
	own, err := os.MkdirTemp(cache, "download-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(own)
	programs := filepath.Join(own, "programs")
	if err := extract(own, programs); err != nil {
		return err
	}
	err = os.Rename(programs, dir)
	if _, statErr := os.Stat(filepath.Join(dir, "bin")); statErr == nil {
		return nil // ours, or another process was faster
	}
	return err
}

// extract downloads PostgreSQL into dir. The library does that only as the first step of a
// start. Its server would not end with this process, and root cannot start it
// at all. So the start is made to end at its second step: initdb refuses the encoding.
func extract(own, dir string) error {
	addr, err := watchdog.FreeAddress()
	if err != nil {
		return err
	}
	_, port, _ := net.SplitHostPort(addr) // it is ours
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return err
	}
	library := embeddedpostgres.NewDatabase(embeddedpostgres.DefaultConfig().
		Version(downloaded).
		Port(uint32(number)).
		Password(rand.Text()).
		CachePath(own).
		BinariesPath(dir).
		RuntimePath(filepath.Join(own, "run")).
		Encoding("none: only the download is wanted").
		Logger(io.Discard))
	err = library.Start()
	if err == nil {
		return errors.Join(errors.New("initdb took an encoding that does not exist"), library.Stop())
	}
	if strings.HasPrefix(err.Error(), "unable to init database") {
		return nil // as meant; all is extracted by then
	}
	return fmt.Errorf("PostgreSQL %s: %w", downloaded, err)
}
