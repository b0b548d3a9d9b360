package watchdog

import (
	"fmt"
	"os/exec"
	"unsafe"

	"golang.org/x/sys/windows"
)

// Unprivileged does nothing: Windows programs choose their own rights.
func Unprivileged(*exec.Cmd) error { return nil }

func (p *Process) start(c Command) error {
	job, err := newJob()
	if err != nil {
		return fmt.Errorf("watchdog: job object: %w", err)
	}
	p.end = func() error { return windows.TerminateJobObject(job, 1) }
	go func() {
		defer close(p.done)
		defer windows.CloseHandle(job)
		if len(c.Before) > 0 {
			p.err = runInJob(job, c, c.Before)
		}
		if p.err == nil {
			p.err = runInJob(job, c, c.Run)
		}
	}()
	return nil
}

// newJob returns a job whose processes end when its handle is closed, which
// Windows does when we end.
func newJob() (windows.Handle, error) {
	job, err := windows.CreateJobObject(nil, nil)
	if err != nil {
		return 0, err
	}
	var limits windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION
	limits.BasicLimitInformation.LimitFlags = windows.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE
	_, err = windows.SetInformationJobObject(job, windows.JobObjectExtendedLimitInformation,
		uintptr(unsafe.Pointer(&limits)), uint32(unsafe.Sizeof(limits)))
	if err != nil {
		windows.CloseHandle(job)
	}
	return job, err
}

func runInJob(job windows.Handle, c Command, args []string) error {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = c.Log, c.Log
	if err := cmd.Start(); err != nil {
		return err
	}
	err := cmd.Process.WithHandle(func(h uintptr) {
		_ = windows.AssignProcessToJobObject(job, windows.Handle(h))
	})
	if err != nil {
		_ = cmd.Process.Kill()
	}
	return cmd.Wait()
}
