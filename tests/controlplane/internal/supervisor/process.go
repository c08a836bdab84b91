package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// probeInterval is short against the seconds a component takes to start.
	probeInterval = 40 * time.Millisecond
	// probeTimeout bounds one readiness probe.
	probeTimeout = 3 * time.Second
	// stopGrace is how long a component has after SIGTERM before SIGKILL.
	stopGrace = 5 * time.Second
)

// Component is a program to run.
type Component struct {
	// Name under which it is logged and addressed by commands.
	Name string
	// Args are its arguments; Args[0] names the program inside this binary.
	Args []string
	// Ready is one probe; nil means ready. It is repeated until it succeeds.
	Ready func(context.Context) error
	// Namespaces are flags of clone(2): what the component has for itself.
	Namespaces uintptr
	// Started is called with the process id after each start. May be nil.
	Started func(pid int) error
	// Ended is called after each end, however it came about. May be nil.
	Ended func() error
}

// process is one run of a component.
type process struct {
	Component
	cmd *exec.Cmd
	log logFile
	// done is closed after the process has ended and was reaped.
	done chan struct{}
	// exit describes how it ended; set before done is closed.
	exit string
	// left is what Ended could not clean up; set before done is closed.
	left error
	// wanted is set before the process is ended on purpose.
	wanted atomic.Bool
	// paused is set while it is stopped by SIGSTOP.
	paused atomic.Bool
}

func (s *Supervisor) launch(component Component) (*process, error) {
	log, out, err := openLog(s.logDir, component.Name)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd := &exec.Cmd{
		Path:   s.executable,
		Args:   component.Args,
		Stdout: out,
		Stderr: out,
	}
	if err := s.spawner.start(cmd, component.Namespaces); err != nil {
		return nil, fmt.Errorf("start %s: %w", component.Name, err)
	}
	p := &process{Component: component, cmd: cmd, log: log, done: make(chan struct{})}
	go func() {
		_ = cmd.Wait()
		p.exit = cmd.ProcessState.String()
		if p.Ended != nil {
			p.left = p.Ended()
		}
		close(p.done)
	}()
	if component.Started != nil {
		if err := component.Started(cmd.Process.Pid); err != nil {
			p.kill()
			return nil, fmt.Errorf("start %s: %w", component.Name, err)
		}
	}
	return p, nil
}

// errBindClash marks a start that failed since a port was taken meanwhile.
var errBindClash = errors.New("a port was taken by another program")

// waitReady returns once the component answers its probe, or an error that
// shows the end of its log.
func (p *process) waitReady(ctx context.Context, timeout time.Duration) error {
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	tick := time.NewTicker(probeInterval)
	defer tick.Stop()
	for {
		probe, cancel := context.WithTimeout(ctx, probeTimeout)
		err := p.Ready(probe)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return p.diedEarly()
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-deadline.C:
			return fmt.Errorf("%s is not ready after %s: %w\n%s", p.Name, timeout, err, p.log.tail())
		case <-tick.C:
		}
	}
}

func (p *process) diedEarly() error {
	err := fmt.Errorf("%s ended before it was ready (%s)\n%s", p.Name, p.exit, p.log.tail())
	if strings.Contains(p.log.sinceStart(), syscall.EADDRINUSE.Error()) {
		return fmt.Errorf("%w: %w", errBindClash, err)
	}
	return err
}

// stop ends the process: SIGTERM, and SIGKILL after stopGrace or when hurry is
// closed. It returns when the process is gone.
func (p *process) stop(hurry <-chan struct{}) {
	p.wanted.Store(true)
	p.signal(syscall.SIGTERM)
	if p.paused.Load() {
		p.signal(syscall.SIGCONT)
	}
	grace := time.NewTimer(stopGrace)
	defer grace.Stop()
	select {
	case <-p.done:
		return
	case <-grace.C:
	case <-hurry:
	}
	p.kill()
}

// kill ends the process by SIGKILL and returns when it is gone.
func (p *process) kill() {
	p.wanted.Store(true)
	p.signal(syscall.SIGKILL)
	<-p.done
}

func (p *process) signal(signal os.Signal) {
	// The only failure is that the process is gone already.
	_ = p.cmd.Process.Signal(signal)
}

func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}
