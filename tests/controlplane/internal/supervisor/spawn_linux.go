package supervisor

import (
	"os/exec"
	"runtime"
	"syscall"
)

// spawner starts child processes that the kernel kills when this process ends,
// however it ends.
//
// The kernel sends that signal when the thread that started the child is gone,
// not the process, so all children are started from one thread that lives as
// long as the process.
type spawner struct {
	requests chan func()
}

func newSpawner() *spawner {
	s := &spawner{requests: make(chan func())}
	go func() {
		runtime.LockOSThread()
		for request := range s.requests {
			request()
		}
	}()
	return s
}

func (s *spawner) start(cmd *exec.Cmd, namespaces uintptr) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig: syscall.SIGKILL,
		// Ctrl-C in a terminal goes to the whole foreground group. Children are
		// in groups of their own so that they are stopped in order instead.
		Setpgid:    true,
		Cloneflags: namespaces,
	}
	result := make(chan error)
	s.requests <- func() { result <- cmd.Start() }
	return <-result
}
