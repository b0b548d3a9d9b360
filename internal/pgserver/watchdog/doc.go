// Package watchdog runs a server program that does not outlive the process
// that started it, however that process ends: by return, panic, os.Exit,
// log.Fatal, a signal, or kill -9.
//
//	p, err := watchdog.Start(watchdog.Command{Dir: dir, Run: []string{"postgres", "-D", dir}})
//	...
//	err = p.Stop() // or just end
//
// On Unix a small shell stands between us and the program. It reads from a pipe
// whose other end only we hold. When we end, the kernel closes it; the shell
// then stops the program and removes its directory. It has its own session,
// so that Ctrl-C in a terminal reaches us and not the program, and no signal
// handler is needed in our process. On Windows a job object ends the program;
// the directory of a killed process stays.
package watchdog
