package pgproxy

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/pgserver/dsn"
)

// Proxy forwards connections to one server. Its methods are safe for
// concurrent use.
type Proxy struct {
	listener        net.Listener
	network, target string
	delay           time.Duration
	t               testing.TB // nil unless Start made it

	connections, roundTrips, toServer, toClient atomic.Int64

	stopped chan struct{} // closed by stop, which is called once
	stop    func()
	running sync.WaitGroup

	mu   sync.Mutex // guards open
	open map[net.Conn]struct{}
}

// Option changes what Start does.
type Option func(*Proxy) error

// WithDelay lets each byte arrive d later, in both directions: a round trip
// takes 2*d more. Bytes do not wait for those before them, as on a
// long line; throughput stays. The default is no delay.
func WithDelay(d time.Duration) Option {
	return func(p *Proxy) error {
		if d < 0 {
			return errors.New("pgproxy: the delay is negative")
		}
		p.delay = d
		return nil
	}
}

// Start starts a proxy in front of target, a connection string or host:port.
// Its connections are cut, and it ends, when the test does.
func Start(t testing.TB, target string, opts ...Option) *Proxy {
	t.Helper()
	p, err := newProxy(target, opts)
	if err != nil {
		t.Fatal(err)
	}
	p.t = t
	p.running.Go(p.accept)
	t.Cleanup(p.Close)
	return p
}

// Open is [Start] for a program. The caller closes the proxy. Its method DSN is
// of no use then: see dsn.WithAddress and Addr.
func Open(target string, opts ...Option) (*Proxy, error) {
	p, err := newProxy(target, opts)
	if err != nil {
		return nil, err
	}
	p.running.Go(p.accept)
	return p, nil
}

// Close cuts all connections and waits until they have ended. Further calls
// wait for the first one.
func (p *Proxy) Close() { p.stop() }

func newProxy(target string, opts []Option) (*Proxy, error) {
	p := &Proxy{stopped: make(chan struct{}), open: map[net.Conn]struct{}{}}
	p.stop = sync.OnceFunc(p.end)
	for _, o := range opts {
		if err := o(p); err != nil {
			return nil, err
		}
	}
	var err error
	if p.network, p.target, err = address(target); err != nil {
		return nil, err
	}
	if p.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, fmt.Errorf("pgproxy: %w", err)
	}
	return p, nil
}

// address returns where target is: host:port has neither "/" nor "=", a
// connection string always has one.
func address(target string) (network, addr string, err error) {
	if !strings.ContainsAny(target, "/=") {
		return "tcp", target, nil
	}
	return dsn.Address(target)
}

// Addr returns the proxy's address, host:port.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// DSN returns original, the connection string of a database on the target, with the
// proxy's address in place of the server's. The test that started p fails if it is none.
func (p *Proxy) DSN(original string) string {
	p.t.Helper()
	s, err := dsn.WithAddress(original, p.Addr())
	if err != nil {
		p.t.Fatal(err)
	}
	return s
}

// RoundTrips returns how often, on all connections together, the client sent
// something after it had last received something: how often it had to
// wait for the line. A long message counts once. The start of a connection, up to the first
// ReadyForQuery, does not count; with TLS it cannot be told apart and does.
func (p *Proxy) RoundTrips() int64 { return p.roundTrips.Load() }

// BytesToServer returns how many bytes clients have sent, starts of
// connections included.
func (p *Proxy) BytesToServer() int64 { return p.toServer.Load() }

// BytesToClient returns how many bytes the server has sent, starts of
// connections included.
func (p *Proxy) BytesToClient() int64 { return p.toClient.Load() }

// Connections returns how many connections clients have opened, closed ones included.
func (p *Proxy) Connections() int64 { return p.connections.Load() }

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return // closed by stop
		}
		p.connections.Add(1)
		p.running.Go(func() { p.serve(client) })
	}
}

// serve runs one connection to its end.
func (p *Proxy) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial(p.network, p.target)
	if err != nil {
		if p.t != nil {
			p.t.Logf("pgproxy: %v", err)
		}
		return
	}
	defer server.Close()
	if !p.track(client, server) {
		return
	}
	defer p.forget(client, server)

	c := &conversation{roundTrips: &p.roundTrips}
	up := pipe{from: client, to: server, bytes: &p.toServer, seen: c.clientSent, delay: p.delay, stopped: p.stopped}
	down := pipe{from: server, to: client, bytes: &p.toClient, due: c.serverSent, delay: p.delay, stopped: p.stopped}
	var both sync.WaitGroup
	both.Go(up.run)
	both.Go(down.run)
	both.Wait()
}

// track remembers conns so that stop can close them. It reports false when
// stop was there first.
func (p *Proxy) track(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open == nil {
		return false
	}
	for _, c := range conns {
		p.open[c] = struct{}{}
	}
	return true
}

func (p *Proxy) forget(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		delete(p.open, c)
	}
}

func (p *Proxy) end() {
	close(p.stopped)
	_ = p.listener.Close()
	p.mu.Lock()
	open := p.open
	p.open = nil
	p.mu.Unlock()
	for c := range open {
		_ = c.Close()
	}
	p.running.Wait()
}
