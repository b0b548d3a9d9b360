package main

import (
	"context"
	"io"
)

const MaxBody = maxBody

// Run is the whole program in this process.
func Run(ctx context.Context, args []string, out io.Writer) error { return run(ctx, args, out) }

// Report prints err and returns the exit code for it.
func Report(err error, to io.Writer) int { return report(err, to) }

// Interrupted returns the error of a program that was stopped too early.
func Interrupted() error { return errInterrupted }

// Main is the program with its signals.
func Main() { main() }

// Program is the program with its commands, and returns the exit code.
func Program(ctx context.Context, args []string, out, errs io.Writer) int {
	return program(ctx, args, out, errs)
}
