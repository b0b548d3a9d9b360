//go:build !unix

package main

import "time"

func clientCPU() time.Duration { return 0 }
