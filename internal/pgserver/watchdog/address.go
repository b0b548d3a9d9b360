package watchdog

import (
	"fmt"
	"net"
)

// FreeAddress returns an address on loopback, host:port, with a port that was free just now. A
// program that is to listen there may find that another one was faster.
func FreeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("watchdog: find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().String(), nil
}
