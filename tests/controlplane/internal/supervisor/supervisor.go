// Package supervisor runs the components of a test cluster as child processes:
// starts them in order, reports when they are ready, obeys commands, and leaves
// nothing behind. It runs on Linux only.
package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Supervisor owns the processes of one cluster. Its methods are called from one
// goroutine.
type Supervisor struct {
	executable string
	logDir     string
	timeout    time.Duration
	spawner    *spawner
	// waves of components in start order; those of one wave start together.
	waves     [][]Component
	processes map[string]*process
	// deaths receives components that ended without being told to.
	deaths chan *process
}

func newSupervisor(logDir string, timeout time.Duration) (*Supervisor, error) {
	executable, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return &Supervisor{
		executable: executable,
		logDir:     logDir,
		timeout:    timeout,
		spawner:    newSpawner(),
		processes:  map[string]*process{},
		deaths:     make(chan *process),
	}, nil
}

// startAll starts wave after wave, each when the one before is ready. On an
// error the caller stops what was started.
func (s *Supervisor) startAll(ctx context.Context, waves [][]Component) error {
	s.waves = waves
	for _, wave := range waves {
		if err := s.startTogether(ctx, wave); err != nil {
			return err
		}
	}
	return nil
}

func (s *Supervisor) startTogether(ctx context.Context, components []Component) error {
	// The first failure ends the wait for the others.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var waits sync.WaitGroup
	for _, component := range components {
		p, err := s.launch(component)
		if err != nil {
			cancel(err)
			break
		}
		s.processes[component.Name] = p
		waits.Go(func() {
			if err := p.waitReady(ctx, s.timeout); err != nil {
				cancel(err)
				return
			}
			go s.watch(p)
		})
	}
	waits.Wait()
	return context.Cause(ctx)
}

func (s *Supervisor) watch(p *process) {
	<-p.done
	if !p.wanted.Load() {
		s.deaths <- p
	}
}

// stopAll stops the components in the reverse of their start order. Closing
// hurry kills them instead. The error is what components have left behind.
func (s *Supervisor) stopAll(hurry <-chan struct{}) error {
	for i := len(s.waves) - 1; i >= 0; i-- {
		var stops sync.WaitGroup
		for _, component := range s.waves[i] {
			if p := s.processes[component.Name]; p != nil && p.running() {
				stops.Go(func() { p.stop(hurry) })
			}
		}
		stops.Wait()
	}
	var left []error
	for _, p := range s.processes {
		<-p.done
		left = append(left, p.left)
	}
	clear(s.processes)
	return errors.Join(left...)
}

// Status is one component as a report shows it.
type Status struct {
	Name string `json:"name"`
	// PID of the process; of the last one when it does not run.
	PID     int    `json:"pid"`
	Running bool   `json:"running"`
	Log     string `json:"log"`
}

func (s *Supervisor) status() []Status {
	var all []Status
	for _, wave := range s.waves {
		for _, component := range wave {
			if p := s.processes[component.Name]; p != nil {
				all = append(all, Status{p.Name, p.cmd.Process.Pid, p.running(), p.log.path})
			}
		}
	}
	return all
}

// obey carries out one command on one component; verbs are those of protocol.go.
func (s *Supervisor) obey(ctx context.Context, verb, name string) error {
	p := s.processes[name]
	if p == nil {
		return fmt.Errorf("no component is named %q", name)
	}
	if verb == "start" {
		if p.running() {
			return fmt.Errorf("%s runs already", name)
		}
		return s.startTogether(ctx, []Component{p.Component})
	}
	if !p.running() && verb != "restart" {
		return fmt.Errorf("%s does not run", name)
	}
	switch verb {
	case "stop":
		p.stop(ctx.Done())
	case "kill":
		p.kill()
	case "restart":
		p.stop(ctx.Done())
		return s.startTogether(ctx, []Component{p.Component})
	case "pause":
		p.paused.Store(true)
		p.signal(syscall.SIGSTOP)
	case "resume":
		p.signal(syscall.SIGCONT)
		p.paused.Store(false)
	default:
		return errors.New("unknown command " + verb)
	}
	return nil
}

// supervisorLog may be in the folder before the start: the caller's redirected
// standard error.
const supervisorLog = "supervisor.log"

// prepareDir makes the cluster's folder. It has to be new or empty, since it is
// emptied before another attempt and may be removed at the end.
func prepareDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.Name() != supervisorLog {
			return fmt.Errorf("the folder %s is not empty (it has %s)", dir, entry.Name())
		}
	}
	return nil
}

func emptyDir(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.Name() == supervisorLog {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, entry.Name())); err != nil {
			return err
		}
	}
	return nil
}
