package supervisor

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// Commands are the lines that are obeyed on standard input; each is answered by
// one JSON line when it is done.
const Commands = `Commands on standard input, one a line:
  stop NAME      stop a component (SIGTERM, then SIGKILL)
  kill NAME      end it at once (SIGKILL)
  start NAME     start it again; answered when it is ready
  restart NAME   stop and start
  pause NAME     freeze it (SIGSTOP), as a hung process
  resume NAME    let it go on
  status         list the components
  keep           do not remove the folder at the end, in spite of --remove
Answers: {"ok":true,...} or {"error":"..."}
`

// errAsked is why a cluster stops when nothing went wrong.
var errAsked = errors.New("asked to stop")

type answer struct {
	OK         bool     `json:"ok,omitempty"`
	Error      string   `json:"error,omitempty"`
	Components []Status `json:"components,omitempty"`
}

// serve obeys commands until the context ends or a component dies.
func (s *Supervisor) serve(ctx context.Context, lines <-chan string, out *json.Encoder, keep func()) error {
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case p := <-s.deaths:
			return fmt.Errorf("%s ended by itself (%s)\n%s", p.Name, p.exit, p.log.tail())
		case line := <-lines:
			reply := s.reply(ctx, line, keep)
			if err := out.Encode(reply); err != nil {
				return fmt.Errorf("write the answer to %q: %w", line, err)
			}
		}
	}
}

func (s *Supervisor) reply(ctx context.Context, line string, keep func()) answer {
	words := strings.Fields(line)
	var err error
	switch {
	case len(words) == 1 && words[0] == "status":
		return answer{OK: true, Components: s.status()}
	case len(words) == 1 && words[0] == "keep":
		keep()
	case len(words) == 2:
		err = s.obey(ctx, words[0], words[1])
	default:
		err = fmt.Errorf("not a command: %q", line)
	}
	if err != nil {
		return answer{Error: err.Error()}
	}
	return answer{OK: true}
}

// readLines sends what is read line by line and calls atEnd when input ends: at
// the end of the process that holds the other side of the pipe, for one.
func readLines(input io.Reader, atEnd func()) <-chan string {
	lines := make(chan string)
	go func() {
		scanner := bufio.NewScanner(input)
		for scanner.Scan() {
			if line := strings.TrimSpace(scanner.Text()); line != "" {
				lines <- line
			}
		}
		atEnd()
	}()
	return lines
}

// onSignal cancels for the first signal that asks to stop and closes hurry for
// the second.
func onSignal(cancel context.CancelCauseFunc) (hurry <-chan struct{}) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	// Otherwise a write to a reader that has gone ends this process before it
	// has cleaned up. Caught, not ignored: children would inherit that.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	second := make(chan struct{})
	go func() {
		<-signals
		cancel(errAsked)
		<-signals
		close(second)
	}()
	return second
}
