//go:build !linux

package pgproxy

import "time"

func sleep(d time.Duration) { time.Sleep(d) }
