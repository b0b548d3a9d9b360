package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/internal/pgproxy"
	"github.com/tenantry/tenantry/internal/pgserver/dsn"
)

// lineArgument makes the program the line to the server instead. That is a process of its own
// so that its work does not count as the client's.
const lineArgument = "line"

// line is the network between client and server, as long as the round trip says.
type line struct {
	server  string // connection string by way of the line
	command *exec.Cmd
	hold    io.Closer // the process ends when it is closed, or when we end
}

// openLine starts a line to server, a connection string. Without a delay it is the
// server itself.
func openLine(ctx context.Context, server string, roundTrip time.Duration) (*line, error) {
	if roundTrip == 0 {
		return &line{server: server}, nil
	}
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	_, address, err := dsn.Address(server)
	if err != nil {
		return nil, err
	}
	command := exec.CommandContext(context.WithoutCancel(ctx), program, lineArgument, address, (roundTrip / 2).String())
	command.Stderr = os.Stderr
	l := &line{command: command}
	return l, l.start(server)
}

func (l *line) start(server string) error {
	hold, err := l.command.StdinPipe()
	if err != nil {
		return err
	}
	out, err := l.command.StdoutPipe()
	if err != nil {
		return err
	}
	if err := l.command.Start(); err != nil {
		return fmt.Errorf("bench: start the line: %w", err)
	}
	l.hold = hold
	address, err := bufio.NewReader(out).ReadString('\n')
	if err == nil {
		l.server, err = dsn.WithAddress(server, strings.TrimSpace(address))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("bench: start the line: %w", err), l.close())
	}
	return nil
}

// roundTrip returns how long an empty query takes over the line: the median of some.
func (l *line) roundTrip(ctx context.Context) (time.Duration, error) {
	conn, err := pgx.Connect(ctx, l.server)
	if err != nil {
		return 0, err
	}
	defer closeConn(ctx, conn)
	took := make([]time.Duration, 51)
	for i := range took {
		begin := time.Now()
		if err := conn.Ping(ctx); err != nil {
			return 0, err
		}
		took[i] = time.Since(begin)
	}
	return quantile(took, 0.5), nil
}

func (l *line) close() error {
	if l.hold == nil {
		return nil
	}
	return errors.Join(l.hold.Close(), l.command.Wait())
}

// serveLine is the line's process: it serves until its standard input ends. An
// interrupt of the terminal reaches it, too; it goes when the run has come to its end.
func serveLine(args []string, stdin io.Reader, stdout io.Writer) error {
	if len(args) != 2 {
		return errors.New("bench: the line takes an address and a delay")
	}
	delay, err := time.ParseDuration(args[1])
	if err != nil {
		return err
	}
	signal.Ignore(os.Interrupt)
	proxy, err := pgproxy.Open(args[0], pgproxy.WithDelay(delay))
	if err != nil {
		return err
	}
	defer proxy.Close()
	if _, err := fmt.Fprintln(stdout, proxy.Addr()); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, stdin)
	return err
}
