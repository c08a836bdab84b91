// Command controlplane runs a real Kubernetes control plane, or a real etcd
// cluster, for tests: on loopback, in a folder of its own, without a container
// runtime. One binary holds every program it needs, so there is one thing to
// build and to cache. Which of them runs is decided by the name it is called by
// (a symlink named kubectl is kubectl) or else by its first argument.
package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"controlplane/internal/etcd"
	"controlplane/internal/image"
	"controlplane/internal/kube"
	"controlplane/internal/node"
)

// command runs one program or subcommand. args[0] is its name, as in os.Args.
type command func(args []string) (exitCode int)

// subcommands are this program's own; programs (programs.go) are the parts of
// Kubernetes and etcd that it carries.
var subcommands = map[string]command{
	"up":           kube.Up,
	"etcd-cluster": etcd.Cluster,
	"image":        image.Make,
	"node":         node.Init,
	"node-check":   node.Check,
}

const usage = `usage: controlplane COMMAND [ARGUMENTS]

Own commands; each prints one JSON line when everything is ready, then reads
commands from standard input and stops everything at its end:
  up            a Kubernetes control plane (etcd, API server, controller manager),
                and with --node a node
  etcd-cluster  a stand-alone etcd cluster
  Try "controlplane up -h" for their options.

Helpers:
  image         make a container image of static binaries
  node-check    exit 0 where a node can run, else 3 and say why not
  node          a node's first process; only "up --node" starts it

Programs inside, also reached through a symlink of their name:
  kube-apiserver  kube-controller-manager  kube-scheduler  kubelet  kube-proxy
  kubectl  etcd  etcdctl
`

func main() {
	os.Exit(run(os.Args))
}

func run(args []string) int {
	name := filepath.Base(args[0])
	if program, ok := programs[name]; ok {
		return program(append([]string{name}, args[1:]...))
	}
	if len(args) < 2 {
		fmt.Fprint(os.Stderr, usage)
		return 2
	}
	name, rest := args[1], args[1:]
	if subcommand, ok := subcommands[name]; ok {
		return subcommand(rest)
	}
	if program, ok := programs[name]; ok {
		return program(rest)
	}
	var out io.Writer = os.Stderr
	code := 2
	if slices.Contains([]string{"help", "-h", "-help", "--help"}, name) {
		out, code = os.Stdout, 0
	} else {
		fmt.Fprintf(out, "controlplane: unknown command %q\n\n", name)
	}
	fmt.Fprint(out, usage)
	return code
}
