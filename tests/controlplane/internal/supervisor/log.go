package supervisor

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Lines of a log that an error shows. The first count too: a program that
// refuses a flag says so before a page of usage.
const (
	headLines = 4
	tailLines = 15
	tailBytes = 64 << 10
)

// logFile is the part of a component's log that one run of it writes.
type logFile struct {
	path  string
	start int64
}

func openLog(dir, name string) (logFile, *os.File, error) {
	path := filepath.Join(dir, name+".log")
	out, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return logFile{}, nil, err
	}
	info, err := out.Stat()
	if err != nil {
		out.Close()
		return logFile{}, nil, err
	}
	return logFile{path: path, start: info.Size()}, out, nil
}

// sinceStart returns the end of what this run wrote, at most tailBytes. A start
// that fails writes less.
func (l logFile) sinceStart() string {
	file, err := os.Open(l.path)
	if err != nil {
		return ""
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return ""
	}
	from := max(l.start, info.Size()-tailBytes)
	text, err := io.ReadAll(io.NewSectionReader(file, from, tailBytes))
	if err != nil {
		return ""
	}
	return string(text)
}

// tail names the log and quotes it, without its middle when it is long.
func (l logFile) tail() string {
	text := strings.TrimRight(l.sinceStart(), "\n")
	if text == "" {
		return fmt.Sprintf("its log %s is empty", l.path)
	}
	lines := strings.Split(text, "\n")
	if left := len(lines) - headLines - tailLines; left > 1 {
		middle := fmt.Sprintf("... (%d lines)", left)
		lines = slices.Concat(lines[:headLines], []string{middle}, lines[len(lines)-tailLines:])
	}
	return fmt.Sprintf("its log %s says:\n  | %s", l.path, strings.Join(lines, "\n  | "))
}
