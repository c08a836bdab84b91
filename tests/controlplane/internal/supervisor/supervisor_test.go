package supervisor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"controlplane/internal/ports"
)

// fakeServer is the name by which this test program, started by a supervisor,
// listens on the address in its second argument and answers nothing.
const fakeServer = "fake-server"

func TestMain(m *testing.M) {
	if os.Args[0] != fakeServer {
		os.Exit(m.Run())
	}
	fmt.Println("starting")
	if _, err := net.Listen("tcp4", os.Args[1]); err != nil {
		fmt.Println(err)
		os.Exit(3)
	}
	time.Sleep(time.Minute)
}

func server(name, address string) Component {
	return Component{
		Name: name,
		Args: []string{fakeServer, address},
		Ready: func(ctx context.Context) error {
			connection, err := new(net.Dialer).DialContext(ctx, "tcp4", address)
			if err != nil {
				return err
			}
			return connection.Close()
		},
	}
}

func address(t *testing.T, reserved *ports.Reserved) string {
	t.Helper()
	port, err := reserved.Take()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", port)
}

func newTestSupervisor(t *testing.T) (*Supervisor, Options) {
	t.Helper()
	options := Options{Dir: t.TempDir(), Timeout: 20 * time.Second}
	s, err := newSupervisor(filepath.Join(options.Dir, "logs"), options.Timeout)
	if err != nil {
		t.Fatal(err)
	}
	return s, options
}

func TestAnotherPortIsTriedWhenOneWasTaken(t *testing.T) {
	s, options := newTestSupervisor(t)
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()

	attempts, served := 0, false
	plan := func(reserved *ports.Reserved) (Layout, error) {
		attempts++
		second := taken.Addr().String()
		if attempts > 1 {
			second = address(t, reserved)
		}
		// Never ready by its probe, so that only its end is seen.
		clashing := server("second", second)
		if attempts == 1 {
			clashing.Ready = func(context.Context) error { return fmt.Errorf("not ready") }
		}
		return Layout{
			Waves:  [][]Component{{server("first", address(t, reserved))}, {clashing}},
			Report: func(base Base) any { return base },
		}, nil
	}
	var pids []int
	err = s.cluster(t.Context(), options, plan, nil, func(report any) error {
		served = true
		for _, status := range report.(Base).Components {
			pids = append(pids, status.PID)
		}
		return errAsked
	})
	if !errors.Is(err, errAsked) || !served || attempts != 2 {
		t.Fatalf("error %v, served %t, attempts %d", err, served, attempts)
	}
	for _, pid := range pids {
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); err == nil {
			t.Errorf("process %d is left", pid)
		}
	}
}

func TestCommandsActOnOneComponent(t *testing.T) {
	s, options := newTestSupervisor(t)
	plan := func(reserved *ports.Reserved) (Layout, error) {
		waves := [][]Component{{server("a", address(t, reserved)), server("b", address(t, reserved))}}
		return Layout{Waves: waves, Report: func(base Base) any { return base }}, nil
	}
	err := s.cluster(t.Context(), options, plan, nil, func(any) error {
		for _, step := range []struct{ line, wantError string }{
			{"stop a", ""},
			{"stop a", "a does not run"},
			{"start a", ""},
			{"start a", "a runs already"},
			{"kill b", ""},
			{"restart b", ""},
			{"pause b", ""},
			{"stop b", ""},
			{"stop c", `no component is named "c"`},
			{"dance a", "unknown command dance"},
			{"stop", `not a command: "stop"`},
			{"keep", ""},
		} {
			kept := false
			got := s.reply(t.Context(), step.line, func() { kept = true })
			if got.Error != step.wantError || got.OK != (step.wantError == "") {
				t.Errorf("%q: %+v", step.line, got)
			}
			if kept != (step.line == "keep") {
				t.Errorf("%q: kept is %t", step.line, kept)
			}
		}
		status := s.reply(t.Context(), "status", nil)
		if len(status.Components) != 2 || !status.Components[0].Running || status.Components[1].Running {
			t.Errorf("status: %+v", status)
		}
		select {
		case p := <-s.deaths:
			t.Errorf("the end of %s, which was asked for, counts as a death", p.Name)
		default:
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestAnEndIsAwaitedWhileAComponentIsNotReady(t *testing.T) {
	s, options := newTestSupervisor(t)
	options.Timeout = time.Hour
	ctx, cancel := context.WithCancelCause(t.Context())
	plan := func(reserved *ports.Reserved) (Layout, error) {
		never := server("never", address(t, reserved))
		never.Ready = func(context.Context) error {
			cancel(errAsked)
			return fmt.Errorf("not yet")
		}
		return Layout{Waves: [][]Component{{never}}}, nil
	}
	if err := s.cluster(ctx, options, plan, nil, nil); !errors.Is(err, errAsked) {
		t.Fatal(err)
	}
}

func TestALogIsQuotedFromTheStartOfTheRun(t *testing.T) {
	dir := t.TempDir()
	for run := range 2 {
		log, out, err := openLog(dir, "etcd")
		if err != nil {
			t.Fatal(err)
		}
		if got := log.tail(); !strings.HasSuffix(got, "etcd.log is empty") {
			t.Errorf("before anything was logged: %s", got)
		}
		for line := range 30 {
			fmt.Fprintf(out, "run %d line %d\n", run, line)
		}
		out.Close()
		got := log.tail()
		for _, want := range []string{
			fmt.Sprintf("run %d line 0\n", run),
			fmt.Sprintf("run %d line 3\n  | ... (11 lines)\n  | run %d line 15\n", run, run),
			fmt.Sprintf("run %d line 29", run),
		} {
			if !strings.Contains(got, want) {
				t.Errorf("%q is missing in:\n%s", want, got)
			}
		}
		if run == 1 && strings.Contains(got, "run 0") {
			t.Errorf("quotes the run before:\n%s", got)
		}
	}
}

func TestAFolderWithOtherThingsIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, supervisorLog), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := prepareDir(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "holiday-pictures"), 0o700); err != nil {
		t.Fatal(err)
	}
	err := prepareDir(dir)
	if err == nil || !strings.Contains(err.Error(), "holiday-pictures") {
		t.Fatalf("got %v", err)
	}
}
