// Package node runs a real Kubernetes node in namespaces of its own: containerd,
// kubelet, kube-proxy and cluster DNS, and the containers of its pods.
//
// The node's first process is PID 1 of a PID namespace and lives in a mount and
// a network namespace of its own. When it ends, however it ends, the kernel kills
// every process of the node and drops its mounts, bridges, network namespaces
// and packet filter rules with them: nothing has to be cleaned up one by one.
// Only control groups are outside; see cgroups.go.
package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// Config is what the node's first process is told; see Plan.
type Config struct {
	// Number of the node's Network.
	Number int `json:"number"`
	// IPv6 is whether its addresses are of IPv6, and none of IPv4.
	IPv6 bool `json:"ipv6"`
	// Dir is the node's own folder, which exists.
	Dir string `json:"dir"`
	// Bin is the folder of the programs.
	Bin string `json:"bin"`
	// Images are archives to load before the kubelet starts.
	Images []string `json:"images"`
}

// configFile is the name of the Config in the node's folder.
const configFile = "node.json"

// Init is the subcommand "node": PID 1 of the node. args[1] is its folder.
func Init(args []string) int {
	if os.Getpid() != 1 || len(args) != 2 {
		fmt.Fprintln(os.Stderr, "controlplane node: started by \"controlplane up --node\" only")
		return 2
	}
	if err := run(args[1]); err != nil {
		fmt.Fprintf(os.Stderr, "node: %v\n", err)
		return 1
	}
	return 0
}

func run(dir string) error {
	text, err := os.ReadFile(filepath.Join(dir, configFile))
	if err != nil {
		return err
	}
	var config Config
	if err := json.Unmarshal(text, &config); err != nil {
		return err
	}
	// PID 1 gets no signal that it does not ask for.
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	network := NewNetwork(config.Number, config.IPv6)
	if err := isolate(dir); err != nil {
		return err
	}
	if err := network.join(); err != nil {
		return err
	}
	// The shim is looked for on PATH.
	if err := os.Setenv("PATH", config.Bin+":"+os.Getenv("PATH")); err != nil {
		return err
	}
	children := newChildren(filepath.Join(dir, "logs"))
	if err := children.start(filepath.Join(config.Bin, "containerd"), "--config", filepath.Join(dir, containerdConfig)); err != nil {
		return err
	}
	if err := load(ctx, config.Images); err != nil {
		return err
	}
	for _, command := range [][]string{
		{"kubelet",
			"--config=" + filepath.Join(dir, kubeletConfig),
			"--kubeconfig=" + filepath.Join(dir, KubeletKubeconfig),
			"--root-dir=/var/lib/kubelet",
			"--cert-dir=/var/lib/kubelet/pki",
			"--hostname-override=" + network.Name(),
			"--node-ip=" + network.NodeIP(),
		},
		{"kube-proxy", "--config=" + filepath.Join(dir, proxyConfig)},
		{"coredns", "-conf=" + filepath.Join(dir, corefile)},
	} {
		if err := children.start(filepath.Join(config.Bin, command[0]), command[1:]...); err != nil {
			return err
		}
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-children.deaths:
		return err
	}
}

// children are the node's own programs.
type children struct {
	logs   string
	pids   map[int]string
	starts chan func()
	// deaths receives the first end of one of them.
	deaths chan error
}

func newChildren(logs string) *children {
	c := &children{logs: logs, pids: map[int]string{}, starts: make(chan func()), deaths: make(chan error, 1)}
	go c.reap()
	return c
}

// start runs a program with its output in a log of its name.
func (c *children) start(program string, args ...string) error {
	name := filepath.Base(program)
	log, err := os.OpenFile(filepath.Join(c.logs, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()
	result := make(chan error)
	c.starts <- func() {
		pid, err := syscall.ForkExec(program, append([]string{program}, args...), &syscall.ProcAttr{
			Env:   os.Environ(),
			Files: []uintptr{null.Fd(), log.Fd(), log.Fd()},
		})
		if err == nil {
			c.pids[pid] = name
		}
		result <- err
	}
	if err := <-result; err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	return nil
}

// reap waits for every process of the node that ends, as PID 1 has to: the
// containers' own too. It is also the one place where programs are started, so
// that none ends before its name is known.
func (c *children) reap() {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case start := <-c.starts:
			start()
			continue
		case <-tick.C:
		}
		for {
			var status syscall.WaitStatus
			pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
			if errors.Is(err, syscall.EINTR) {
				continue
			}
			if err != nil || pid == 0 {
				break
			}
			if name, ours := c.pids[pid]; ours {
				c.deaths <- fmt.Errorf("%s ended by itself (exit status %d, signal %d); see %s",
					name, status.ExitStatus(), status.Signal(), filepath.Join(c.logs, name+".log"))
			}
		}
	}
}
