// Command oracle answers questions with the Go modules that Kubernetes and the engine use, so that the Rust code can be
// compared with them. The first argument chooses what is asked; questions are lines on standard input, and each gets one
// line on standard output.
package main

import (
	"bufio"
	"fmt"
	"os"
)

// answerer turns one line without its line break into one line without a line break.
type answerer func(line []byte) string

var subjects = map[string]answerer{}

func main() {
	if len(os.Args) != 2 || subjects[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: oracle SUBJECT < questions > answers; subjects:")
		for name := range subjects {
			fmt.Fprintln(os.Stderr, "  "+name)
		}
		os.Exit(2)
	}
	// Who times something waits for each answer.
	if err := run(subjects[os.Args[1]], os.Args[1] == "bench"); err != nil {
		fmt.Fprintln(os.Stderr, "oracle:", err)
		os.Exit(1)
	}
}

func run(answer answerer, atOnce bool) error {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(make([]byte, 1<<20), 64<<20)
	out := bufio.NewWriterSize(os.Stdout, 1<<20)
	for in.Scan() {
		if _, err := out.WriteString(answer(in.Bytes()) + "\n"); err != nil {
			return err
		}
		if atOnce {
			if err := out.Flush(); err != nil {
				return err
			}
		}
	}
	if err := in.Err(); err != nil {
		return err
	}
	return out.Flush()
}
