// Package etcdprograms enters etcd and etcdctl as their own main functions do.
package etcdprograms

import (
	"os"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/etcdctl/v3/ctlv3"
	"go.etcd.io/etcd/server/v3/etcdmain"
)

// Etcd runs the server with os.Args.
func Etcd() int {
	etcdmain.Main(os.Args)
	return 0
}

// Etcdctl runs the client with os.Args.
func Etcdctl() int {
	// Its package switches this on for the whole process; programs that share
	// one with it take no abbreviated subcommands.
	cobra.EnablePrefixMatching = true
	ctlv3.MustStart()
	return 0
}
