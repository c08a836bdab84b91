package node

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// Check is the subcommand "node-check": exit 0 where a node can run, else 3 and
// the reason on standard output.
func Check([]string) int {
	if err := check(); err != nil {
		fmt.Println(err)
		return 3
	}
	return 0
}

func check() error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("a node runs as root only, and this is user %d", os.Geteuid())
	}
	for program, bringer := range map[string]string{"runc": "runc", "iptables": "iptables"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%s is not there; install the package %s", program, bringer)
		}
	}
	if _, err := hierarchies(); err != nil {
		return err
	}
	// The whole of what a node needs of the kernel, tried for real: namespaces,
	// mounts, and packet filter rules in them.
	probe := exec.Command("iptables", "-t", "nat", "-A", "POSTROUTING", "-j", "MASQUERADE")
	probe.SysProcAttr = Namespaces()
	if output, err := probe.CombinedOutput(); err != nil {
		return fmt.Errorf("this kernel lets nobody make namespaces with packet filters: %w: %s", err, output)
	}
	return nil
}

// Namespaces of a node's first process.
func Namespaces() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET}
}
