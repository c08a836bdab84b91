package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"controlplane/internal/ports"
)

// processStart is taken before main runs, as near to exec as a program can see.
var processStart = time.Now()

// startAttempts bounds the starts that fail only since another program took a
// port between its choice and its use.
const startAttempts = 5

// Options are common to every kind of cluster.
type Options struct {
	// Dir is the cluster's folder, absolute after Parse.
	Dir string
	// Remove the folder after a stop that was asked for. After a failure it
	// stays, for its logs.
	Remove bool
	// Timeout for one component to become ready.
	Timeout time.Duration
	// Extra arguments by program name.
	Extra map[string][]string
}

// Parse reads the arguments (args[0] is the command's name) after flags has
// been given the command's own. It prints what is wrong and returns false.
func (o *Options) Parse(flags *flag.FlagSet, args []string, about string) bool {
	o.Extra = map[string][]string{}
	flags.StringVar(&o.Dir, "dir", "", "`folder` for everything the cluster writes; new or empty (required)")
	flags.BoolVar(&o.Remove, "remove", false, "remove the folder after a stop that was asked for")
	flags.DurationVar(&o.Timeout, "timeout", 2*time.Minute, "`limit` for one component to become ready")
	flags.Func("extra", "add an argument to a program, as `PROGRAM=ARGUMENT`; may be repeated", func(value string) error {
		program, argument, found := strings.Cut(value, "=")
		if !found || !strings.HasPrefix(argument, "-") {
			return errors.New("expected PROGRAM=--flag[=value]")
		}
		o.Extra[program] = append(o.Extra[program], argument)
		return nil
	})
	flags.Usage = func() {
		fmt.Fprintf(flags.Output(), "usage: controlplane %s --dir FOLDER [OPTIONS]\n\n%s\n\nOptions:\n", args[0], about)
		flags.PrintDefaults()
		fmt.Fprintf(flags.Output(), "\n%s", Commands)
	}
	if err := flags.Parse(args[1:]); err != nil {
		return false
	}
	var err error
	switch {
	case flags.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case o.Dir == "":
		err = errors.New("--dir is required")
	default:
		o.Dir, err = filepath.Abs(o.Dir)
	}
	if err != nil {
		fmt.Fprintf(flags.Output(), "controlplane %s: %v\n", args[0], err)
	}
	return err == nil
}

// Layout is a cluster that is ready to be started.
type Layout struct {
	// Waves of components; those of one wave start together.
	Waves [][]Component
	// Report makes the JSON line that is printed when everything is ready.
	Report func(Base) any
}

// Base is the part of a report that is common to every kind of cluster.
type Base struct {
	Dir  string `json:"dir"`
	Logs string `json:"logs"`
	// StartMillis from the start of this process until everything was ready.
	StartMillis int64    `json:"startMillis"`
	Components  []Status `json:"components"`
}

// Plan writes what a cluster needs into options.Dir and lays out its
// components. It is called again, in an emptied folder, when a port was taken.
type Plan func(*ports.Reserved) (Layout, error)

// Run starts a cluster, serves commands until it is asked to stop, and stops
// it. It returns the exit code.
func Run(options Options, plan Plan) int {
	out := json.NewEncoder(os.Stdout)
	err := run(options, plan, out)
	if err == nil {
		return 0
	}
	fmt.Fprintf(os.Stderr, "controlplane: %v\n", err)
	// For a reader of the protocol. It may be gone.
	_ = out.Encode(answer{Error: err.Error()})
	return 1
}

func run(options Options, plan Plan, out *json.Encoder) error {
	ctx, cancel := context.WithCancelCause(context.Background())
	hurry := onSignal(cancel)
	lines := readLines(os.Stdin, func() { cancel(errAsked) })

	if err := prepareDir(options.Dir); err != nil {
		return err
	}
	s, err := newSupervisor(filepath.Join(options.Dir, "logs"), options.Timeout)
	if err != nil {
		return err
	}
	remove := options.Remove
	err = s.cluster(ctx, options, plan, hurry, func(report any) error {
		if err := out.Encode(report); err != nil {
			return fmt.Errorf("write the report: %w", err)
		}
		return s.serve(ctx, lines, out, func() { remove = false })
	})
	if err != nil && !errors.Is(err, errAsked) {
		return err
	}
	if remove {
		return os.RemoveAll(options.Dir)
	}
	return nil
}

// cluster starts a cluster, calls serve while it runs, and stops it.
func (s *Supervisor) cluster(
	ctx context.Context, options Options, plan Plan, hurry <-chan struct{}, serve func(report any) error,
) (err error) {
	var reserved ports.Reserved
	defer reserved.Release()
	defer func() { err = errors.Join(err, s.stopAll(hurry)) }()
	for attempt := 1; ; attempt++ {
		if err := os.MkdirAll(s.logDir, 0o700); err != nil {
			return err
		}
		layout, err := plan(&reserved)
		if err != nil {
			return err
		}
		err = s.startAll(ctx, layout.Waves)
		if err == nil {
			return serve(layout.Report(Base{
				Dir:         options.Dir,
				Logs:        s.logDir,
				StartMillis: time.Since(processStart).Milliseconds(),
				Components:  s.status(),
			}))
		}
		if !errors.Is(err, errBindClash) || attempt == startAttempts {
			return err
		}
		fmt.Fprintf(os.Stderr, "controlplane: %v; attempt %d of %d\n", errBindClash, attempt+1, startAttempts)
		if err := s.stopAll(hurry); err != nil {
			return err
		}
		reserved.Release()
		if err := emptyDir(options.Dir); err != nil {
			return err
		}
	}
}
