// Command etcd is what the image of a test's etcd pods holds: etcd, etcdctl and
// etcd-load, by the name that it is called by.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"controlplane/internal/etcdload"
	"controlplane/internal/etcdprograms"
)

func main() {
	switch name := filepath.Base(os.Args[0]); name {
	case "etcd":
		os.Exit(etcdprograms.Etcd())
	case "etcdctl":
		os.Exit(etcdprograms.Etcdctl())
	case "etcd-load":
		os.Exit(etcdload.Main(os.Args))
	default:
		fmt.Fprintf(os.Stderr, "%s: call it by the name etcd, etcdctl or etcd-load\n", name)
		os.Exit(2)
	}
}
