package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// visitor sends requests to the service as a browser does, which resolves
// *.localhost to this machine.
type visitor struct {
	addr   string // of the server
	client *http.Client
	keys   map[string]string // of access, by host
}

// visit returns a visitor of the server that listens on addr.
func visit(addr net.Addr) *visitor {
	v := &visitor{addr: reachable(addr), keys: map[string]string{}}
	v.client = &http.Client{
		Timeout:   30 * time.Second,                     // for a sign-up
		Transport: &http.Transport{DialContext: v.dial}, // and no proxy
	}
	return v
}

func (v *visitor) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, network, v.addr)
}

// reachable returns where a client on this machine finds addr. A server that
// listens on every address is found on loopback.
func reachable(addr net.Addr) string {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return addr.String()
	}
	return (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: tcp.Port}).String()
}

// onLoopback reports whether a browser that resolves *.localhost finds the server.
func (v *visitor) onLoopback() bool {
	addr, err := netip.ParseAddrPort(v.addr)
	return err == nil && addr.Addr().IsLoopback()
}

// url returns the address of a page of host, which has no port yet.
func (v *visitor) url(host, path string) string {
	_, port, _ := net.SplitHostPort(v.addr) // a listener's address always has one
	return "http://" + net.JoinHostPort(host, port) + path
}

// send returns the answer to one request.
func (v *visitor) send(ctx context.Context, method, host, path, body string) (answer, error) {
	r, err := http.NewRequestWithContext(ctx, method, v.url(host, path), strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	if key := v.keys[host]; key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	response, err := v.client.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	return answer{status: response.StatusCode, body: content}, err
}

func (v *visitor) close() { v.client.CloseIdleConnections() }
