package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const cgroupMount = "/sys/fs/cgroup"

// hierarchies are the folders in which a node needs a control group: one for
// each controller in version 1, the root in version 2.
func hierarchies() ([]string, error) {
	if unifiedCgroups() {
		return []string{cgroupMount}, nil
	}
	entries, err := os.ReadDir(cgroupMount)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, entry := range entries {
		dir := filepath.Join(cgroupMount, entry.Name())
		// Links such as cpuacct -> cpu,cpuacct are the same group again.
		if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err == nil && entry.IsDir() {
			found = append(found, dir)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no control groups are mounted in %s", cgroupMount)
	}
	return found, nil
}

func unifiedCgroups() bool {
	var info unix.Statfs_t
	return unix.Statfs(cgroupMount, &info) == nil && info.Type == unix.CGROUP2_SUPER_MAGIC
}

// MakeCgroups makes the control groups below which the kubelet puts its pods.
func MakeCgroups(name string) error {
	dirs, err := hierarchies()
	if err != nil {
		return err
	}
	for _, parent := range dirs {
		dir := filepath.Join(parent, name)
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if unifiedCgroups() {
			if err := delegate(parent); err != nil {
				return err
			}
			if err := delegate(dir); err != nil {
				return err
			}
		}
		if err := weigh(dir); err != nil {
			return err
		}
		if unifiedCgroups() {
			continue
		}
		// A version 1 group without processors and memory nodes takes no process.
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			value, err := os.ReadFile(filepath.Join(parent, file))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(dir, file), value, 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// weigh gives the node's group what the kubelet gives to all pods of a machine
// with these cores, beside the machine's other groups. With the default for a
// group, pods would have the weight of one core: while the API server keeps the
// cores busy, each of their wakeups would wait longer than on a real node.
func weigh(dir string) error {
	cores := runtime.NumCPU()
	for name, weight := range map[string]int{
		// The largest that version 1 takes, and version 2.
		"cpu.shares": min(1024*cores, 1<<18),
		"cpu.weight": min(100*cores, 10_000),
	} {
		file, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY, 0)
		if errors.Is(err, fs.ErrNotExist) {
			// Of the other version, or of another controller.
			continue
		}
		if err != nil {
			return err
		}
		_, err = file.WriteString(strconv.Itoa(weight))
		if err := errors.Join(err, file.Close()); err != nil {
			return err
		}
	}
	return nil
}

// delegate lets the children of a version 2 group use every controller it has.
func delegate(dir string) error {
	available, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return err
	}
	for controller := range strings.FieldsSeq(string(available)) {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+controller), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// RemoveCgroups removes the control groups of a node whose processes have been
// killed. The last of them may take a moment to be gone.
func RemoveCgroups(name string) error {
	dirs, err := hierarchies()
	if err != nil {
		return err
	}
	deadline := time.Now().Add(5 * time.Second)
	for _, parent := range dirs {
		for {
			err := removeTree(filepath.Join(parent, name))
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				return err
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	return nil
}

// removeTree removes groups from the leaves up: their files are the kernel's
// and go with them.
func removeTree(root string) error {
	var dirs []string
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && entry.IsDir() {
			dirs = append(dirs, path)
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, dir := range slices.Backward(dirs) {
		if err := unix.Rmdir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove the control group %s: %w", dir, err)
		}
	}
	return nil
}
