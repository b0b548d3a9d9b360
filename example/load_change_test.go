//go:build integration

package main_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tenantry/tenantry/catalog"
)

// operate has the operator do something, and returns the status.
func (l *load) operate(path string) (int, error) {
	r, err := l.send("POST", "localhost", "/operator"+path, "application/x-www-form-urlencoded", "", "")
	if err != nil {
		return 0, err
	}
	return int(r.Code), nil
}

func (l *load) mustOperate(path string) error {
	status, err := l.operate(path)
	if err == nil && status != http.StatusSeeOther {
		err = fmt.Errorf("/operator%s: status %d", path, status)
	}
	return err
}

// signIn signs the operator in.
func (l *load) signIn() {
	l.t.Helper()
	_, token, _ := strings.Cut(l.program.output, "/operator/login?token=")
	token, _, _ = strings.Cut(token, "\n")
	r, err := l.send("POST", "localhost", "/operator/login", "application/x-www-form-urlencoded", "", url.Values{"key": {token}}.Encode())
	if err != nil || r.Code != http.StatusSeeOther {
		l.t.Fatalf("the operator can't sign in: %+v, %v", r, err)
	}
}

// suspend suspends one customer after another, each until that is seen.
func (l *load) suspend(ctx context.Context) error {
	for ; ctx.Err() == nil; l.suspends++ {
		s := l.sites[l.suspends%len(l.sites)]
		s.leave()
		if err := l.mustOperate("/tenants/" + s.name + "/suspend"); err != nil {
			return err
		}
		s.change(func(a *absence) { a.suspended = time.Now() })
		before := s.refused.Load()
		waitFor(ctx, func() bool { return s.refused.Load() > before })
		s.change(func(a *absence) { a.recalled = time.Now() })
		if err := l.mustOperate("/tenants/" + s.name + "/resume"); err != nil {
			return err
		}
		s.change(func(a *absence) { a.resumed = time.Now() })
	}
	return nil
}

// waitFor waits for a condition, or the end of the load.
func waitFor(ctx context.Context, ok func() bool) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// migrate takes the last migration of all customers back and applies it again.
func (l *load) migrate(ctx context.Context) error {
	for ; ctx.Err() == nil; l.rollouts++ {
		for _, path := range []string{"/rollback", "/migrate"} {
			if err := l.mustOperate(path); err != nil {
				return err
			}
			if err := l.rolledOut(); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
		}
	}
	return nil
}

// rolledOut follows a rollout to its end.
func (l *load) rolledOut() error {
	stream, err := l.client.Get(l.url("localhost", "/operator/events"))
	if err != nil {
		return err
	}
	defer stream.Body.Close()
	lines := bufio.NewReader(stream.Body)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return err
		}
		data, ok := bytes.CutPrefix(line, []byte("data:"))
		var state struct {
			Running bool
			Error   string // not of who was dropped meanwhile
		}
		if !ok {
			continue
		}
		if err := json.Unmarshal(data, &state); err != nil {
			return err
		}
		if state.Running {
			continue
		}
		if state.Error != "" {
			return errors.New(state.Error)
		}
		return nil
	}
}

// come lets customers come, who write an invoice, read it, and go again: the operator
// drops them in another process.
func (l *load) come(ctx context.Context, tenants *catalog.Catalog) error {
	for ; ctx.Err() == nil; l.comers++ {
		s, err := l.signUp(fmt.Sprintf("new-%d", l.comers), []string{"shared", "own"}[l.comers%2])
		if err != nil {
			return err
		}
		if err := l.visit(s, "GET", ""); err != nil {
			return err
		}
		if err := tenants.Drop(context.Background(), parse(l.t, s.name), s.name); err != nil {
			return err
		}
	}
	return nil
}
